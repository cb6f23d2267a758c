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
import { read, type Labels } from "./labels.js";
import { checkOptions } from "./options.js";
import { FAULTS, type Check, type Fault } from "./planted.js";
import { Findings } from "./problems.js";
import { checkQueries } from "./queries.js";
import { Repository } from "./repository.js";
import { checkShape } from "./shape.js";
import { checkTranslations } from "./translations.js";
import { checkValues } from "./values.js";

const [root = ".", metrics = ""] = process.argv.slice(2);
const repository = new Repository(root, metrics);
const sound = repository.dashboards();
const catalogue = repository.catalogue(new Findings());
const answers = repository.answers()[0]?.[1] ?? [];

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
