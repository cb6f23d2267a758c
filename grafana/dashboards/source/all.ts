/** Every dashboard in every language, by the path of its file. */

import { agents } from "./agents.js";
import { CHINESE } from "./chinese.js";
import type { Dashboard } from "./grafana.js";
import { http } from "./http.js";
import { line } from "./line.js";
import { overview } from "./overview.js";
import { translated } from "./translate.js";

const ENGLISH = [overview, line, http, agents];

/** A dashboard's file: its path below `grafana/dashboards`, and what is in it. */
export interface File {
  path: string;
  dashboard: Dashboard;
}

const named = (folder: string, dashboard: Dashboard, name: string): File => ({
  path: `${folder}${name}.json`,
  dashboard,
});
const nameOf = (dashboard: Dashboard) => dashboard.uid.replace("xprober-", "");

/** Every file that belongs into `grafana/dashboards`. */
export function files(): File[] {
  return ENGLISH.flatMap((dashboard) => [
    named("", dashboard, nameOf(dashboard)),
    named("zh/", translated(dashboard, CHINESE), nameOf(dashboard)),
  ]);
}

/** The text of a file. */
export function text({ dashboard }: File): string {
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}
