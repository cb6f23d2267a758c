/** Faults for the checks to find. */

import assert from "node:assert/strict";
import type { Dashboard, Drawing } from "../grafana.js";
import { drawings } from "./queries.js";

/** JSON that a fault may bend as it likes. */
type Bent = any;

/** Which check is to find it. */
export type Check = "queries" | "shape" | "values" | "options";

/** A fault: what it is, which check finds it, with which words, and how it is planted. */
export interface Fault {
  what: string;
  check: Check;
  says: RegExp;
  plant: (dashboard: Bent) => void;
}

const panel = (dashboard: Bent, fits: (panel: Drawing) => boolean): Bent => {
  const found = drawings(dashboard as Dashboard).find(fits);
  assert.ok(found, "no panel to bend");
  return found;
};
const chart = (dashboard: Bent): Bent => panel(dashboard, ({ type }) => type === "timeseries");
const stat = (dashboard: Bent): Bent => panel(dashboard, ({ type }) => type === "stat");
const table = (dashboard: Bent): Bent =>
  panel(dashboard, ({ transformations = [] }) => transformations.some(({ id }) => id === "limit"));
const matrix = (dashboard: Bent): Bent =>
  panel(dashboard, ({ transformations = [] }) => transformations.some(({ id }) => id === "groupingToMatrix"));
const replace = (query: Bent, from: string, to: string): void => {
  assert.ok(query.expr.includes(from), query.expr);
  query.expr = query.expr.replaceAll(from, to);
};

