/**
 * What Grafana reads, as types: a dashboard of the classic model and the five panels that every Grafana from 9 on has.
 *
 * The generator writes values of these types, and `check/options.ts` holds the committed JSON against them once more: a
 * misspelt option is an error of the compiler at both places.
 */

import type * as data from "@grafana/data";
import type * as schema from "@grafana/schema";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

/** The same shape with the texts that JSON has in place of enums. */
export type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

/** One question to the database. */
export interface Query {
  refId: string;
  datasource: schema.DataSourceRef;
  editorMode: "code";
  expr: string;
  format: "time_series" | "table" | "heatmap";
  legendFormat: string;
  instant: boolean;
  range: boolean;
  /** Shortest step. */
  interval?: string;
}

/** A link of a table's cell. */
export interface Link {
  title: string;
  url: string;
  targetBlank?: boolean;
}

type Transformers = typeof data.standardTransformers;
type OptionsOf<T> = T extends { operator: (options: infer Options, context: never) => unknown }
  ? Plain<Options>
  : never;

/** One step of what is done to a table before it is shown. */
export type Step =
  | { id: "sortBy"; options: OptionsOf<Transformers["sortByTransformer"]> }
  | { id: "groupingToMatrix"; options: OptionsOf<Transformers["groupingToMatrixTransformer"]> }
  | { id: "organize"; options: OptionsOf<Transformers["organizeFieldsTransformer"]> }
  | { id: "limit"; options: OptionsOf<Transformers["limitTransformer"]> }
  | { id: "merge"; options: Record<string, never> };

type Mappings = Plain<schema.ValueMapping>[];

/** One setting of some fields. */
export type Property<Custom> =
  | { id: "displayName" | "unit" | "noValue"; value: string }
  | { id: "decimals" | "min" | "max"; value: number }
  | { id: "color"; value: Plain<schema.FieldColor> }
  | { id: "thresholds"; value: Plain<schema.ThresholdsConfig> }
  | { id: "mappings"; value: Mappings }
  | { id: "links"; value: Link[] }
  | {
      [Key in keyof Custom & string]-?: { id: `custom.${Key}`; value: Plain<NonNullable<Custom[Key]>> };
    }[keyof Custom & string];

/** Settings for the fields of a name or of a query. */
export interface Override<Custom> {
  matcher: { id: "byName" | "byFrameRefID"; options: string };
  properties: Property<Custom>[];
}

interface Drawn<Type extends string, Options, Custom> {
  id: number;
  gridPos: schema.GridPos;
  type: Type;
  title: string;
  description: string;
  datasource: schema.DataSourceRef;
  targets: Query[];
  fieldConfig: {
    defaults: Omit<Plain<schema.FieldConfig>, "custom" | "links" | "mappings"> & {
      custom?: Plain<Custom>;
      links?: Link[];
      mappings?: Mappings;
    };
    overrides: Override<Custom>[];
  };
  options: Partial<Plain<Options>>;
  transformations?: Step[];
  repeat?: string;
  repeatDirection?: "h" | "v";
  maxPerRow?: number;
}

export type Stat = Drawn<"stat", stat.Options, Record<never, never>>;
export type Table = Drawn<"table", schema.TableOptions, schema.TableFieldOptions>;
export type Chart = Drawn<"timeseries", timeseries.Options, schema.GraphFieldConfig>;
export type Heatmap = Drawn<"heatmap", heatmap.Options, heatmap.FieldConfig>;

/** A heading; what stands below it can be folded away. */
export interface Heading {
  id: number;
  gridPos: schema.GridPos;
  type: "row";
  title: string;
  collapsed: false;
  panels: [];
}

export type Drawing = Stat | Table | Chart | Heatmap;
export type Panel = Drawing | Heading;

/** A choice at the top of the dashboard. An empty `current` takes what Grafana would choose itself. */
export type Variable = Omit<Plain<schema.VariableModel>, "current"> & {
  current: Record<string, never>;
  /** The query once more, where Grafana before 11 shows it. */
  definition?: string;
};

export type Dashboard = Omit<Plain<schema.Dashboard>, "panels" | "templating" | "annotations" | "id" | "uid"> & {
  id: null;
  uid: string;
  title: string;
  schemaVersion: 39;
  annotations: { list: [] };
  templating: { list: Variable[] };
  panels: Panel[];
};
