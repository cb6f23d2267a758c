/** The part about the planner of the dashboard of agents. */

import { band, heading, type Band } from "./layout.js";
import { SOME_STEPS, chart, stat, steps } from "./panels.js";
import { table } from "./tables.js";

/** The planner's counters, which are scraped: over a window that holds some scrapes. */
const planner = (metric: string, by?: string) =>
  by ? `sum by (${by}) (rate(${metric}[5m]))` : `sum(rate(${metric}[5m]))`;

export const PLANNER: Band[] = [
  heading("Planner"),
  band(
    4,
    stat(
      { title: "Members", description: "Agents in the plan, connected or kept by their lease." },
      "sum(xprober_planner_members)",
      { unit: "none", thresholds: SOME_STEPS },
    ),
    stat({ title: "Streams", description: "Agent streams that are open." }, "sum(xprober_planner_streams)", {
      unit: "none",
      thresholds: SOME_STEPS,
    }),
    stat(
      { title: "Pairs in the plan", description: "Pairs of an agent and a target." },
      "sum(xprober_planner_plan_pairs)",
      { unit: "none", thresholds: SOME_STEPS },
    ),
    stat(
      { title: "Plans computed", description: "Plans computed since the planner started." },
      "max(xprober_planner_plan_revision)",
      { unit: "none", thresholds: SOME_STEPS },
    ),
    stat(
      { title: "Configuration loaded", description: "Time since the configuration in force was loaded." },
      "time() - max(xprober_planner_config_last_reload_success_timestamp_seconds)",
      { unit: "s", thresholds: steps("green") },
    ),
  ),
  band(
    8,
    chart(
      { title: "Members by region", description: "Agents in the plan, connected or kept by their lease." },
      { unit: "none", decimals: 0, stepped: true },
      { expr: "sum by (region) (xprober_planner_members)", legend: "{{region}}" },
    ),
    chart(
      { title: "Plans sent", description: "Plans sent to agents over the last 5 min, whole or as changes." },
      { unit: "cps" },
      { expr: planner("xprober_planner_plans_sent_total", "kind"), legend: "{{kind}}" },
    ),
    chart(
      {
        title: "Refusals and evictions",
        description:
          "Streams refused at their first message by reason, plans that agents refused, agents removed because their lease ended.",
      },
      { unit: "cps" },
      { expr: planner("xprober_planner_hellos_rejected_total", "reason"), legend: "hello: {{reason}}" },
      { expr: planner("xprober_planner_nacks_total"), legend: "refused plans" },
      { expr: planner("xprober_planner_evictions_total"), legend: "evictions" },
    ),
  ),
  band(
    5,
    table(
      { title: "Planners", description: "Version of each planner that is scraped." },
      {
        keys: [
          { label: "instance", header: "planner" },
          { label: "version", header: "version" },
        ],
        expr: "group by (instance, version) (xprober_planner_build_info)",
      },
    ),
  ),
];
