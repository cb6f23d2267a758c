/** Whether xprober itself is well: what its agents measure with, what waits to be pushed, and the planner. */

import { choice, dashboard } from "./dashboard.js";
import { band, heading, place } from "./layout.js";
import { NONE_STEPS, SOME_STEPS, chart, stat, steps, yesNo, type ChartLook } from "./panels.js";
import { PLANNER } from "./planner.js";
import { chosen } from "./query.js";
import { table, type KeyColumn, type ValueColumn } from "./tables.js";

const AGENTS = chosen("source_region", "instance");
const AGENT: KeyColumn = { label: "instance", header: "agent" };
const REGION: KeyColumn = { label: "source_region", header: "region" };
const ENDPOINT: KeyColumn = { label: "endpoint", header: "endpoint" };

const BY_AGENT = "instance, source_region";
const BY_ENDPOINT = "instance, source_region, endpoint";

/** An agent that is gone says nothing after 20 s. */
const last = (metric: string, by: string) => `max by (${by}) (last_over_time(${metric}{${AGENTS}}[20s]))`;
const rate = (metric: string, by: string) => `sum by (${by}) (rate(${metric}{${AGENTS}}[1m]))`;

/** Targets that each agent probes. */
const TARGETS = last("xprober_agent_plan_targets", BY_AGENT);

/** A chart with a curve per agent. */
const perAgent = (title: string, description: string, look: ChartLook, expr: string) =>
  chart({ title, description }, look, { expr, legend: "{{instance}}" });
/** A chart with a curve per agent and endpoint. */
const perEndpoint = (title: string, description: string, look: ChartLook, metric: string) =>
  chart({ title, description }, look, { expr: last(metric, BY_ENDPOINT), legend: "{{instance}} {{endpoint}}" });
/** A chart with a curve per endpoint and value of a label, all agents together. */
const byLabel = (title: string, description: string, metric: string, label: string) =>
  chart(
    { title, description },
    { unit: "cps" },
    { expr: rate(metric, `endpoint, ${label}`), legend: `{{endpoint}}: {{${label}}}` },
  );

const seconds = (expr: string, header: string): ValueColumn => ({ expr, header, unit: "s", decimals: 1 });
const count = (expr: string, header: string): ValueColumn => ({ expr, header, unit: "none" });

