/** Tables: one row per thing, and matrices of region pairs. */

import type { TableFieldOptions, ThresholdsConfig } from "@grafana/schema";
import type { Link, Override, Plain, Property, Table } from "./grafana.js";
import { DASH, MISSING, type Loose, type Words } from "./panels.js";
import { SOURCE, rows } from "./query.js";

type Mappings = NonNullable<Loose<Table>["fieldConfig"]["defaults"]["mappings"]>;

const PLAIN_CELL = { displayMode: "auto", cellOptions: { type: "auto" }, inspect: false, filterable: false } as const;
/** Grafana before 9.5 reads `displayMode`, later ones `cellOptions`. */
const PAINTED_CELL = {
  displayMode: "color-background-solid",
  cellOptions: { type: "color-background", mode: "basic" },
} as const;

/** A column of names. */
export interface KeyColumn {
  label: string;
  header: string;
  width?: number;
  link?: Link;
}

/** A column of values. */
export interface ValueColumn {
  expr: string;
  header: string;
  unit: string;
  decimals?: number;
  /** Paints the cell. */
  thresholds?: Plain<ThresholdsConfig>;
  mappings?: Mappings;
  /** Only there to choose and order the rows. */
  hidden?: boolean;
}

/** What a table shows where it differs from the others. */
export interface TableLook {
  keys: KeyColumn[];
  values?: ValueColumn[];
  /** Keeps so many rows with the largest values of the column of this header. */
  top?: { count: number; by: string };
  /** Says that there is no row. */
  empty?: string;
}

const refId = (index: number) => String.fromCharCode("A".charCodeAt(0) + index);

function keyStyle({ label, header, width, link }: KeyColumn): Override<TableFieldOptions> {
  const properties: Property<TableFieldOptions>[] = [{ id: "displayName", value: header }];
  if (width) {
    properties.push({ id: "custom.width", value: width });
  }
  if (link) {
    properties.push({ id: "links", value: [link] });
  }
  return { matcher: { id: "byName", options: label }, properties };
}

function valueStyle(column: ValueColumn, name: string): Override<TableFieldOptions> {
  const properties: Property<TableFieldOptions>[] = [
    { id: "displayName", value: column.header },
    { id: "unit", value: column.unit },
  ];
  if (column.decimals !== undefined) {
    properties.push({ id: "decimals", value: column.decimals });
  }
  if (column.thresholds) {
    properties.push(
      { id: "thresholds", value: column.thresholds },
      { id: "custom.displayMode", value: PAINTED_CELL.displayMode },
      { id: "custom.cellOptions", value: PAINTED_CELL.cellOptions },
    );
  }
  if (column.mappings) {
    properties.push({ id: "mappings", value: [MISSING, ...column.mappings] });
  }
  return { matcher: { id: "byName", options: name }, properties };
}

/** A row per combination of the keys' values. Every value's expression has exactly the keys as labels. */
export function table(words: Words, look: TableLook & { expr?: string }): Loose<Table> {
  const values = look.values ?? [];
  const exprs = look.expr ? [look.expr] : values.map((column) => column.expr);
  const nameOf = (index: number) => (exprs.length === 1 ? "Value" : `Value #${refId(index)}`);
  const hidden = look.expr ? ["Value"] : values.flatMap((column, index) => (column.hidden ? [nameOf(index)] : []));
  const shown = values.map((column, index) => ({ column, name: nameOf(index) })).filter(({ column }) => !column.hidden);
  const order = [...look.keys.map((key) => key.label), ...shown.map(({ name }) => name)];
  const top = look.top && nameOf(values.findIndex((column) => column.header === look.top?.by));
  return {
    type: "table",
    ...words,
    datasource: SOURCE,
    targets: exprs.map((expr, index) => rows(expr, index)),
    fieldConfig: {
      defaults: {
        mappings: [MISSING],
        thresholds: { mode: "absolute", steps: [{ color: "green", value: null }] },
        color: { mode: "thresholds" },
        custom: { align: "auto", ...PLAIN_CELL },
        noValue: look.empty ?? DASH,
      },
      overrides: [...look.keys.map(keyStyle), ...shown.map(({ column, name }) => valueStyle(column, name))],
    },
    options: { showHeader: true, cellHeight: "sm" },
    transformations: [
      ...(exprs.length > 1 ? [{ id: "merge" as const, options: {} }] : []),
      ...(top
        ? [
            { id: "sortBy" as const, options: { sort: [{ field: top, desc: true }] } },
            { id: "limit" as const, options: { limitField: look.top?.count ?? 0 } },
          ]
        : []),
      {
        id: "organize",
        options: {
          excludeByName: Object.fromEntries(["Time", ...hidden].map((name) => [name, true])),
          indexByName: Object.fromEntries(order.map((name, index) => [name, index])),
          renameByName: {},
        },
      },
    ],
  };
}

/** How a matrix looks where it differs from the others. */
export interface MatrixLook {
  /** Has the two labels and nothing else. */
  expr: string;
  rowLabel: string;
  columnLabel: string;
  /** Heads the column of row names. */
  corner: string;
  cornerWidth?: number;
  unit: string;
  decimals?: number;
  thresholds: Plain<ThresholdsConfig>;
  link?: Link;
}

/** Row labels against column labels; what is not measured, as the diagonal, is a dash without a colour. */
export function matrix(words: Words, look: MatrixLook): Loose<Table> {
  const corner = `${look.rowLabel}\\${look.columnLabel}`;
  return {
    type: "table",
    ...words,
    datasource: SOURCE,
    targets: [rows(look.expr)],
    fieldConfig: {
      defaults: {
        unit: look.unit,
        ...(look.decimals === undefined ? {} : { decimals: look.decimals }),
        thresholds: look.thresholds,
        mappings: [MISSING],
        color: { mode: "thresholds" },
        noValue: DASH,
        custom: { align: "center", ...PAINTED_CELL, inspect: false, filterable: false },
        ...(look.link ? { links: [look.link] } : {}),
      },
      overrides: [
        {
          matcher: { id: "byName", options: corner },
          properties: [
            { id: "displayName", value: look.corner },
            { id: "custom.displayMode", value: "auto" },
            { id: "custom.cellOptions", value: { type: "auto" } },
            { id: "custom.align", value: "left" },
            { id: "custom.width", value: look.cornerWidth ?? 140 },
            { id: "unit", value: "string" },
            { id: "links", value: [] },
          ],
        },
      ],
    },
    options: { showHeader: true, cellHeight: "md" },
    // Columns come in the order of the rows before, so both are sorted.
    transformations: [
      { id: "sortBy", options: { sort: [{ field: look.columnLabel }] } },
      {
        id: "groupingToMatrix",
        options: { rowField: look.rowLabel, columnField: look.columnLabel, valueField: "Value", emptyValue: "null" },
      },
      { id: "sortBy", options: { sort: [{ field: corner }] } },
    ],
  };
}
