/** Where the checks find what they compare. */

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Dashboard } from "../grafana.js";
import { Catalogue, agentEntries, plannerEntries, promisedByPlanner, rulesOf } from "./catalogue.js";
import type { Answer } from "./frames.js";
import type { Findings } from "./problems.js";

const FIXTURES = "grafana/dashboards/source/fixtures";
const PLANNER_PAGE = `${FIXTURES}/planner.txt`;
const PLANNER_SNAPSHOT =
  "planner/tests/live/snapshots/live__admin__every_series_of_the_catalogue_is_there_from_the_start.snap";

/** A committed dashboard. */
export interface Committed {
  path: string;
  json: string;
  dashboard: Dashboard;
}

/** The repository's files. */
export class Repository {
  constructor(
    private readonly root: string,
    private readonly metrics: string,
  ) {}

  private text(path: string): string {
    return readFileSync(join(this.root, path), "utf8");
  }

  private list(folder: string, extension: string): string[] {
    return readdirSync(join(this.root, folder))
      .filter((name) => name.endsWith(extension))
      .sort();
  }

  /** Every committed dashboard. */
  dashboards(): Committed[] {
    return ["", "zh/"].flatMap((language) =>
      this.list(`grafana/dashboards/${language}`, ".json").map((name) => {
        const json = this.text(`grafana/dashboards/${language}${name}`);
        return { path: language + name, json, dashboard: JSON.parse(json) as Dashboard };
      }),
    );
  }

  /** Agents' metrics as the built agent prints them, the planner's as a planner of the lab showed them, and the rules. */
  catalogue(findings: Findings): Catalogue {
    const planner = plannerEntries(this.text(PLANNER_PAGE));
    const shown = new Set(planner.map((entry) => entry.name));
    for (const name of promisedByPlanner(this.text(PLANNER_SNAPSHOT))) {
      findings.expect(shown.has(name), PLANNER_PAGE, `${name} is not in it (make answers)`);
    }
    const rules = this.list("grafana/rules", ".yml").flatMap((name) =>
      rulesOf(name, this.text(`grafana/rules/${name}`)),
    );
    const agents = agentEntries(readFileSync(this.metrics, "utf8"));
    findings.expect(agents.length > 30, "xprober-agent metrics", `only ${agents.length} metrics were read`);
    return new Catalogue([...agents, ...planner], rules);
  }

  /** What each database answered to every query of the dashboards. */
  answers(): [database: string, answers: Answer[]][] {
    return this.list(FIXTURES, ".json").map((name) => [
      name.replace(".json", ""),
      JSON.parse(this.text(`${FIXTURES}/${name}`)) as Answer[],
    ]);
  }
}
