/** How long each stage of a request takes from each region. */

import { choice, dashboard } from "./dashboard.js";
import type { Table } from "./grafana.js";
import { band, bands, heading, place } from "./layout.js";
import { ALL_STEPS, chart, stat, steps, type Loose, type Words } from "./panels.js";
import { chosen } from "./query.js";
import { matrix, table } from "./tables.js";

const PAGES = chosen("source_region", "target");
const DAY = 86400;

const SLOW_STEPS = steps("green", [1, "yellow"], [3, "red"]);
/** Days before the end of a certificate. */
const CERTIFICATE_STEPS = steps("red", [7, "yellow"], [21, "green"]);
const STATUS_STEPS = steps("green", [400, "orange"], [500, "red"]);

const STAGES = [
  {
    stage: "resolve",
    title: "Resolve",
    color: "blue",
    description: "Looking up the host name. Mean over the region's agents and the chosen URLs.",
  },
  {
    stage: "connect",
    title: "Connect",
    color: "green",
    description: "The TCP handshake. Mean over the region's agents and the chosen URLs.",
  },
  {
    stage: "tls",
    title: "TLS",
    color: "orange",
    description: "The TLS handshake alone, without the TCP connect. Mean over the region's agents and the chosen URLs.",
  },
  {
    stage: "processing",
    title: "Processing",
    color: "purple",
    description:
      "From the request sent to the first byte of the answer. Mean over the region's agents and the chosen URLs.",
  },
  {
    stage: "transfer",
    title: "Transfer",
    color: "yellow",
    description: "From the first byte of the answer to its end. Mean over the region's agents and the chosen URLs.",
  },
];

const stageTime = (stage: string) => `region_http:xprober_http_stage_seconds:avg{${PAGES},stage="${stage}"}`;
const ofPage = (recording: string, how: "min" | "max") => `${how} by (source_region, target) (${recording}{${PAGES}})`;
const ENDS = `(${ofPage("region_http:xprober_http_tls_not_after_timestamp_seconds:min", "min")} - time()) / ${DAY}`;
const FROM = "from {{source_region}}";

const byPage = (
  words: Words,
  expr: string,
  look: { unit: string; decimals?: number; thresholds: typeof SLOW_STEPS },
): Loose<Table> =>
  matrix(words, {
    expr,
    ...look,
    rowLabel: "target",
    columnLabel: "source_region",
    corner: "URL \\ from",
    cornerWidth: 320,
  });

