/** The panels, each kind with one look. */

import type { Chart, Drawing, Heatmap, Override, Plain, Property, Stat } from "./grafana.js";
import { SOURCE, buckets, now, over, type Curve } from "./query.js";
import type { GraphFieldConfig, ThresholdsConfig } from "@grafana/schema";

/** A panel that has no place yet. */
export type Loose<P extends Drawing = Drawing> = P extends Drawing ? Omit<P, "id" | "gridPos"> : never;

/** What people read. */
export interface Words {
  title: string;
  description: string;
}

/** A missing value: not measured, or nothing came back. */
export const DASH = "–";

/** The text of a missing value, which else is painted as if all were well. */
export const MISSING = {
  type: "special",
  options: { match: "null", result: { index: 0, text: DASH, color: "transparent" } },
} as const;

/** Colours from a value on, e.g. `steps("green", [0.01, "red"])`. */
export function steps(first: string, ...further: [from: number, color: string][]): Plain<ThresholdsConfig> {
  const after = further.map(([value, color]) => ({ color, value }));
  return { mode: "absolute", steps: [{ color: first, value: null }, ...after] };
}

/** Round-trip times, for lines whose budget the panel does not know. */
export const RTT_STEPS = steps("green", [0.1, "yellow"], [0.2, "orange"], [0.4, "red"]);
/** Shares of lost probes. */
export const LOSS_STEPS = steps("green", [0.001, "yellow"], [0.01, "orange"], [0.05, "red"]);
/** Shares of probes over a budget; the alert fires above one half. */
export const OVER_STEPS = steps("green", [0.01, "yellow"], [0.1, "orange"], [0.5, "red"]);
/** A count that should be zero. */
export const NONE_STEPS = steps("green", [1, "red"]);
/** A count that should not be zero. */
export const SOME_STEPS = steps("red", [1, "green"]);
/** Shares that should be one. */
export const ALL_STEPS = steps("red", [0.5, "yellow"], [1, "green"]);
/** How many speak for a pair: none says nothing, one only for itself. */
export const WITNESS_STEPS = steps("red", [1, "yellow"], [2, "green"]);

/** Words for 1 and 0. */
export function yesNo(yes: string, no: string) {
  const options = { "0": { index: 1, text: no, color: "red" }, "1": { index: 2, text: yes, color: "green" } };
  return { type: "value" as const, options };
}

/** One number. */
export function stat(
  words: Words,
  expr: string,
  look: {
    unit: string;
    thresholds: Plain<ThresholdsConfig>;
    decimals?: number;
    mappings?: Loose<Stat>["fieldConfig"]["defaults"]["mappings"];
  },
): Loose<Stat> {
  return {
    type: "stat",
    ...words,
    datasource: SOURCE,
    targets: [now(expr)],
    fieldConfig: { defaults: { mappings: [], ...look, color: { mode: "thresholds" }, noValue: DASH }, overrides: [] },
    options: {
      colorMode: "value",
      graphMode: "none",
      justifyMode: "auto",
      orientation: "auto",
      textMode: "auto",
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
    },
  };
}

/** A curve of a chart; `limit` draws it as what the others should stay below. */
export interface Drawn extends Curve {
  limit?: boolean;
  color?: string;
}

/** How a chart looks where it differs from the others. */
export interface ChartLook {
  unit: string;
  max?: number;
  decimals?: number;
  stacked?: boolean;
  /** Holds each value until the next. */
  stepped?: boolean;
  /** Repeats the chart for each value of a variable. */
  repeat?: string;
}

/** A dashed red line, on top of whatever is stacked. */
const LIMIT: Property<GraphFieldConfig>[] = [
  { id: "color", value: { mode: "fixed", fixedColor: "red" } },
  { id: "custom.lineStyle", value: { fill: "dash", dash: [10, 10] } },
  { id: "custom.fillOpacity", value: 0 },
  { id: "custom.stacking", value: { mode: "none", group: "limit" } },
];

function curveStyle({ limit, color }: Drawn, index: number): Override<GraphFieldConfig>[] {
  const colored: Property<GraphFieldConfig>[] = color
    ? [{ id: "color", value: { mode: "fixed", fixedColor: color } }]
    : [];
  const properties = [...(limit ? LIMIT : []), ...colored];
  const refId = String.fromCharCode("A".charCodeAt(0) + index);
  return properties.length > 0 ? [{ matcher: { id: "byFrameRefID", options: refId }, properties }] : [];
}

/** Values over time. Gaps stay gaps, and the legend's last value is that of the last moment. */
export function chart(words: Words, look: ChartLook, ...curves: Drawn[]): Loose<Chart> {
  const { stacked = false, stepped = false, repeat, ...field } = look;
  return {
    type: "timeseries",
    ...words,
    datasource: SOURCE,
    targets: curves.map(over),
    fieldConfig: {
      defaults: {
        ...field,
        min: 0,
        color: { mode: "palette-classic" },
        mappings: [],
        custom: {
          drawStyle: "line",
          lineInterpolation: stepped ? "stepAfter" : "linear",
          lineWidth: 1,
          fillOpacity: stacked ? 60 : 0,
          gradientMode: "none",
          showPoints: "never",
          pointSize: 4,
          spanNulls: false,
          axisPlacement: "auto",
          scaleDistribution: { type: "linear" },
          stacking: { mode: stacked ? "normal" : "none", group: "A" },
          hideFrom: { legend: false, tooltip: false, viz: false },
          thresholdsStyle: { mode: "off" },
        },
      },
      overrides: curves.flatMap(curveStyle),
    },
    options: {
      legend: {
        displayMode: "table",
        placement: "bottom",
        showLegend: true,
        calcs: ["min", "max", "mean", "last"],
        ...(stacked ? {} : { sortBy: "Max", sortDesc: true }),
      },
      tooltip: { mode: "multi", sort: stacked ? "none" : "desc" },
    },
    ...(repeat ? { repeat, repeatDirection: "h" as const, maxPerRow: 2 } : {}),
  };
}

/** How many replies took how long, over time. */
export function heatmap(words: Words, expr: string): Loose<Heatmap> {
  return {
    type: "heatmap",
    ...words,
    datasource: SOURCE,
    targets: [buckets(expr)],
    fieldConfig: {
      defaults: {
        custom: {
          hideFrom: { legend: false, tooltip: false, viz: false },
          scaleDistribution: { type: "linear" },
        },
      },
      overrides: [],
    },
    options: {
      calculate: false,
      cellGap: 1,
      cellValues: { unit: "none", decimals: 0 },
      color: {
        mode: "scheme",
        scheme: "Oranges",
        scale: "exponential",
        exponent: 0.5,
        fill: "dark-orange",
        steps: 64,
        reverse: false,
      },
      exemplars: { color: "rgba(255,0,255,0.7)" },
      // Empty buckets stay blank.
      filterValues: { le: 1e-9 },
      legend: { show: true },
      rowsFrame: { layout: "auto" },
      showValue: "never",
      tooltip: { mode: "single", yHistogram: true, showColorScale: true },
      yAxis: { axisPlacement: "left", unit: "s", reverse: false },
    },
  };
}