/** Every fault that is planted into the overview. */
export const FAULTS: Fault[] = [
  {
    what: "a metric that nobody pushes",
    check: "queries",
    says: /nobody pushes or records agent:xprober_agents_build_info/,
    plant: (d) => replace(stat(d).targets[0], "xprober_agent_build_info", "xprober_agents_build_info"),
  },
  {
    what: "a misspelt recording",
    check: "queries",
    says: /nobody pushes or records region_pair:xprober_rtt:p99/,
    plant: (d) => replace(chart(d).targets[0], "region_pair:xprober_rtt_seconds:p99_1m", "region_pair:xprober_rtt:p99"),
  },
  {
    what: "a filter on a label that the metric lacks",
    check: "queries",
    says: /label region does not exist/,
    plant: (d) => replace(chart(d).targets[0], 'source_region=~"$', 'region=~"$'),
  },
  {
    what: "a grouping by a label that an inner sum took away",
    check: "queries",
    says: /label target does not exist/,
    plant: (d) => (chart(d).targets[0].expr = "max by (target) (region:xprober_agents:count)"),
  },
  {
    what: "operands that never meet",
    check: "queries",
    says: /never meet/,
    plant: (d) => (chart(d).targets[0].expr = "region:xprober_agents:count / region_pair:xprober_agents:count"),
  },
  {
    what: "a legend with a label that the query lacks",
    check: "queries",
    says: /legend names the label instance/,
    plant: (d) => (chart(d).targets[0].legendFormat = "{{instance}}"),
  },
  {
    what: "a variable that does not exist",
    check: "queries",
    says: /no variable region/,
    plant: (d) => replace(chart(d).targets[0], "$source_region", "$region"),
  },
  {
    what: "a query that is no PromQL",
    check: "queries",
    says: /not PromQL/,
    plant: (d) => (chart(d).targets[0].expr = "sum by (source_region"),
  },
  {
    what: "a choice of a label that the metric lacks",
    check: "queries",
    says: /label colour does not exist/,
    plant: (d) =>
      (d.templating.list[1].definition = d.templating.list[1].query.query =
        "label_values(region:xprober_agents:count, colour)"),
  },
  {
    what: "a column of a table that no query has",
    check: "queries",
    says: /no query has the column colour/,
    plant: (d) => (table(d).transformations.at(-1).options.indexByName.colour = 9),
  },
  {
    what: "a label of a table without a place",
    check: "queries",
    says: /the column target_region has no place/,
    plant: (d) => delete table(d).transformations.at(-1).options.indexByName.target_region,
  },
  {
    what: "an unknown unit",
    check: "values",
    says: /no unit fortnights/,
    plant: (d) => (chart(d).fieldConfig.defaults.unit = "fortnights"),
  },
  {
    what: "an unknown unit of a column",
    check: "values",
    says: /no unit percentunits/,
    plant: (d) => (table(d).fieldConfig.overrides.at(-1).properties[1].value = "percentunits"),
  },
  {
    what: "an unknown reducer in a legend",
    check: "values",
    says: /no reducer average/,
    plant: (d) => chart(d).options.legend.calcs.push("average"),
  },
  {
    what: "an unknown reducer of a number",
    check: "values",
    says: /no reducer latest/,
    plant: (d) => (stat(d).options.reduceOptions.calcs = ["latest"]),
  },
  {
    what: "an unknown transformation",
    check: "values",
    says: /no transformation groupToMatrix/,
    plant: (d) => (matrix(d).transformations[1].id = "groupToMatrix"),
  },
  {
    what: "an unknown way to choose fields",
    check: "values",
    says: /called byTitle/,
    plant: (d) => (table(d).fieldConfig.overrides[0].matcher.id = "byTitle"),
  },
  {
    what: "settings for a field that is not there",
    check: "values",
    says: /no field is byName Value #Z/,
    plant: (d) => (table(d).fieldConfig.overrides.at(-1).matcher.options = "Value #Z"),
  },
  {
    what: "queries whose answers are not joined",
    check: "values",
    says: /it has \d tables/,
    plant: (d) => table(d).transformations.shift(),
  },
  {
    what: "a matrix of a field that is not there",
    check: "values",
    says: /no matrix came out/,
    plant: (d) => (matrix(d).transformations[1].options.valueField = "Values"),
  },
  {
    what: "a matrix whose missing pairs have another text",
    check: "values",
    says: /a missing value/,
    plant: (d) => Object.assign(matrix(d).fieldConfig.defaults, { mappings: [], noValue: "none" }),
  },
  {
    what: "a matrix with columns as they come",
    check: "values",
    says: /not in order/,
    plant: (d) => (matrix(d).transformations[0].options.sort[0].desc = true),
  },
  {
    what: "a link that names a column that is not there",
    check: "values",
    says: /link names the column source_regions/,
    plant: (d) =>
      (table(d).fieldConfig.overrides[0].properties.at(-1).value[0].url =
        "/d/xprober-line?var-source_region=${__data.fields.source_regions}"),
  },
  {
    what: "a misspelt option of a panel",
    check: "options",
    says: /'colourMode' does not exist|colourMode/,
    plant: (d) => (stat(d).options.colourMode = "value"),
  },
  {
    what: "a value that an option does not have",
    check: "options",
    says: /"centre"/,
    plant: (d) => (stat(d).options.justifyMode = "centre"),
  },
  {
    what: "a misspelt style of curves",
    check: "options",
    says: /lineWith/,
    plant: (d) => (chart(d).fieldConfig.defaults.custom.lineWith = 2),
  },
  {
    what: "an option of another kind of panel",
    check: "options",
    says: /cellHeight/,
    plant: (d) => (chart(d).options.cellHeight = "sm"),
  },
  {
    what: "a setting that tables do not have",
    check: "options",
    says: /custom\.colour/,
    plant: (d) => (table(d).fieldConfig.overrides[0].properties[0].id = "custom.colour"),
  },
  {
    what: "an option of a transformation that it does not have",
    check: "options",
    says: /RTT p99, last minute.*never/,
    plant: (d) => (matrix(d).transformations[1].options.columnFields = "x"),
  },
  {
    what: "a kind of panel that old Grafana lacks",
    check: "options",
    says: /"geomap"/,
    plant: (d) => (stat(d).type = "geomap"),
  },
  { what: "the same panel id twice", check: "shape", says: /id 1 is there twice/, plant: (d) => (d.panels[1].id = 1) },
  {
    what: "panels on top of each other",
    check: "shape",
    says: /lies on another/,
    plant: (d) => (d.panels[1].gridPos.x = 0),
  },
  {
    what: "a panel wider than the grid",
    check: "shape",
    says: /does not fit the grid/,
    plant: (d) => (d.panels[0].gridPos.w = 25),
  },
  {
    what: "a fixed data source",
    check: "shape",
    says: /chosen data source/,
    plant: (d) => (chart(d).datasource = { type: "prometheus", uid: "abc" }),
  },
  {
    what: "a choice that is made already",
    check: "shape",
    says: /only an empty one/,
    plant: (d) => (d.templating.list[0].current = { text: "x", value: "x" }),
  },
  { what: "an id of one Grafana", check: "shape", says: /Grafana gives the id/, plant: (d) => (d.id = 7) },
  {
    what: "a uid that nothing links to",
    check: "shape",
    says: /is not xprober-overview/,
    plant: (d) => (d.uid = "xprober-over"),
  },
  { what: "another schema", check: "shape", says: /schema version/, plant: (d) => (d.schemaVersion = 41) },
  { what: "inputs that provisioning never fills", check: "shape", says: /__inputs/, plant: (d) => (d.__inputs = []) },
  {
    what: "a legend with the last healthy value",
    check: "shape",
    says: /last healthy value/,
    plant: (d) => (chart(d).options.legend.calcs = ["lastNotNull"]),
  },
  {
    what: "curves that bridge outages",
    check: "shape",
    says: /bridges outages/,
    plant: (d) => (chart(d).fieldConfig.defaults.custom.spanNulls = true),
  },
  {
    what: "a matrix that is not sorted",
    check: "shape",
    says: /not sorted/,
    plant: (d) => matrix(d).transformations.shift(),
  },
  {
    what: "a matrix with a healthy diagonal",
    check: "shape",
    says: /painted healthy/,
    plant: (d) => (matrix(d).fieldConfig.defaults.mappings = []),
  },
  {
    what: "a link to nowhere",
    check: "shape",
    says: /leads to xprober-home/,
    plant: (d) => (d.links[0].url = "/d/xprober-home"),
  },
  {
    what: "a link into another language",
    check: "shape",
    says: /changes the language/,
    plant: (d) => (d.links[0].url += "-zh"),
  },
  {
    what: "a link that forgets the choices",
    check: "shape",
    says: /keep choices and time/,
    plant: (d) => (d.links[0].includeVars = false),
  },
];
