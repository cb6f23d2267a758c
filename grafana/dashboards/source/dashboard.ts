/** What all dashboards share: the choices at their top, the links between them, refresh and time range. */

import type { Dashboard, Panel, Variable } from "./grafana.js";
import { SOURCE } from "./query.js";

/** The dashboards by the end of their uid, with what links to them say. */
export const NAMES = {
  overview: "Overview",
  line: "Line and pair",
  http: "HTTP stages",
  agents: "Agents and planner",
} as const;

export type Name = keyof typeof NAMES;

/** The path of a dashboard. */
export function path(name: Name): string {
  return `/d/xprober-${name}`;
}

/** The line dashboard for one pair, with what else was chosen. */
export function toPair(source: string, target: string, more: string[] = ["${probe:queryparam}"]): string {
  const chosen = [`var-source_region=${source}`, `var-target_region=${target}`, ...more, "${datasource:queryparam}"];
  return `${path("line")}?${chosen.join("&")}&\${__url_time_range}`;
}

const DATA_SOURCE: Variable = {
  name: "datasource",
  label: "Data source",
  type: "datasource",
  query: "prometheus",
  regex: "",
  current: {},
  options: [],
  hide: 0,
  includeAll: false,
  multi: false,
  refresh: 1,
  skipUrlSync: false,
};

/** A choice among the values that a label has on a metric: one of them, or any number. */
export function choice(name: string, label: string, metric: string, count: "one" | "many" = "many"): Variable {
  const query = `label_values(${metric}, ${name})`;
  const many = count === "many";
  return {
    name,
    label,
    type: "query",
    datasource: SOURCE,
    definition: query,
    query: { query, refId: "PrometheusVariableQueryEditor-VariableQuery" },
    regex: "",
    // When the time range changes, too: other regions may have been there.
    refresh: 2,
    sort: 1,
    hide: 0,
    multi: many,
    includeAll: many,
    ...(many ? { allValue: ".*" } : {}),
    current: {},
    options: [],
    skipUrlSync: false,
  };
}

/** ICMP or TCP; the first of them that is measured. */
export const PROBE = choice("probe", "Probe", "region_pair:xprober_loss:ratio_1m", "one");
export const FROM_REGION = choice("source_region", "From", "region_pair:xprober_loss:ratio_1m");
export const TO_REGION = choice("target_region", "To", "region_pair:xprober_loss:ratio_1m");

/** Puts a dashboard together. */
export function dashboard(name: Name, description: string, variables: Variable[], panels: Panel[]): Dashboard {
  const others = (Object.keys(NAMES) as Name[]).filter((other) => other !== name);
  return {
    id: null,
    uid: `xprober-${name}`,
    title: `xprober / ${NAMES[name]}`,
    description,
    tags: ["xprober"],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    fiscalYearStartMonth: 0,
    liveNow: false,
    timezone: "browser",
    weekStart: "",
    refresh: "10s",
    time: { from: "now-15m", to: "now" },
    timepicker: { refresh_intervals: ["5s", "10s", "30s", "1m", "5m"] },
    annotations: { list: [] },
    links: others.map((other) => ({
      title: NAMES[other],
      type: "link",
      icon: "dashboard",
      url: path(other),
      targetBlank: false,
      keepTime: true,
      includeVars: true,
      asDropdown: false,
      tags: [],
      tooltip: "",
    })),
    templating: { list: [DATA_SOURCE, ...variables] },
    panels,
  };
}
