/**
 * Shows recorded answers as Grafana would, with `@grafana/data`: units, reducers and transformations exist, every setting of
 * a field meets a field, and every value has a text.
 */

import "./dom.js";
import { createRequire } from "node:module";
import type * as grafana from "@grafana/data";
import type { DataFrame, Field, FieldConfig } from "@grafana/data";
import type { Dashboard, Drawing, Override, Query } from "../grafana.js";
import { DASH } from "../panels.js";
import { frames, type Answer, type Series } from "./frames.js";
import type { Findings } from "./problems.js";
import { drawings, placeOf } from "./queries.js";

// Its modules for `import` take names from packages that only `require` finds them in.
const data = createRequire(import.meta.url)("@grafana/data") as typeof grafana;

const UNITS = new Set(data.getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
UNITS.add("string");

// Two names of the same transformer are in the list.
const TRANSFORMERS = new Map(
  Object.values(data.standardTransformers).map((transformer) => [transformer.id, transformer]),
);

data.standardTransformersRegistry.setInit(() =>
  [...TRANSFORMERS].map(([id, transformer]) => ({
    id,
    name: transformer.name,
    transformation: () => Promise.resolve(transformer as grafana.DataTransformerInfo),
    editor: () => null,
    imageDark: "",
    imageLight: "",
  })),
);

const THEME = data.createTheme();

/** The order in which Grafana sorts texts. */
const ORDER = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function transformed(panel: Drawing, from: DataFrame[]): Promise<DataFrame[]> {
  const steps = (panel.transformations ?? []) as grafana.DataTransformerConfig[];
  return new Promise((resolve, reject) => {
    data.transformDataFrame(steps, from).subscribe({ next: resolve, error: reject });
  });
}

function checkNames(panel: Drawing, place: string, findings: Findings): boolean {
  const before = findings.problems.length;
  const { defaults, overrides } = panel.fieldConfig;
  const units = [
    defaults.unit,
    ...overrides.flatMap((one) =>
      one.properties.flatMap((property) => (property.id === "unit" ? [property.value] : [])),
    ),
  ];
  if (panel.type === "heatmap") {
    units.push(panel.options.yAxis?.unit, panel.options.cellValues?.unit);
  }
  for (const unit of units.filter((unit) => unit !== undefined)) {
    findings.expect(UNITS.has(unit), place, `there is no unit ${unit}`);
  }
  const reducers =
    panel.type === "stat"
      ? panel.options.reduceOptions?.calcs
      : panel.type === "timeseries"
        ? panel.options.legend?.calcs
        : [];
  for (const reducer of reducers ?? []) {
    findings.expect(data.fieldReducers.getIfExists(reducer) !== undefined, place, `there is no reducer ${reducer}`);
  }
  for (const step of panel.transformations ?? []) {
    findings.expect(
      data.standardTransformersRegistry.getIfExists(step.id) !== undefined,
      place,
      `there is no transformation ${step.id}`,
    );
  }
  for (const { matcher } of overrides) {
    findings.expect(
      data.fieldMatchers.getIfExists(matcher.id) !== undefined,
      place,
      `there is no way to choose fields called ${matcher.id}`,
    );
  }
  return findings.problems.length === before;
}

/** The settings of a field: the panel's, then those of every override that chooses it. */
function settings(
  field: Field,
  frame: DataFrame,
  all: DataFrame[],
  panel: Drawing,
  met: Set<Override<never>>,
): FieldConfig {
  const { defaults, overrides } = panel.fieldConfig;
  const config: Record<string, unknown> = { ...defaults, ...field.config };
  for (const override of overrides as Override<never>[]) {
    if (data.fieldMatchers.get(override.matcher.id).get(override.matcher.options)(field, frame, all)) {
      met.add(override);
      override.properties.forEach((property) => (config[property.id] = property.value));
    }
  }
  return config;
}

function checkTexts(field: Field, config: FieldConfig, place: string, findings: Findings): void {
  const display = data.getDisplayProcessor({ field: { ...field, config }, theme: THEME });
  for (const value of field.values) {
    const { text } = display(value);
    const mayBeEmpty = field.type === data.FieldType.string;
    findings.expect(
      (text !== "" || mayBeEmpty) && !/undefined|NaN|Invalid/.test(text),
      place,
      `${String(value)} of ${field.name} reads "${text}"`,
    );
    findings.expect(
      value !== null || text === DASH,
      place,
      `a missing value of ${field.name} reads "${text}" and not "${DASH}"`,
    );
  }
}

function checkLegends(panel: Drawing, all: DataFrame[], place: string, findings: Findings): void {
  if (panel.type !== "timeseries") {
    return;
  }
  for (const { fields } of all) {
    const name = fields[1]?.config.displayNameFromDS ?? "";
    findings.expect(name.trim() !== "" && !name.includes("{{"), place, `a curve is called "${name}"`);
    for (const reducer of panel.options.legend?.calcs ?? []) {
      const result = fields[1] && data.reduceField({ field: fields[1], reducers: [reducer] })[reducer];
      findings.expect(typeof result === "number", place, `${reducer} of "${name}" is ${String(result)}`);
    }
  }
}

/** A table is one, and what its queries say of the same thing stands in one row. */
function checkRows(panel: Drawing, asked: DataFrame[], shown: DataFrame[], place: string, findings: Findings): void {
  if (panel.type !== "table") {
    return;
  }
  findings.expect(shown.length === 1, place, `it has ${shown.length} tables`);
  const isLabel = (field: Field) => field.type === data.FieldType.string;
  const labels = asked.map((frame) => new Set(frame.fields.filter(isLabel).map((field) => field.name)));
  const shared = shown[0]?.fields.filter((field) => labels.every((names) => names.has(field.name))) ?? [];
  const rows = Array.from({ length: shown[0]?.length ?? 0 }, (_, row) =>
    shared.map((field) => String(field.values[row])).join(", "),
  );
  const twice = shared.length > 0 && rows.find((row, index) => rows.indexOf(row) !== index);
  findings.expect(!twice, place, `${String(twice)} has several rows`);
}

/** A matrix has a row and a column per region, each in order, and nothing on its diagonal. */
function checkMatrix(panel: Drawing, shown: DataFrame[], place: string, findings: Findings): void {
  const step = panel.transformations?.find((step) => step.id === "groupingToMatrix");
  if (!step) {
    return;
  }
  const [names, ...columns] = shown[0]?.fields ?? [];
  findings.expect(names?.name === `${step.options.rowField}\\${step.options.columnField}`, place, "no matrix came out");
  const rows = (names?.values ?? []) as string[];
  for (const list of [rows, columns.map((column) => column.name)]) {
    findings.expect(list.join() === list.toSorted(ORDER.compare).join(), place, `not in order: ${list.join(", ")}`);
  }
  for (const column of columns) {
    const own = rows.indexOf(column.name);
    findings.expect(own < 0 || column.values[own] === null, place, `${column.name} to itself has a value`);
  }
}

function checkLinks(panel: Drawing, shown: DataFrame[], place: string, findings: Findings): void {
  const fields = new Set(shown.flatMap((frame) => frame.fields.map((field) => field.name)));
  for (const [, name = ""] of JSON.stringify(panel.fieldConfig).matchAll(/\$\{__data\.fields\.(\w+)\}/g)) {
    findings.expect(fields.has(name), place, `a link names the column ${name}, which is not there`);
  }
}

async function checkPanel(
  panel: Drawing,
  place: string,
  answer: (query: Query) => Series[],
  findings: Findings,
): Promise<void> {
  if (!checkNames(panel, place, findings)) {
    return;
  }
  const asked = frames(panel.targets, answer);
  const shown = await transformed(panel, asked);
  findings.expect(
    shown.some((frame) => frame.length > 0),
    place,
    "it shows nothing",
  );
  const met = new Set<Override<never>>();
  for (const frame of shown) {
    for (const field of frame.fields.filter((field) => field.name !== "Time")) {
      checkTexts(field, settings(field, frame, shown, panel, met), place, findings);
    }
  }
  // Columns of labels are checked with the queries; of an optional one no answer may have a value.
  const ordered = (panel.transformations ?? []).flatMap((step) =>
    step.id === "organize" ? Object.keys(step.options.indexByName ?? {}) : [],
  );
  for (const override of panel.fieldConfig.overrides as Override<never>[]) {
    findings.expect(
      met.has(override) || ordered.includes(override.matcher.options),
      place,
      `no field is ${override.matcher.id} ${override.matcher.options}`,
    );
  }
  checkRows(panel, asked, shown, place, findings);
  checkLegends(panel, shown, place, findings);
  checkMatrix(panel, shown, place, findings);
  checkLinks(panel, shown, place, findings);
}

/** Checks what the panels of a dashboard make of the answers that a database gave to their queries. */
export async function checkValues(dashboard: Dashboard, answers: Answer[], findings: Findings): Promise<void> {
  const key = ({ expr, instant }: { expr: string; instant: boolean }) => `${instant} ${expr}`;
  const series = new Map(answers.map((answer) => [key(answer), answer.series]));
  for (const panel of drawings(dashboard)) {
    const place = placeOf(dashboard, panel);
    const unknown = panel.targets.find((query) => !series.has(key(query)));
    if (unknown) {
      findings.add(place, `no answer was recorded for ${unknown.expr} (make answers)`);
      continue;
    }
    await checkPanel(panel, place, (query) => series.get(key(query)) ?? [], findings);
  }
}
