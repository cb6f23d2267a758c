/** The browser that `@grafana/data` expects around itself; to be imported before it. */

import { JSDOM } from "jsdom";

const { window } = new JSDOM("", { url: "http://localhost/" });
const globals = {
  window,
  document: window.document,
  navigator: window.navigator,
  HTMLElement: window.HTMLElement,
  localStorage: window.localStorage,
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
