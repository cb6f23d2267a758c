/** The dashboard that an alert leads to exists, and so do the choices that the link makes there. */

import type { Dashboard } from "../grafana.js";
import type { Rule } from "./catalogue.js";
import type { Findings } from "./problems.js";

/** Checks the `dashboard` annotation of every alert that has one: `/d/<uid>?var-<name>=...`. */
export function checkAlertLinks(rules: Rule[], dashboards: Dashboard[], findings: Findings): void {
  for (const rule of rules) {
    const link = rule.annotations?.dashboard;
    if (link === undefined) {
      continue;
    }
    const place = `${rule.file}: ${rule.alert}`;
    const uid = /^\/d\/([\w-]+)/.exec(link)?.[1];
    const dashboard = dashboards.find((one) => one.uid === uid);
    findings.expect(dashboard !== undefined, place, `its link leads to ${uid ?? link}, which does not exist`);
    for (const [, name = ""] of link.matchAll(/[?&]var-(\w+)=/g)) {
      const known = dashboard?.templating.list.some((variable) => variable.name === name) ?? true;
      findings.expect(known, place, `its link chooses ${name}, which ${uid} does not have`);
    }
  }
}
