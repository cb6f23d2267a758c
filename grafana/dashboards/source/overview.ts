/** The first look: every ordered pair of regions, what is over its budget, what fires. */

import { FROM_REGION, PROBE, TO_REGION, dashboard, toPair } from "./dashboard.js";
import { band, heading, place } from "./layout.js";
import {
  ALL_STEPS,
  LOSS_STEPS,
  NONE_STEPS,
  OVER_STEPS,
  RTT_STEPS,
  SOME_STEPS,
  chart,
  stat,
  type Loose,
  type Words,
} from "./panels.js";
import { chosen } from "./query.js";
import { matrix, table, type KeyColumn } from "./tables.js";
import type { Table } from "./grafana.js";

const REGIONS = chosen("source_region", "target_region");
const ALERTS =
  'ALERTS{alertstate="firing",component=~"line|pair|region|agent|planner|http|push|xprober",severity!="none"}';

/** The pair's value of a recording, for the chosen kind of probe. */
const ofPair = (recording: string) => `max by (source_region, target_region) (${recording}{probe="$probe",${REGIONS}})`;
/** The pair's worst line. */
const OVER = `max by (source_region, target_region) (line:xprober_over_budget:ratio_30s{${REGIONS}})`;

const P99 = ofPair("region_pair:xprober_rtt_seconds:p99_1m");
const LOSS = ofPair("region_pair:xprober_loss:ratio_1m");
/** Lossiest first, then slowest: one per mille of loss outweighs a second. */
const BADNESS = `1000 * ${LOSS} + (${P99} or 0 * ${LOSS})`;

/** What is known of a region, under the label of a source. */
const REGION = chosen("source_region");
const leaving = (recording: string) => `max by (source_region) (${recording}{${REGION}})`;
const asSource = (metric: string, label: string) =>
  `max by (source_region) (label_replace(${metric}{${label}=~"$source_region"}, "source_region", "$1", "${label}", "(.+)"))`;
const entering = (recording: string) => asSource(recording, "target_region");
const SHARE = { unit: "percentunit", decimals: 1 };

const ARROW = "{{source_region}} → {{target_region}}";
const PAIR_LINK = {
  title: "Line and pair",
  url: toPair("${__data.fields.source_region}", "${__data.fields.target_region}"),
};
const FROM: KeyColumn = { label: "source_region", header: "from", link: PAIR_LINK };
const TO: KeyColumn = { label: "target_region", header: "to", link: PAIR_LINK };

const pairs = (
  words: Words,
  expr: string,
  look: { unit: string; decimals: number; thresholds: typeof LOSS_STEPS },
): Loose<Table> =>
  matrix(words, {
    expr,
    ...look,
    rowLabel: "source_region",
    columnLabel: "target_region",
    corner: "from \\ to",
    link: { title: "Line and pair", url: toPair("${__data.fields[0]}", "${__field.name}") },
  });

const overTime = (title: string, description: string, recording: string, unit: string) =>
  chart({ title, description }, { unit }, { expr: ofPair(recording), legend: ARROW });

