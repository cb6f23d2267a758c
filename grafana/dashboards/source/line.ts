/** One pair of regions and its lines, there on the left, back on the right. */

import { FROM_REGION, PROBE, TO_REGION, choice, dashboard } from "./dashboard.js";
import { band, heading, place } from "./layout.js";
import {
  ALL_STEPS,
  LOSS_STEPS,
  NONE_STEPS,
  OVER_STEPS,
  WITNESS_STEPS,
  chart,
  heatmap,
  stat,
  yesNo,
  type Loose,
} from "./panels.js";
import { chosen } from "./query.js";
import { table, type KeyColumn, type ValueColumn } from "./tables.js";

/** The variables that name the two ends. */
interface Direction {
  source: string;
  target: string;
}

const THERE: Direction = { source: "source_region", target: "target_region" };
const BACK: Direction = { source: "target_region", target: "source_region" };

const ARROW = "{{source_region}} → {{target_region}}";
const LINES = chosen("source_region", "target_region", "line");
const BY_LINE = "source_region, target_region, line";

/** What the direction keeps. */
const within = ({ source, target }: Direction) => `source_region=~"$${source}",target_region=~"$${target}"`;
const probed = (direction: Direction) => `probe="$probe",${within(direction)}`;
const titled = (title: string, { source, target }: Direction) => `${title}: $${source} → $${target}`;
/** Draws a panel for each direction, side by side. */
const bothWays = (height: number, panel: (direction: Direction) => Loose) => band(height, panel(THERE), panel(BACK));

const ofLine = (recording: string) => `max by (${BY_LINE}) (${recording}{${LINES}})`;
const ofTarget = (metric: string, how = "avg") =>
  `${how} by (source_region, target_region, target) (last_over_time(${metric}{${probed(THERE)}}[20s]))`;
const perTarget = (metric: string) =>
  `sum by (source_region, target_region, target) (increase(${metric}{${probed(THERE)}}[1m]))`;

const FROM: KeyColumn = { label: "source_region", header: "from" };
const TO: KeyColumn = { label: "target_region", header: "to" };

const milliseconds = (expr: string, header: string): ValueColumn => ({ expr, header, unit: "s", decimals: 1 });

