/** Holds the JSON against the types of `@grafana/schema`, with the compiler itself. */

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import type { Findings } from "./problems.js";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
  strict: true,
  noEmit: true,
  skipLibCheck: true,
};

/** The nearest title above a place in the text of a dashboard. */
function titleAbove(text: string, at: number): string {
  return [...text.slice(0, at).matchAll(/^ {6}"title": "(.*)",$/gm)].at(-1)?.[1] ?? "";
}

/** Checks dashboards, each as `name` and the text of its JSON, which is a literal of TypeScript as it stands. */
export function checkOptions(dashboards: { name: string; json: string }[], findings: Findings): void {
  const virtual = new Map<string, { name: string; text: string }>();
  for (const [index, { name, json }] of dashboards.entries()) {
    const text = `import type { Dashboard } from "./grafana.js";\nexport const dashboard: Dashboard = ${json.trimEnd()};\n`;
    virtual.set(join(ROOT, `dashboard-${index}.ts`), { name, text });
  }
  const host = ts.createCompilerHost(OPTIONS);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => virtual.has(file) || fileExists.call(host, file);
  host.readFile = (file) => virtual.get(file)?.text ?? readFile.call(host, file);
  host.getSourceFile = (file, version, ...rest) => {
    const found = virtual.get(file);
    return found ? ts.createSourceFile(file, found.text, version) : getSourceFile.call(host, file, version, ...rest);
  };
  const program = ts.createProgram([...virtual.keys()], OPTIONS, host);
  for (const [file, { name, text }] of virtual) {
    const source = program.getSourceFile(file);
    for (const one of [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]) {
      const what = ts.flattenDiagnosticMessageText(one.messageText, " ");
      findings.add(`${name}: panel "${titleAbove(text, one.start ?? 0)}"`, what.slice(0, 400));
    }
  }
}
