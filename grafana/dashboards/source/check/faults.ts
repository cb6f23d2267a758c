/**
 * The checks find what they are there for: faults are planted one by one into sound dashboards, and each is found where it is.
 *
 * `faults REPOSITORY AGENT_METRICS`, as for `main`.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkAlertLinks } from "./alerts.js";
import { files } from "../all.js";
import { CHINESE } from "../chinese.js";
import type { Dashboard, Drawing } from "../grafana.js";
import { read, type Labels } from "./labels.js";
import { checkOptions } from "./options.js";
import { Findings } from "./problems.js";
import { checkQueries, drawings } from "./queries.js";
import { Repository } from "./repository.js";
import { checkShape } from "./shape.js";
import { checkTranslations } from "./translations.js";
import { checkValues } from "./values.js";

const [root = ".", metrics = ""] = process.argv.slice(2);
const repository = new Repository(root, metrics);
const sound = repository.dashboards();
const catalogue = repository.catalogue(new Findings());
const answers = repository.answers()[0]?.[1] ?? [];

/** JSON that a fault may bend as it likes. */
type Bent = any;

type Check = "queries" | "shape" | "values" | "options";

/** A fault: what it is, which check finds it, with which words, and how it is planted. */
interface Fault {
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

const FAULTS: Fault[] = [
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

/** All dashboards, the overview with one fault. */
function bent(fault: Fault) {
  const copies = structuredClone(sound);
  const overview = copies.find(({ path }) => path === "overview.json");
  assert.ok(overview);
  fault.plant(overview.dashboard);
  return { all: copies, overview };
}

const of = (check: Check) => FAULTS.filter((fault) => fault.check === check);
const expectFound = (findings: Findings, { says, what }: Fault) => {
  const said = findings.problems.map((problem) => `${problem.place}: ${problem.what}`);
  assert.ok(
    said.some((one) => says.test(one)),
    `${what} is not found; said: ${said.join("\n") || "nothing"}`,
  );
};

describe("a planted fault is found", () => {
  for (const fault of of("queries")) {
    it(fault.what, () => {
      const findings = new Findings();
      checkQueries(bent(fault).overview.dashboard, catalogue, new Set(), findings);
      expectFound(findings, fault);
    });
  }
  for (const fault of of("shape")) {
    it(fault.what, () => {
      const findings = new Findings();
      checkShape(bent(fault).all, findings);
      expectFound(findings, fault);
    });
  }
  for (const fault of of("values")) {
    it(fault.what, async () => {
      const findings = new Findings();
      await checkValues(bent(fault).overview.dashboard, answers, findings);
      expectFound(findings, fault);
    });
  }
  // The compiler reads the types once for all of them.
  it("by the compiler", () => {
    const faults = of("options");
    const findings = new Findings();
    const texts = faults.map((fault, index) => ({
      name: `fault-${index}`,
      json: JSON.stringify(bent(fault).overview.dashboard, null, 2),
    }));
    checkOptions(texts, findings);
    for (const [index, fault] of faults.entries()) {
      const own = new Findings();
      findings.problems
        .filter(({ place }) => place.startsWith(`fault-${index}:`))
        .forEach(({ place, what }) => own.add(place, what));
      expectFound(own, fault);
    }
  });
  it("a text without a translation, and one that nothing uses", () => {
    const findings = new Findings();
    const { [Object.keys(CHINESE)[0] ?? ""]: _, ...table } = CHINESE;
    checkTranslations(files(), { ...table, "No such text": "没有" }, findings);
    const said = findings.problems.map(({ what }) => what);
    assert.deepEqual(said.map((what) => /no translation|nothing uses/.exec(what)?.[0]).sort(), [
      "no translation",
      "nothing uses",
    ]);
  });
  it("an alert's link to nowhere, and one to a choice that is not there", () => {
    const findings = new Findings();
    const linking = (dashboard: string) => ({
      file: "alerts.yml",
      alert: "Some",
      expr: "1",
      annotations: { dashboard },
    });
    const links = [
      "/d/xprober-home?var-line=x",
      "/d/xprober-http?var-line=x",
      "/d/xprober-line?var-line=x&var-source_region=y",
    ];
    checkAlertLinks(
      links.map(linking),
      sound.map(({ dashboard }) => dashboard),
      findings,
    );
    assert.deepEqual(
      findings.problems.map(({ what }) => what),
      [
        "its link leads to xprober-home, which does not exist",
        "its link chooses line, which xprober-http does not have",
      ],
    );
  });
  it("a metric that neither a rule nor a dashboard uses", () => {
    const findings = new Findings();
    const used = catalogue.checkRules(new Findings());
    catalogue.checkUse(new Set([...used].filter((name) => name !== "xprober_http_success")), findings);
    assert.ok(findings.problems.some(({ what }) => what.endsWith(" xprober_http_success")));
  });
});

describe("labels of an expression", () => {
  const known = (metric: string): Labels | undefined =>
    ({ a: new Set(["x", "y", "le"]), b: new Set(["x", "z"]), c: new Set(["x"]) })[metric];
  const rows: [expr: string, labels: string][] = [
    ["a", "le x y"],
    ["sum(a)", ""],
    ["sum by (x) (rate(a[1m]))", "x"],
    ["sum without (x) (a)", "le y"],
    ["topk(3, a)", "le x y"],
    ["histogram_quantile(0.9, sum by (x, le) (a))", "x"],
    ["max_over_time(sum by (y) (a)[5m:5s]) offset 1m", "y"],
    ['label_replace(c, "new", "$1", "x", "(.*)")', "new x"],
    ["a / on (x) group_left (z) b", "le x y z"],
    ["c * on (x) group_right () a", "le x y"],
    ["sum by (x) (a) / c", "x"],
    ["c or b", "x z"],
    ["a unless on (x) b", "le x y"],
    ["a > on (x) group_left () c", "le x y"],
    ["1 - a", "le x y"],
    ["vector(1)", ""],
    ["time()", "scalar"],
  ];
  for (const [expr, labels] of rows) {
    it(expr, () => {
      const { shape, problems } = read(expr, known);
      assert.deepEqual(problems, []);
      assert.equal(shape === "scalar" ? shape : [...shape].sort().join(" "), labels);
    });
  }
  const wrong: [expr: string, says: RegExp][] = [
    ["nothing", /nobody pushes or records nothing/],
    ['a{w="1"}', /label w does not exist in a/],
    ["sum by (w) (a)", /label w does not exist/],
    ["histogram_quantile(0.9, b)", /label le does not exist/],
    ["a / b", /never meet/],
    ["c and b", /never meet/],
    ["a / on (z) b", /label z does not exist in a/],
    ["sum by (x) (sum(a))", /label x does not exist/],
    ["sum(", /not PromQL/],
  ];
  for (const [expr, says] of wrong) {
    it(`${expr} is wrong`, () => {
      const { problems } = read(expr, known);
      assert.ok(
        problems.some((one) => says.test(one)),
        problems.join("\n"),
      );
    });
  }
});