export const line = dashboard(
  "line",
  "One pair of regions in both directions, beside the budgets of its lines.",
  [
    PROBE,
    FROM_REGION,
    TO_REGION,
    choice("line", "Line", 'line:xprober_info:max{source_region=~"$source_region",target_region=~"$target_region"}'),
  ],
  place([
    band(
      6,
      table(
        {
          title: "Lines",
          description:
            "One row per line and direction, with the budgets of planner.yml. Over budget: share of the last 30 s' probes above the RTT budget.",
        },
        {
          keys: [
            { label: "line", header: "line" },
            FROM,
            TO,
            { label: "circuit", header: "circuit" },
            { label: "carrier", header: "carrier" },
            { label: "owner", header: "owner" },
          ],
          values: [
            {
              expr: `max by (${BY_LINE}, circuit, carrier, owner) (line:xprober_info:max{${LINES}})`,
              header: "",
              unit: "none",
              hidden: true,
            },
            { expr: ofLine("line:xprober_rtt_budget_seconds:max"), header: "RTT budget", unit: "s" },
            {
              expr: ofLine("line:xprober_over_budget:ratio_30s"),
              header: "over budget",
              unit: "percentunit",
              decimals: 1,
              thresholds: OVER_STEPS,
            },
            { expr: ofLine("line:xprober_loss_budget:max"), header: "loss budget", unit: "percentunit" },
            {
              expr: `max by (${BY_LINE}) (line:xprober_info:max{${LINES}} * on (source_region, target_region) group_left () (1 - region_pair:xprober_answered:ratio_20s))`,
              header: "loss, 20 s",
              unit: "percentunit",
              decimals: 2,
              thresholds: LOSS_STEPS,
            },
          ],
          empty: "no line between these regions",
        },
      ),
    ),
    heading("Latency"),
    bothWays(10, (direction) =>
      chart(
        {
          title: titled("RTT", direction),
          description:
            "Percentiles and mean of the last minute, with the RTT budget of the line as a dashed line. A gap: nothing came back.",
        },
        { unit: "s" },
        { expr: `region_pair:xprober_rtt_seconds:p50_1m{${probed(direction)}}`, legend: `p50 ${ARROW}` },
        { expr: `region_pair:xprober_rtt_seconds:p90_1m{${probed(direction)}}`, legend: `p90 ${ARROW}` },
        { expr: `region_pair:xprober_rtt_seconds:p99_1m{${probed(direction)}}`, legend: `p99 ${ARROW}` },
        { expr: `region_pair:xprober_rtt_seconds:avg_1m{${probed(direction)}}`, legend: `mean ${ARROW}` },
        {
          expr: `max by (${BY_LINE}) (line:xprober_rtt_budget_seconds:max{${within(direction)},line=~"$line"})`,
          legend: "budget {{line}}",
          limit: true,
        },
      ),
    ),
    bothWays(8, (direction) =>
      chart(
        {
          title: titled("Over the RTT budget", direction),
          description:
            "Share of the last 30 s' probes that took longer than the line's budget. More than half of them is an alert.",
        },
        { unit: "percentunit", max: 1 },
        { expr: `line:xprober_over_budget:ratio_30s{${within(direction)},line=~"$line"}`, legend: "{{line}}" },
      ),
    ),
    bothWays(9, (direction) =>
      heatmap(
        { title: titled("RTT distribution", direction), description: "Replies per bucket of round-trip time." },
        `sum by (le) (increase(xprober_rtt_seconds_bucket{${probed(direction)}}[$__rate_interval]))`,
      ),
    ),
    bothWays(8, (direction) =>
      chart(
        {
          title: titled("Jitter", direction),
          description: "Mean over the targets that answered, smoothed as in RFC 3550.",
        },
        { unit: "s" },
        { expr: `region_pair:xprober_jitter_seconds:avg{${probed(direction)}}`, legend: ARROW },
      ),
    ),
    heading("Loss and outcomes"),
    bothWays(8, (direction) =>
      chart(
        {
          title: titled("Loss", direction),
          description: "Lost share of the last minute, with the loss budget of the line as a dashed line.",
        },
        { unit: "percentunit" },
        { expr: `region_pair:xprober_loss:ratio_1m{${probed(direction)}}`, legend: ARROW },
        {
          expr: `max by (${BY_LINE}) (line:xprober_loss_budget:max{${within(direction)},line=~"$line"})`,
          legend: "budget {{line}}",
          limit: true,
        },
      ),
    ),
    bothWays(8, (direction) =>
      chart(
        {
          title: titled("Probes by outcome", direction),
          description:
            "Every probe ends in one outcome. send_error and stalled are the agent's own fault and count for neither loss nor latency.",
        },
        { unit: "cps", stacked: true },
        { expr: `sum by (outcome) (region_pair:xprober_probes:rate_1m{${probed(direction)}})`, legend: "{{outcome}}" },
      ),
    ),
    bothWays(8, (direction) =>
      chart(
        {
          title: titled("Outcomes by reason", direction),
          description: "Outcomes that have a reason, and further copies of replies.",
        },
        { unit: "cps" },
        {
          expr: `sum by (outcome, reason) (region_pair:xprober_probe_reasons:rate_1m{${probed(direction)}})`,
          legend: "{{outcome}}: {{reason}}",
        },
        { expr: `sum(region_pair:xprober_probe_duplicates:rate_1m{${probed(direction)}})`, legend: "duplicates" },
      ),
    ),
    heading("Who measures"),
    band(
      4,
      stat(
        { title: "Agents", description: "Agents of the source region that report about the pair." },
        `min(region_pair:xprober_agents:count{${probed(THERE)}})`,
        { unit: "none", thresholds: WITNESS_STEPS },
      ),
      stat(
        { title: "Targets", description: "Targets in the target region that the pair stands on." },
        `min(region_pair:xprober_targets:count{${probed(THERE)}})`,
        { unit: "none", thresholds: WITNESS_STEPS },
      ),
      stat(
        {
          title: "Targets that answer",
          description: "Share of (agent, target) paths with a reply in the last push window.",
        },
        `min(region_pair:xprober_target_up:ratio{${probed(THERE)}})`,
        { unit: "percentunit", thresholds: ALL_STEPS },
      ),
      stat(
        {
          title: "Line probes per minute",
          description: "Probes that say something about the line; alerts on its latency stand on them.",
        },
        `sum(increase(xprober_line_probes_total{${LINES}}[1m]))`,
        {
          unit: "none",
          decimals: 0,
          thresholds: {
            mode: "absolute",
            steps: [
              { color: "red", value: null },
              { color: "green", value: 20 },
            ],
          },
        },
      ),
      stat(
        { title: "Lost per minute", description: "Probes of all kinds that were lost in the last minute." },
        `sum(region_pair:xprober_lost:increase_1m{${within(THERE)}}) or vector(0)`,
        { unit: "none", decimals: 0, thresholds: NONE_STEPS },
      ),
    ),
    band(
      9,
      table(
        {
          title: "Targets of the last minute",
          description:
            "Each target as its agents see it, mean over the agents. Reply TTL only where planner.yml asks for it.",
        },
        {
          keys: [{ label: "target", header: "target" }, FROM, TO],
          values: [
            {
              expr: ofTarget("xprober_target_up", "max"),
              header: "state",
              unit: "none",
              mappings: [yesNo("up", "down")],
              thresholds: {
                mode: "absolute",
                steps: [
                  { color: "red", value: null },
                  { color: "green", value: 1 },
                ],
              },
            },
            { expr: perTarget("xprober_target_sent_total"), header: "sent", unit: "none", decimals: 0 },
            { expr: perTarget("xprober_target_received_total"), header: "received", unit: "none", decimals: 0 },
            milliseconds(ofTarget("xprober_target_rtt_min_seconds", "min"), "RTT min"),
            milliseconds(ofTarget("xprober_target_rtt_avg_seconds"), "RTT mean"),
            milliseconds(ofTarget("xprober_target_rtt_max_seconds", "max"), "RTT max"),
            milliseconds(ofTarget("xprober_target_jitter_seconds"), "jitter"),
            { expr: ofTarget("xprober_target_reply_ttl", "min"), header: "reply TTL", unit: "none" },
          ],
        },
      ),
    ),
  ]),
);
