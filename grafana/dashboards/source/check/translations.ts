/** The translation is whole: no text lacks one, none is left over, each is in the language that it should be in. */

import type { File } from "../all.js";
import { translated, type Account, type Translations } from "../translate.js";
import type { Findings } from "./problems.js";

const CHINESE_SIGN = /\p{Script=Han}/u;

/** Checks a table of Chinese texts against the English dashboards. */
export function checkTranslations(files: File[], table: Translations, findings: Findings): void {
  const account: Account = { used: new Set(), missing: new Set() };
  for (const { dashboard } of files.filter(({ path }) => !path.includes("/"))) {
    translated(dashboard, table, account);
  }
  account.missing.forEach((text) => findings.add("chinese.ts", `no translation of "${text}"`));
  for (const [english, chinese] of Object.entries(table)) {
    findings.expect(account.used.has(english), "chinese.ts", `nothing uses "${english}"`);
    findings.expect(english === chinese || CHINESE_SIGN.test(chinese), "chinese.ts", `"${chinese}" is not Chinese`);
  }
}
