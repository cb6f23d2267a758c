/** The same dashboard in another language: only what people read differs, and the links lead to the same language. */

import type { Dashboard } from "./grafana.js";

/** English text to the same in another language. */
export type Translations = Readonly<Record<string, string>>;

/** Keys whose text people read, wherever they stand in a dashboard. */
const READ = new Set(["title", "description", "label", "noValue", "text", "legendFormat"]);

/** Texts without a word of English are the same in every language, as are labels, percentiles and Grafana's own words. */
const SAME = /^(?:__auto|(?:\{\{\w+\}\}|\$\w+|p\d+|[^A-Za-z])*)$/;

/** The variables of both ends behind a title, the same in every language. */
const DIRECTION = /: \$\w+ → \$\w+$/;

/** What the translator met: texts in use, and those that the table lacks. */
export interface Account {
  used: Set<string>;
  missing: Set<string>;
}

/** Translates a dashboard; texts that the table lacks stay English and are noted. */
export function translated(
  dashboard: Dashboard,
  table: Translations,
  account: Account = { used: new Set(), missing: new Set() },
): Dashboard {
  const word = (text: string): string => {
    const end = DIRECTION.exec(text)?.[0] ?? "";
    const start = text.slice(0, text.length - end.length);
    if (SAME.test(start)) {
      return text;
    }
    account.used.add(start);
    const found = table[start];
    if (found === undefined) {
      account.missing.add(start);
    }
    return (found ?? start) + end;
  };
  const link = (url: string) => url.replace(/^\/d\/xprober-\w+/, "$&-zh");
  const walk = (value: unknown, key = "", isName = false): unknown => {
    if (Array.isArray(value)) {
      return value.map((item) => walk(item));
    }
    if (typeof value === "object" && value !== null) {
      const displayName = "id" in value && value.id === "displayName";
      return Object.fromEntries(
        Object.entries(value).map(([name, inner]) => [name, walk(inner, name, displayName && name === "value")]),
      );
    }
    if (typeof value !== "string") {
      return value;
    }
    return key === "url" ? link(value) : READ.has(key) || isName ? word(value) : value;
  };
  return { ...(walk(dashboard) as Dashboard), uid: `${dashboard.uid}-zh` };
}
