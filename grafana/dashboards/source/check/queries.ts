/** What dashboards ask for exists, and what they show of it is there. */

import type { Dashboard, Drawing, Step } from "../grafana.js";
import type { Catalogue } from "./catalogue.js";
import { read, type Shape } from "./labels.js";
import type { Findings } from "./problems.js";

/** Panels with queries; headings have none. */
export function drawings(dashboard: Dashboard): Drawing[] {
  return dashboard.panels.filter((panel) => panel.type !== "row");
}

/** Where a panel is, for people. */
export function placeOf(dashboard: Dashboard, panel: { id: number; title: string }): string {
  return `${dashboard.uid}: panel ${panel.id} "${panel.title}"`;
}

/** Selector and label of a variable's `label_values(selector, label)`. */
export function variableQuery(definition: string): { selector: string; label: string } | undefined {
  const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(definition) ?? [];
  return selector && label ? { selector, label } : undefined;
}

const has = (shape: Shape, label: string) => shape !== "scalar" && shape.has(label);
const isLabel = (column: string) => column !== "Time" && !column.startsWith("Value");

function checkColumns(steps: Step[], shapes: Shape[], place: string, findings: Findings): void {
  const all = new Set(shapes.flatMap((shape) => (shape === "scalar" ? [] : [...shape])));
  for (const step of steps) {
    if (step.id === "groupingToMatrix") {
      const named = [step.options.rowField ?? "", step.options.columnField ?? ""];
      findings.expect(
        all.size === 2 && named.every((label) => all.has(label)),
        place,
        `a matrix of ${named.join(" and ")} needs these labels and no other, not ${[...all].join(", ")}`,
      );
    }
    if (step.id === "organize") {
      const named = [...Object.keys(step.options.indexByName ?? {}), ...Object.keys(step.options.excludeByName)].filter(
        isLabel,
      );
      named.forEach((label) => findings.expect(all.has(label), place, `no query has the column ${label}`));
      all.forEach((label) => findings.expect(named.includes(label), place, `the column ${label} has no place`));
    }
  }
}

/** Checks every query and every choice of a dashboard, and notes which metrics it uses. */
export function checkQueries(dashboard: Dashboard, catalogue: Catalogue, used: Set<string>, findings: Findings): void {
  const names = new Set(dashboard.templating.list.map((variable) => variable.name));
  const examine = (expression: string, place: string): Shape => {
    const { shape, metrics, problems } = read(expression, catalogue.known);
    problems.forEach((problem) => findings.add(place, problem));
    metrics.forEach((metric) => used.add(metric));
    for (const [, variable = ""] of expression.matchAll(/\$\{?(\w+)/g)) {
      const own = variable.startsWith("__") || /^\d+$/.test(variable);
      findings.expect(own || names.has(variable), place, `there is no variable ${variable}`);
    }
    return shape;
  };
  for (const variable of dashboard.templating.list.filter((variable) => variable.type === "query")) {
    const place = `${dashboard.uid}: variable ${variable.name}`;
    const asked = variableQuery(variable.definition ?? "");
    findings.expect(asked !== undefined, place, `cannot read ${variable.definition}`);
    if (asked) {
      const shape = examine(asked.selector, place);
      findings.expect(has(shape, asked.label), place, `label ${asked.label} does not exist in ${asked.selector}`);
    }
    findings.expect(
      typeof variable.query === "object" && variable.query.query === variable.definition,
      place,
      "query and definition differ",
    );
  }
  for (const panel of drawings(dashboard)) {
    const place = placeOf(dashboard, panel);
    const shapes = panel.targets.map((target) => {
      const shape = examine(target.expr, place);
      for (const [, label = ""] of target.legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        findings.expect(
          has(shape, label),
          place,
          `the legend names the label ${label}, which query ${target.refId} does not have`,
        );
      }
      return shape;
    });
    checkColumns(panel.transformations ?? [], shapes, place, findings);
  }
}
