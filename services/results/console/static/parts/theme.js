// Light or dark: as the system has it, unless chosen here; theme.js applies it to a page that comes.

import { keep, kept } from "../core/kept.js";

const ORDER = ["system", "light", "dark"];
const KEY = "penstock-theme";

export const theme = () => (ORDER.includes(kept(KEY)) ? kept(KEY) : "system");

/** The next of system, light, dark; returns it. */
export function nextTheme() {
  keep(KEY, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  return (document.documentElement.dataset.theme = theme());
}