export const agents = dashboard(
  "agents",
  "Agents, their queues and the planner: is xprober itself well?",
  [
    choice("source_region", "Region", "xprober_agent_build_info"),
    choice("instance", "Agent", 'xprober_agent_build_info{source_region=~"$source_region"}'),
  ],
  place([
    band(
      4,
      stat(
        { title: "Agents reporting", description: "Agents that pushed within the last 20 s." },
        `count(${last("xprober_agent_build_info", BY_AGENT)}) or vector(0)`,
        { unit: "none", thresholds: SOME_STEPS },
      ),
      stat(
        {
          title: "Without a planner",
          description: "Agents that have no stream to a planner; they keep probing for plan_ttl.",
        },
        `sum(1 - ${last("xprober_agent_planner_connected", BY_AGENT)})`,
        { unit: "none", thresholds: NONE_STEPS },
      ),
      stat(
        {
          title: "Plan spread",
          description:
            "Most less fewest targets in force among the agents of a region, in the worst region. Without targets_per_region it is 0 but for moments; more means that an agent refuses targets or does not hear of a new plan.",
        },
        `max(max by (source_region) (${TARGETS}) - min by (source_region) (${TARGETS}))`,
        { unit: "none", thresholds: steps("green", [1, "yellow"], [3, "red"]) },
      ),
      stat(
        {
          title: "Stalled agents",
          description: "Agents that were held up by their own host for more than 5% of the last 5 min.",
        },
        `count(increase(xprober_agent_stalled_seconds_total{${AGENTS}}[5m]) / 300 > 0.05) or vector(0)`,
        { unit: "none", thresholds: NONE_STEPS },
      ),
      stat(
        { title: "Oldest waiting request", description: "Age of the oldest request that waits for an endpoint." },
        `max(${last("xprober_agent_queue_oldest_age_seconds", BY_ENDPOINT)})`,
        { unit: "s", thresholds: steps("green", [30, "yellow"], [300, "red"]) },
      ),
      stat(
        { title: "Dropped in the last hour", description: "Samples that were given up, whatever the reason." },
        `sum(increase(xprober_agent_samples_dropped_total{${AGENTS}}[1h])) or vector(0)`,
        { unit: "none", decimals: 0, thresholds: NONE_STEPS },
      ),
      stat(
        {
          title: "Degraded queues",
          description: "Queues whose folder cannot be used; a restart loses what waits in them.",
        },
        `count(${last("xprober_agent_queue_degraded", BY_ENDPOINT)} == 1) or vector(0)`,
        { unit: "none", thresholds: NONE_STEPS },
      ),
      stat(
        {
          title: "Planner's file",
          description: "Whether the planner runs with the configuration file as it stands now.",
        },
        "min(xprober_planner_config_last_reload_successful)",
        { unit: "none", thresholds: SOME_STEPS, mappings: [yesNo("in force", "rejected")] },
      ),
    ),
    band(
      10,
      table(
        { title: "Agents", description: "One row per agent that pushed within the last 20 s." },
        {
          keys: [REGION, AGENT, { label: "version", header: "version" }],
          values: [
            { ...count(last("xprober_agent_build_info", `${BY_AGENT}, version`), ""), hidden: true },
            {
              ...count(last("xprober_agent_planner_connected", BY_AGENT), "planner"),
              mappings: [yesNo("connected", "away")],
              thresholds: SOME_STEPS,
            },
            count(last("xprober_agent_plan_revision", BY_AGENT), "revision"),
            seconds(last("xprober_agent_plan_age_seconds", BY_AGENT), "planner heard"),
            count(TARGETS, "targets"),
            seconds(last("xprober_agent_timer_lateness_seconds", BY_AGENT), "lateness"),
          ],
        },
      ),
      table(
        { title: "Endpoints", description: "Where each agent pushes to, and what waits." },
        {
          keys: [REGION, AGENT, ENDPOINT, { label: "protocol", header: "protocol" }],
          values: [
            { ...count(last("xprober_agent_push_protocol_info", `${BY_ENDPOINT}, protocol`), ""), hidden: true },
            count(last("xprober_agent_queue_requests", BY_ENDPOINT), "waiting"),
            {
              ...count(last("xprober_agent_queue_on_disk", BY_ENDPOINT), "kept"),
              mappings: [yesNo("on disk", "in memory")],
              thresholds: SOME_STEPS,
            },
            {
              ...seconds(
                `time() - ${last("xprober_agent_push_last_success_timestamp_seconds", BY_ENDPOINT)}`,
                "last success",
              ),
              thresholds: steps("green", [30, "yellow"], [300, "red"]),
            },
          ],
        },
      ),
    ),
    heading("Probing"),
    band(
      8,
      perAgent(
        "Timer lateness",
        "Latest departure of a probe in each push window, measured from its scheduled time.",
        { unit: "s" },
        last("xprober_agent_timer_lateness_seconds", BY_AGENT),
      ),
      perAgent(
        "Skipped probes",
        "Probes that were never sent because their time had passed.",
        { unit: "cps" },
        rate("xprober_agent_skipped_ticks_total", BY_AGENT),
      ),
    ),
    band(
      8,
      perAgent(
        "Stalled share of the time",
        "Time that the ICMP prober did not run in its stalls. Probes of that time count neither as lost nor as slow.",
        { unit: "percentunit" },
        rate("xprober_agent_stalled_seconds_total", BY_AGENT),
      ),
      perAgent(
        "Stalls",
        "Times that the ICMP prober did not run for so long that silence said nothing.",
        { unit: "cps" },
        rate("xprober_agent_stalls_total", BY_AGENT),
      ),
    ),
    band(
      8,
      perAgent(
        "Receive drops",
        "Packets that the kernel dropped because the receive queue was full.",
        { unit: "cps" },
        rate("xprober_agent_receive_drops_total", BY_AGENT),
      ),
      perAgent(
        "Unstamped round trips",
        "Round-trip times that may hold delays of the agent.",
        { unit: "cps" },
        rate("xprober_agent_unstamped_total", BY_AGENT),
      ),
    ),
    heading("Pushing"),
    band(
      8,
      perEndpoint(
        "Queue",
        "Sealed requests that wait for the endpoint.",
        { unit: "bytes" },
        "xprober_agent_queue_bytes",
      ),
      perEndpoint(
        "Oldest waiting request over time",
        "Age of the oldest request that waits, 0 when none does.",
        { unit: "s" },
        "xprober_agent_queue_oldest_age_seconds",
      ),
      chart(
        {
          title: "Degraded queues by reason",
          description: "1 while the folder of the queue cannot be used; no curve while all is well.",
        },
        { unit: "none", decimals: 0, stepped: true },
        {
          expr: last("xprober_agent_queue_degraded", `${BY_ENDPOINT}, reason`),
          legend: "{{instance}} {{endpoint}}: {{reason}}",
        },
      ),
    ),
    band(
      8,
      byLabel(
        "Requests by result",
        "What the endpoint's answer led to: ok, retry or drop.",
        "xprober_agent_push_attempts_total",
        "result",
      ),
      byLabel(
        "Failed requests by reason",
        "Requests to the endpoint that failed. No curve: none failed.",
        "xprober_agent_push_failures_total",
        "reason",
      ),
      byLabel(
        "Dropped samples by reason",
        "Samples that were given up: full, expired, rejected, clock or damaged.",
        "xprober_agent_samples_dropped_total",
        "reason",
      ),
    ),
    band(
      8,
      chart(
        {
          title: "Samples",
          description:
            "Samples sealed into the queues and taken by the endpoints. Stale markers end series that are gone.",
        },
        { unit: "cps" },
        { expr: rate("xprober_agent_samples_sealed_total", "endpoint"), legend: "sealed {{endpoint}}" },
        { expr: rate("xprober_agent_samples_pushed_total", "endpoint"), legend: "pushed {{endpoint}}" },
        { expr: rate("xprober_agent_stale_markers_sealed_total", "endpoint"), legend: "stale markers {{endpoint}}" },
      ),
      perEndpoint(
        "Samples inherited",
        "Samples that an earlier run of the agent left in the queue on disk.",
        { unit: "none", decimals: 0, stepped: true },
        "xprober_agent_samples_inherited_total",
      ),
    ),
    heading("Plans"),
    band(
      8,
      perAgent(
        "Plan revision in force",
        "Plans that each agent has taken over since its stream to the planner was opened. A step: its plan changed.",
        { unit: "none", decimals: 0, stepped: true },
        last("xprober_agent_plan_revision", BY_AGENT),
      ),
      perAgent(
        "Planner last heard",
        "Time since each agent heard of a planner.",
        { unit: "s" },
        last("xprober_agent_plan_age_seconds", BY_AGENT),
      ),
      chart(
        {
          title: "Refused by agents",
          description: "Plans and targets that agents refused in the last 5 min, by reason. No curve: none.",
        },
        { unit: "none", decimals: 0 },
        {
          expr: `sum by (instance, reason) (increase(xprober_agent_plan_rejected_total{${AGENTS}}[5m]))`,
          legend: "{{instance}}: {{reason}}",
        },
      ),
    ),
    ...PLANNER,
  ]),
);
