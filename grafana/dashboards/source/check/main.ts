/** Checks the committed dashboards of a repository: `main REPOSITORY AGENT_METRICS`, the latter what `xprober-agent metrics` printed. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CHINESE } from "../chinese.js";
import { files, text } from "../all.js";
import { checkAlertLinks } from "./alerts.js";
import { Findings } from "./problems.js";
import { checkOptions } from "./options.js";
import { checkQueries } from "./queries.js";
import { Repository } from "./repository.js";
import { checkShape } from "./shape.js";
import { checkTranslations } from "./translations.js";
import { checkValues } from "./values.js";

const [root = ".", metrics = ""] = process.argv.slice(2);
const repository = new Repository(root, metrics);
const findings = new Findings();

const committed = repository.dashboards();
const wanted = files();
const folder = join(root, "grafana/dashboards");
const present = ["", "zh/"].flatMap((part) =>
  readdirSync(join(folder, part)).flatMap((name) => (name.endsWith(".json") ? [part + name] : [])),
);
for (const path of present) {
  findings.expect(
    wanted.some((file) => file.path === path),
    path,
    "nothing writes this file",
  );
}
for (const file of wanted) {
  const stands = present.includes(file.path) && readFileSync(join(folder, file.path), "utf8") === text(file);
  findings.expect(stands, file.path, "it is not what the generator writes (make dashboards)");
}

const catalogue = repository.catalogue(findings);
const used = catalogue.checkRules(findings);
for (const { dashboard } of committed) {
  checkQueries(dashboard, catalogue, used, findings);
}
catalogue.checkUse(used, findings);
checkAlertLinks(
  catalogue.rules,
  committed.map(({ dashboard }) => dashboard),
  findings,
);
checkShape(committed, findings);
checkTranslations(wanted, CHINESE, findings);
checkOptions(
  committed.map(({ dashboard, json }) => ({ name: dashboard.uid, json })),
  findings,
);
const answers = repository.answers();
for (const [database, recorded] of answers) {
  const found = new Findings();
  for (const { dashboard } of committed) {
    await checkValues(dashboard, recorded, found);
  }
  found.problems.forEach(({ place, what }) => findings.add(`${place} (${database})`, what));
}

for (const { place, what } of findings.problems) {
  console.error(`${place}: ${what}`);
}
const panels = committed.reduce((sum, { dashboard }) => sum + dashboard.panels.length, 0);
console.log(
  `${committed.length} dashboards with ${panels} panels, ${catalogue.rules.length} rules, answers of ${answers.length} databases: ${findings.problems.length} problems`,
);
process.exitCode = findings.problems.length === 0 ? 0 : 1;