export const http = dashboard(
  "http",
  "How long each stage of an HTTP request takes from each region.",
  [
    choice("target", "URL", "region_http:xprober_http_success:ratio"),
    choice("source_region", "From", "region_http:xprober_http_success:ratio"),
  ],
  place([
    band(
      4,
      stat(
        {
          title: "Success",
          description: "Share of agents whose last probe succeeded, worst of the chosen regions and URLs.",
        },
        `min(region_http:xprober_http_success:ratio{${PAGES}})`,
        { unit: "percentunit", thresholds: ALL_STEPS },
      ),
      stat(
        { title: "Slowest total", description: "The slowest of the chosen regions and URLs, all stages together." },
        `max(region_http:xprober_http_duration_seconds:avg{${PAGES}})`,
        { unit: "s", thresholds: SLOW_STEPS },
      ),
      stat(
        {
          title: "Certificate days",
          description: "Days until the first of the certificates ends. A dash: no HTTPS URL among the chosen ones.",
        },
        `min(${ENDS})`,
        { unit: "d", decimals: 0, thresholds: CERTIFICATE_STEPS },
      ),
      stat(
        {
          title: "Probes per minute",
          description: "Probes of the chosen regions and URLs that ended, mean of the last 5 min.",
        },
        `60 * sum(region_http:xprober_http_probes:rate_5m{${PAGES}})`,
        { unit: "none", decimals: 0, thresholds: steps("red", [1, "green"]) },
      ),
    ),
    band(
      8,
      byPage(
        {
          title: "Total by URL and region",
          description: "Mean over the agents of the region, last probe of each. A dash: not measured.",
        },
        ofPage("region_http:xprober_http_duration_seconds:avg", "max"),
        { unit: "s", thresholds: SLOW_STEPS },
      ),
      byPage(
        { title: "Success by URL and region", description: "Share of the region's agents whose last probe succeeded." },
        ofPage("region_http:xprober_http_success:ratio", "min"),
        { unit: "percentunit", decimals: 0, thresholds: ALL_STEPS },
      ),
    ),
    band(
      8,
      byPage(
        {
          title: "Status by URL and region",
          description:
            "Largest status code of the region's agents, last response of each. A dash: there was no response.",
        },
        ofPage("region_http:xprober_http_status_code:max", "max"),
        { unit: "none", thresholds: STATUS_STEPS },
      ),
      table(
        {
          title: "Responses",
          description:
            "Last probe of each agent, mean over the region's agents. Body bytes as read, redirects as followed; days until the certificate ends.",
        },
        {
          keys: [
            { label: "target", header: "URL" },
            { label: "source_region", header: "from" },
          ],
          values: [
            { expr: ofPage("region_http:xprober_http_body_bytes:avg", "max"), header: "body", unit: "bytes" },
            { expr: ofPage("region_http:xprober_http_redirects:max", "max"), header: "redirects", unit: "none" },
            { expr: ENDS, header: "certificate days", unit: "none", decimals: 0, thresholds: CERTIFICATE_STEPS },
          ],
        },
      ),
    ),
    heading("Stages by region"),
    band(
      9,
      chart(
        {
          title: "Stages from $source_region",
          description:
            "Where the time goes: the stages of a request on top of each other, mean over the region's agents and the chosen URLs.",
        },
        { unit: "s", stacked: true, repeat: "source_region" },
        ...STAGES.map(({ stage, color }) => ({ expr: `avg(${stageTime(stage)})`, legend: stage, color })),
      ),
    ),
    heading("Each stage, all regions"),
    ...bands(9, 2, [
      ...STAGES.map(({ stage, title, description }) =>
        chart(
          { title, description },
          { unit: "s" },
          { expr: `avg by (source_region) (${stageTime(stage)})`, legend: FROM },
        ),
      ),
      chart(
        {
          title: "Total",
          description:
            "All stages together, failed probes included. Mean over the region's agents and the chosen URLs.",
        },
        { unit: "s" },
        { expr: `avg by (source_region) (region_http:xprober_http_duration_seconds:avg{${PAGES}})`, legend: FROM },
      ),
    ]),
    heading("Success and failures"),
    band(
      9,
      chart(
        {
          title: "Success over time",
          description: "Share of the region's agents whose last probe succeeded, mean over the chosen URLs.",
        },
        { unit: "percentunit", max: 1 },
        { expr: `avg by (source_region) (region_http:xprober_http_success:ratio{${PAGES}})`, legend: FROM },
      ),
      chart(
        { title: "Failures by stage and reason", description: "Failed probes per second over the last 5 min." },
        { unit: "cps" },
        {
          expr: `sum by (stage, reason) (region_http:xprober_http_failures:rate_5m{${PAGES}})`,
          legend: "{{stage}}: {{reason}}",
        },
      ),
    ),
    band(
      8,
      table(
        { title: "Failures of the last 5 min", description: "Failed probes per second by stage and reason." },
        {
          keys: [
            { label: "target", header: "URL" },
            { label: "source_region", header: "from" },
            { label: "stage", header: "stage" },
            { label: "reason", header: "reason" },
          ],
          values: [
            {
              expr: `sum by (source_region, target, stage, reason) (region_http:xprober_http_failures:rate_5m{${PAGES}} > 0)`,
              header: "failures/s",
              unit: "cps",
              decimals: 2,
            },
          ],
          top: { count: 20, by: "failures/s" },
          empty: "no failures",
        },
      ),
      chart(
        { title: "Certificate days over time", description: "Days until the certificate that a region is shown ends." },
        { unit: "d" },
        { expr: ENDS, legend: "{{target}} from {{source_region}}" },
      ),
    ),
  ]),
);
