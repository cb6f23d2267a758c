/** Dashboards have the form that Grafana 9 and every later one imports, by hand and by provisioning, and hide no outage. */

import type { Dashboard, Drawing } from "../grafana.js";
import { drawings, placeOf } from "./queries.js";
import type { Findings } from "./problems.js";

const CORE = new Set(["row", "stat", "table", "timeseries", "heatmap"]);
const SOURCE = '{"type":"prometheus","uid":"${datasource}"}';
const GRID = 24;

/** Every object inside a value. */
function* objects(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value === "object" && value !== null) {
    if (!Array.isArray(value)) {
      yield value as Record<string, unknown>;
    }
    for (const inner of Object.values(value)) {
      yield* objects(inner);
    }
  }
}

function checkFile(path: string, dashboard: Dashboard, findings: Findings): void {
  const place = dashboard.uid;
  const name = path.replace(/^(zh\/)?(\w+)\.json$/, (_, zh, stem) => `xprober-${stem}${zh ? "-zh" : ""}`);
  findings.expect(dashboard.uid === name, place, `the uid of ${path} is not ${name}`);
  findings.expect(dashboard.id === null, place, "Grafana gives the id");
  findings.expect(dashboard.schemaVersion === 39, place, "the schema version is not 39");
  findings.expect(!("__inputs" in dashboard), place, "provisioning never fills __inputs");
  const sources = dashboard.templating.list.filter((variable) => variable.type === "datasource");
  findings.expect(sources.length === 1, place, "there is not one choice of the data source");
  for (const variable of dashboard.templating.list) {
    findings.expect(
      JSON.stringify(variable.current) === "{}",
      place,
      `${variable.name} has a choice: only an empty one fits every Grafana`,
    );
  }
}

function checkPlaces(dashboard: Dashboard, findings: Findings): void {
  const ids = new Set<number>();
  const cells = new Set<string>();
  for (const panel of dashboard.panels) {
    const place = placeOf(dashboard, panel);
    findings.expect(!ids.has(panel.id), place, `the id ${panel.id} is there twice`);
    ids.add(panel.id);
    findings.expect(CORE.has(panel.type), place, `${panel.type} is not in every Grafana`);
    const { x, y, w, h } = panel.gridPos;
    findings.expect(x >= 0 && w > 0 && h > 0 && x + w <= GRID, place, "it does not fit the grid");
    for (let column = x; column < x + w; column += 1) {
      for (let row = y; row < y + h; row += 1) {
        findings.expect(!cells.has(`${column} ${row}`), place, "it lies on another panel");
        cells.add(`${column} ${row}`);
      }
    }
  }
  for (const object of objects(dashboard.panels)) {
    if ("datasource" in object) {
      findings.expect(
        JSON.stringify(object.datasource) === SOURCE,
        dashboard.uid,
        "a panel does not take the chosen data source",
      );
    }
  }
}

function checkDrawing(panel: Drawing, place: string, findings: Findings): void {
  const letters = panel.targets.map((target) => target.refId);
  findings.expect(
    new Set(letters).size === letters.length && letters.length > 0,
    place,
    "queries share a letter, or there is none",
  );
  findings.expect(panel.title !== "" && panel.description !== "", place, "it says nothing of itself");
  if (panel.type === "timeseries") {
    const calcs = panel.options.legend?.calcs ?? [];
    findings.expect(
      calcs.length > 0 && !calcs.includes("lastNotNull"),
      place,
      "the legend shows the last healthy value",
    );
    findings.expect(!panel.fieldConfig.defaults.custom?.spanNulls, place, "it bridges outages");
  }
  const steps = panel.transformations ?? [];
  const matrix = steps.findIndex((step) => step.id === "groupingToMatrix");
  if (matrix >= 0) {
    const sorted = (part: typeof steps) => part.some((step) => step.id === "sortBy");
    findings.expect(
      sorted(steps.slice(0, matrix)) && sorted(steps.slice(matrix)),
      place,
      "rows and columns are not sorted",
    );
    const defaults = panel.fieldConfig.defaults;
    findings.expect(
      JSON.stringify(defaults.mappings ?? []).includes('"match":"null"'),
      place,
      "what is missing is painted healthy",
    );
    const custom: Record<string, unknown> = { ...defaults.custom };
    findings.expect(
      "displayMode" in custom && "cellOptions" in custom,
      place,
      "cells need displayMode and cellOptions",
    );
  }
}

/** Other dashboards that a dashboard leads to. */
function linked(dashboard: Dashboard): string[] {
  const urls = [...objects(dashboard)].flatMap((object) => (typeof object.url === "string" ? [object.url] : []));
  return urls.map((url) => /^\/d\/([\w-]+)/.exec(url)?.[1] ?? url);
}

/** Checks the form of all dashboards, and that their links lead to each other. */
export function checkShape(dashboards: { path: string; dashboard: Dashboard }[], findings: Findings): void {
  const uids = new Set(dashboards.map(({ dashboard }) => dashboard.uid));
  findings.expect(uids.size === dashboards.length, "dashboards", "two have the same uid");
  for (const { path, dashboard } of dashboards) {
    checkFile(path, dashboard, findings);
    checkPlaces(dashboard, findings);
    drawings(dashboard).forEach((panel) => checkDrawing(panel, placeOf(dashboard, panel), findings));
    for (const uid of linked(dashboard)) {
      findings.expect(uids.has(uid), dashboard.uid, `a link leads to ${uid}, which does not exist`);
      findings.expect(
        uid.endsWith("-zh") === dashboard.uid.endsWith("-zh"),
        dashboard.uid,
        `the link to ${uid} changes the language`,
      );
    }
    findings.expect(
      dashboard.links?.every((link) => link.includeVars && link.keepTime) ?? false,
      dashboard.uid,
      "links must keep choices and time",
    );
  }
}
