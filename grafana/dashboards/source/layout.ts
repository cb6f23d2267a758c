/** Gives panels their places: bands of equal height, one below the other. */

import type { Panel } from "./grafana.js";
import type { Loose } from "./panels.js";

/** Columns of Grafana's grid. */
const WIDTH = 24;

/** Panels side by side, or a heading. */
export type Band = { height: number; panels: Loose[] } | { heading: string };

/** Panels side by side, equally wide. */
export function band(height: number, ...panels: Loose[]): Band {
  return { height, panels };
}

/** Bands of so many panels each. */
export function bands(height: number, perBand: number, panels: Loose[]): Band[] {
  const starts = panels.flatMap((_, index) => (index % perBand === 0 ? [index] : []));
  return starts.map((start) => band(height, ...panels.slice(start, start + perBand)));
}

/** A title above the bands that follow. */
export function heading(title: string): Band {
  return { heading: title };
}

/** Numbers the panels and places the bands from top to bottom. */
export function place(bands: Band[]): Panel[] {
  const placed: Panel[] = [];
  let y = 0;
  for (const one of bands) {
    if ("heading" in one) {
      const gridPos = { h: 1, w: WIDTH, x: 0, y };
      placed.push({ id: placed.length + 1, gridPos, type: "row", title: one.heading, collapsed: false, panels: [] });
      y += 1;
      continue;
    }
    const w = Math.floor(WIDTH / one.panels.length);
    for (const [index, panel] of one.panels.entries()) {
      placed.push({ id: placed.length + 1, gridPos: { h: one.height, w, x: w * index, y }, ...panel });
    }
    y += one.height;
  }
  return placed;
}
