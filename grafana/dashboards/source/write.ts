/** Writes every dashboard to the folder that is the argument. */

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { files, text } from "./all.js";

const folder = process.argv[2];
if (!folder) {
  throw new Error("usage: write FOLDER");
}
for (const file of files()) {
  const path = join(folder, file.path);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text(file));
}
