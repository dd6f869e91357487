// Light or dark: as the system has it, unless chosen here.

const ORDER = ["system", "light", "dark"];
const KEY = "penstock-theme";

export const theme = () => (ORDER.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "system");

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

/** The next of system, light, dark; returns it. */
export function nextTheme() {
  localStorage.setItem(KEY, ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  applyTheme();
  return theme();
}