export const overview = dashboard(
  "overview",
  "Latency and loss between regions, as measured by the agents of each region.",
  [PROBE, FROM_REGION, TO_REGION],
  place([
    band(
      4,
      stat(
        { title: "Agents expected", description: "Agents that pushed within the last hour." },
        "count(agent:xprober_agent_build_info:max_1h)",
        {
          unit: "none",
          thresholds: SOME_STEPS,
        },
      ),
      stat(
        { title: "Agents reporting", description: "Agents that pushed within the last 20 s." },
        "fleet:xprober_agents:count or vector(0)",
        {
          unit: "none",
          thresholds: SOME_STEPS,
        },
      ),
      stat(
        { title: "Pairs measured", description: "Ordered pairs of regions with probes in the last minute." },
        `count(region_pair:xprober_loss:ratio_1m{probe="$probe",${REGIONS}}) or vector(0)`,
        { unit: "none", thresholds: SOME_STEPS },
      ),
      stat(
        {
          title: "Pairs without answer",
          description: "Ordered pairs whose probes of the last 20 s were all lost, over all kinds of probes.",
        },
        `count(region_pair:xprober_answered:ratio_20s{${REGIONS}} == 0) or vector(0)`,
        { unit: "none", thresholds: NONE_STEPS },
      ),
      stat(
        { title: "Worst p99 RTT", description: "The slowest pair's 99th percentile of the last minute." },
        `max(${P99})`,
        {
          unit: "s",
          thresholds: RTT_STEPS,
        },
      ),
      stat({ title: "Worst loss", description: "The lossiest pair of the last minute." }, `max(${LOSS})`, {
        unit: "percentunit",
        thresholds: LOSS_STEPS,
      }),
      stat(
        {
          title: "Lines over budget",
          description:
            "Lines and directions on which more than half of the last 30 s' probes took longer than the RTT budget.",
        },
        `count(line:xprober_over_budget:ratio_30s{${REGIONS}} > 0.5) or vector(0)`,
        { unit: "none", thresholds: NONE_STEPS },
      ),
      stat(
        { title: "Alerts firing", description: "Alerts of xprober that fire now, without the watchdog." },
        `count(${ALERTS}) or vector(0)`,
        {
          unit: "none",
          thresholds: NONE_STEPS,
        },
      ),
    ),
    band(
      9,
      pairs(
        {
          title: "RTT p99, last minute",
          description:
            "Row: source region. Column: target region. A dash: not measured (the diagonal), or nothing came back (see the loss matrix).",
        },
        P99,
        { unit: "s", decimals: 1, thresholds: RTT_STEPS },
      ),
      pairs(
        {
          title: "Loss, last minute",
          description: "Row: source region. Column: target region. 100% is a total outage, a dash is not measured.",
        },
        LOSS,
        { unit: "percentunit", decimals: 2, thresholds: LOSS_STEPS },
      ),
    ),
    band(
      9,
      pairs(
        {
          title: "Over budget, last 30 s",
          description:
            "Share of probes that took longer than the RTT budget of the pair's line, the worst line of the pair. A dash: no line with such a budget.",
        },
        OVER,
        { unit: "percentunit", decimals: 0, thresholds: OVER_STEPS },
      ),
      table(
        { title: "Ten worst pairs", description: "Lossiest first, then slowest by p99." },
        {
          keys: [FROM, TO],
          values: [
            { expr: LOSS, header: "loss", unit: "percentunit", decimals: 2, thresholds: LOSS_STEPS },
            { expr: P99, header: "RTT p99", unit: "s", decimals: 1, thresholds: RTT_STEPS },
            { expr: ofPair("region_pair:xprober_jitter_seconds:avg"), header: "jitter", unit: "s", decimals: 1 },
            { expr: OVER, header: "over budget", unit: "percentunit", decimals: 0, thresholds: OVER_STEPS },
            { expr: BADNESS, header: "badness", unit: "none", hidden: true },
          ],
          top: { count: 10, by: "badness" },
        },
      ),
    ),
    band(
      9,
      table(
        {
          title: "Firing alerts",
          description: "What fires now. With VictoriaMetrics, vmalert must write back (-remoteWrite.url).",
        },
        {
          expr: `group by (severity, alertname, line, region, blame, source_region, target_region, instance, target, stage, owner, circuit, carrier) (${ALERTS})`,
          keys: [
            { label: "severity", header: "severity", width: 90 },
            { label: "alertname", header: "alert" },
            { label: "line", header: "line" },
            { label: "region", header: "region" },
            { label: "blame", header: "blame" },
            FROM,
            TO,
            { label: "instance", header: "agent" },
            { label: "target", header: "URL" },
            { label: "stage", header: "stage" },
            { label: "owner", header: "owner" },
            { label: "circuit", header: "circuit" },
            { label: "carrier", header: "carrier" },
          ],
          empty: "nothing fires",
        },
      ),
      table(
        {
          title: "Regions",
          description:
            "Agents known: pushed within the last hour; reporting: within the last 20 s; in the plan: as the planner counts them. Out: what leaves the region, in: what enters it, over the last minute and all kinds of probes.",
        },
        {
          keys: [{ label: "source_region", header: "region" }],
          values: [
            {
              expr: `count by (source_region) (agent:xprober_agent_build_info:max_1h{${REGION}})`,
              header: "known",
              unit: "none",
            },
            { expr: leaving("region:xprober_agents:count"), header: "reporting", unit: "none", thresholds: SOME_STEPS },
            { expr: asSource("xprober_planner_members", "region"), header: "in the plan", unit: "none" },
            {
              expr: leaving("region:xprober_egress_loss:ratio_1m"),
              header: "loss out",
              ...SHARE,
              thresholds: LOSS_STEPS,
            },
            {
              expr: entering("region:xprober_ingress_loss:ratio_1m"),
              header: "loss in",
              ...SHARE,
              thresholds: LOSS_STEPS,
            },
            { expr: leaving("region:xprober_egress_rtt_seconds:p99_1m"), header: "p99 out", unit: "s", decimals: 1 },
            { expr: entering("region:xprober_ingress_rtt_seconds:p99_1m"), header: "p99 in", unit: "s", decimals: 1 },
            {
              expr: leaving("region:xprober_egress_reachable:ratio"),
              header: "reachable",
              ...SHARE,
              thresholds: ALL_STEPS,
            },
            {
              expr: leaving("region:xprober_stalled_agents:ratio_1m"),
              header: "stalled",
              ...SHARE,
              thresholds: OVER_STEPS,
            },
          ],
        },
      ),
    ),
    heading("Over time"),
    band(
      10,
      overTime(
        "RTT p99",
        "99th percentile of the last minute per ordered pair. A gap: nothing came back.",
        "region_pair:xprober_rtt_seconds:p99_1m",
        "s",
      ),
      overTime("RTT mean", "Mean of the last minute per ordered pair.", "region_pair:xprober_rtt_seconds:avg_1m", "s"),
    ),
    band(
      10,
      overTime(
        "Loss",
        "Lost share of the last minute per ordered pair.",
        "region_pair:xprober_loss:ratio_1m",
        "percentunit",
      ),
      overTime("Jitter", "Mean jitter over the targets that answered.", "region_pair:xprober_jitter_seconds:avg", "s"),
    ),
    band(
      10,
      chart(
        {
          title: "Lines: share over the RTT budget",
          description: "Share of the last 30 s' probes that took longer than the line's budget.",
        },
        { unit: "percentunit", max: 1 },
        { expr: `line:xprober_over_budget:ratio_30s{${REGIONS}}`, legend: `{{line}}: ${ARROW}` },
      ),
      chart(
        { title: "Agents reporting by region", description: "Agents that pushed within the last 20 s, per region." },
        { unit: "none", decimals: 0, stepped: true },
        { expr: 'region:xprober_agents:count{source_region=~"$source_region"}', legend: "{{source_region}}" },
      ),
    ),
  ]),
);
