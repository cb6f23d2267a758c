//! `xprober-lab mutate-rules`: breaks the rules of `grafana/rules` one at a time and shows that their tests notice each break.
//!
//! ```text
//!  grafana/rules/*.yml -> [rules] RuleFiles -> [mutant] Mutant, Mutant, ..   (a rule gone, a comparison turned, a `for` stretched)
//!                            [expression] finds comparisons        |
//!  grafana/rules/tests/*.yml -> [case] Case, Case, ..              |
//!                                  |                               v
//!                                  +------> [run] promtool, once for each mutant and case until a case fails
//!                                                |
//!  [equivalent] what no test can notice -------> verdict
//! ```

pub mod expression;

pub mod rules;

pub mod mutant;

pub mod case;

pub mod equivalent;

pub mod run;
