/** Questions to the database, and the filters in them. */

import type { Query } from "./grafana.js";

/** The data source that the viewer chose. */
export const SOURCE = { type: "prometheus", uid: "${datasource}" };

/** The agents' push interval: a smaller step shows nothing more. */
const STEP = "5s";

/** What is drawn over time: an expression and what its series are called. */
export interface Curve {
  expr: string;
  legend: string;
}

/** Keeps the series whose labels have the values that the viewer chose. */
export function chosen(...labels: string[]): string {
  return labels.map((label) => `${label}=~"$${label}"`).join(",");
}

function query(expr: string, index: number, more: Pick<Query, "format" | "legendFormat" | "instant">): Query {
  return {
    refId: String.fromCharCode("A".charCodeAt(0) + index),
    datasource: SOURCE,
    editorMode: "code",
    expr,
    ...more,
    range: !more.instant,
  };
}

/** Asks for the values now. */
export function now(expr: string): Query {
  return query(expr, 0, { format: "time_series", legendFormat: "__auto", instant: true });
}

/** Asks for the values now, with the labels as columns. */
export function rows(expr: string, index = 0): Query {
  return query(expr, index, { format: "table", legendFormat: "__auto", instant: true });
}

/** Asks for the values over time. */
export function over(curve: Curve, index: number): Query {
  return {
    ...query(curve.expr, index, { format: "time_series", legendFormat: curve.legend, instant: false }),
    interval: STEP,
  };
}

/** Asks for the buckets of a histogram over time. */
export function buckets(expr: string): Query {
  return { ...query(expr, 0, { format: "heatmap", legendFormat: "{{le}}", instant: false }), interval: "15s" };
}
