/** Every metric there is, with its labels: pushed by agents, shown by the planner, recorded by rules. */

import { parse } from "yaml";
import { read, type Known, type Labels } from "./labels.js";
import type { Findings } from "./problems.js";

/** One rule of a rule file. */
export interface Rule {
  file: string;
  record?: string;
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** A metric of the catalogue with the names that queries give to its parts. */
export interface Entry {
  name: string;
  series: string[];
  labels: Labels;
}

/** Labels that Prometheus adds to what it scrapes. */
const SCRAPED = ["job", "instance"];

/** Labels that alerts may have, by which they are routed and muted; not every set of rules uses all of them. */
const ROUTED = ["alertname", "alertstate", "severity", "component", "region", "blame", "stage"];

/** Reads what `xprober-agent metrics` prints. */
export function agentEntries(text: string): Entry[] {
  const common = /^On every series beside these: (.+)\.$/m.exec(text)?.[1]?.split(", ") ?? [];
  const lines = text.matchAll(/^(\w+) +(histogram|counter|gauge) +\S+ +\{(.*)\}$/gm);
  return [...lines].map(([, name = "", kind, own = ""]) => {
    const labels = new Set([...common, ...own.split(",").filter(Boolean)]);
    const parts = kind === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    return { name, series: parts.map((part) => `${name}${part}`), labels };
  });
}

/** Reads a planner's `/metrics` page with samples of every series. */
export function plannerEntries(text: string): Entry[] {
  const entries = new Map<string, Set<string>>();
  for (const [, name = "", own = ""] of text.matchAll(/^(xprober_planner_\w+)(?:\{(.*)\})? \S+$/gm)) {
    const labels = entries.get(name) ?? new Set(SCRAPED);
    for (const [, label = ""] of own.matchAll(/(\w+)="/g)) {
      labels.add(label);
    }
    entries.set(name, labels);
  }
  return [...entries].map(([name, labels]) => ({ name, series: [name], labels }));
}

/** Names in the planner's snapshot of its `# TYPE` lines, as queries spell them. */
export function promisedByPlanner(snapshot: string): string[] {
  const types = snapshot.matchAll(/^# TYPE (\w+) (\w+)$/gm);
  return [...types].map(([, name, kind]) => (kind === "counter" ? `${name}_total` : `${name}`));
}

/** Reads a rule file. */
export function rulesOf(file: string, text: string): Rule[] {
  const { groups } = parse(text) as { groups: { rules: Omit<Rule, "file">[] }[] };
  return groups.flatMap((group) => group.rules.map((rule) => ({ ...rule, file })));
}

/** Everything that a query may name. */
export class Catalogue {
  private readonly labels = new Map<string, Labels>();
  private readonly open = new Map<string, Rule[]>();

  constructor(
    readonly entries: Entry[],
    readonly rules: Rule[],
  ) {
    for (const { series, labels } of entries) {
      series.forEach((name) => this.labels.set(name, labels));
    }
    for (const rule of rules.filter((rule) => rule.record)) {
      this.open.set(rule.record ?? "", [...(this.open.get(rule.record ?? "") ?? []), rule]);
    }
    this.labels.set("up", new Set(SCRAPED));
    this.labels.set("ALERTS", this.ofAlerts());
  }

  /** Labels of a metric; those of a recording come from its expression. */
  readonly known: Known = (metric) => {
    const found = this.labels.get(metric);
    const recorded = this.open.get(metric);
    if (found || !recorded) {
      return found;
    }
    // A recording that reads itself finds itself unknown instead of without end.
    this.open.delete(metric);
    const labels = new Set(recorded.flatMap((rule) => this.ofRule(rule)));
    this.labels.set(metric, labels);
    return labels;
  };

  private ofRule(rule: Rule): string[] {
    const { shape } = read(rule.expr, this.known);
    return [...(shape === "scalar" ? [] : shape), ...Object.keys(rule.labels ?? {})];
  }

  private ofAlerts(): Labels {
    const alerts = this.rules.filter((rule) => rule.alert);
    return new Set([...ROUTED, ...alerts.flatMap((rule) => this.ofRule(rule))]);
  }

  /** Every rule reads only what exists, and says which metrics it read. */
  checkRules(findings: Findings): Set<string> {
    const used = new Set<string>();
    for (const rule of this.rules) {
      const { metrics, problems } = read(rule.expr, this.known);
      problems.forEach((problem) => findings.add(`${rule.file}: ${rule.record ?? rule.alert}`, problem));
      metrics.forEach((metric) => used.add(metric));
    }
    return used;
  }

  /** Everything that is measured is used: by a rule or by a dashboard. */
  checkUse(used: ReadonlySet<string>, findings: Findings): void {
    for (const { name, series } of this.entries) {
      findings.expect(
        series.some((one) => used.has(one)),
        "catalogue",
        `neither a rule nor a dashboard uses ${name}`,
      );
    }
  }
}
