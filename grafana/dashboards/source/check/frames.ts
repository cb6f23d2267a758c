/** Answers of a database as Grafana's Prometheus data source hands them to panels. */

import type { DataFrame, Field, FieldType } from "@grafana/data";
import type { Query } from "../grafana.js";

/** One series of an answer: labels, `__name__` among them, and (seconds, value) as Prometheus writes them. */
export interface Series {
  labels: Record<string, string>;
  points: [at: number, value: string][];
}

/** What a database answered to an expression, asked for one moment or over time. */
export interface Answer {
  expr: string;
  instant: boolean;
  series: Series[];
}

const field = (name: string, type: string, values: unknown[], more: Partial<Field> = {}): Field => ({
  name,
  type: type as FieldType,
  config: {},
  values,
  ...more,
});

const times = ({ points }: Series) => points.map(([at]) => at * 1000);
const numbers = ({ points }: Series) => points.map(([, value]) => Number(value));
const frame = (refId: string, fields: Field[]): DataFrame => ({ refId, fields, length: fields[0]?.values.length ?? 0 });

/** The text of a legend for a series. */
export function legend(format: string, labels: Record<string, string>): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, label: string) => labels[label] ?? "");
}

function timeSeries(query: Query, series: Series[]): DataFrame[] {
  return series.map((one) => {
    const { __name__: _, ...labels } = one.labels;
    const displayNameFromDS = query.legendFormat === "__auto" ? query.expr : legend(query.legendFormat, labels);
    return frame(query.refId, [
      field("Time", "time", times(one)),
      field("Value", "number", numbers(one), { labels, config: { displayNameFromDS } }),
    ]);
  });
}

function table(query: Query, series: Series[], alone: boolean): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].sort();
  return frame(query.refId, [
    field(
      "Time",
      "time",
      series.map((one) => times(one)[0]),
    ),
    ...labels.map((label) =>
      field(
        label,
        "string",
        series.map((one) => one.labels[label] ?? ""),
      ),
    ),
    field(
      alone ? "Value" : `Value #${query.refId}`,
      "number",
      series.map((one) => numbers(one)[0]),
    ),
  ]);
}

/** Buckets count what is at most `le`; cells show what lies between two of them. */
function heatmap(query: Query, series: Series[]): DataFrame {
  const sorted = series.toSorted((one, other) => Number(one.labels.le) - Number(other.labels.le));
  const counts = sorted.map((one) => new Map(one.points.map(([at, value]) => [at, Number(value)])));
  const moments = [...new Set(series.flatMap((one) => one.points.map(([at]) => at)))].sort((one, other) => one - other);
  const cells = sorted.map((one, index) => {
    const values = moments.map((at) => (counts[index]?.get(at) ?? 0) - (counts[index - 1]?.get(at) ?? 0));
    return field(one.labels.le ?? "", "number", values, { labels: { le: one.labels.le ?? "" } });
  });
  return frame(query.refId, [
    field(
      "Time",
      "time",
      moments.map((at) => at * 1000),
    ),
    ...cells,
  ]);
}

/** The frames of a panel's queries. */
export function frames(queries: Query[], answer: (query: Query) => Series[]): DataFrame[] {
  const tables = queries.filter((query) => query.format === "table");
  return queries.flatMap((query) => {
    const series = answer(query);
    switch (query.format) {
      case "time_series":
        return timeSeries(query, series);
      case "table":
        return [table(query, series, tables.length === 1)];
      case "heatmap":
        return [heatmap(query, series)];
    }
  });
}
