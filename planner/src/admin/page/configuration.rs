//! Where the configuration stands.

use maud::{Markup, html};

use super::text::ago;
use crate::reload::ConfigState;

/// For the top of the page, where nobody misses it; nothing when all is well.
pub(super) fn warning(config: &ConfigState) -> Markup {
    html! {
        @if config.failure.is_some() {
            p.notice {
                b { "The configuration file as it stands now was refused" } ", the settings loaded before are in force: "
                a href="#configuration" { "why" }
            }
        }
    }
}

pub(super) fn render(config: &ConfigState) -> Markup {
    html! {
        section aria-labelledby="configuration" {
            h2 #configuration { "Configuration" }
            p {
                @match &config.file {
                    Some(file) => code { (file.display().to_string()) },
                    None => "given directly",
                }
                ", loaded " (ago(config.loaded_at)) " ago: "
                @if config.failure.is_some() {
                    span.bad { "▲ the file as it stands now was refused, the settings loaded before are in force" }
                } @else {
                    span.good { "✓ in force" }
                }
            }
            @if let Some(problems) = &config.failure { pre { (problems) } }
            @if !config.needs_restart.is_empty() {
                p.bad { "Waiting for a restart: " (config.needs_restart.join(", ")) }
            }
        }
    }
}
