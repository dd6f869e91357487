// What is said to those who do not see it. What is outside an open dialog is not read out, so it is where the topmost one is.

export const LATER_MS = 100; // a screen reader hears what changes in an element, not what comes with it

let region = null;
let timer = null;

/** Where something is to be that belongs above all: dialogs make whatever is outside of them unreachable. */
export const topmost = () => [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.documentElement;

export function speak(text) {
  if (!region) {
    region = document.createElement("div");
    region.className = "hidden";
    region.ariaLive = "polite";
  }
  const place = topmost();
  if (region.parentNode !== place) place.append(region);
  region.textContent = "";
  clearTimeout(timer);
  timer = setTimeout(() => (region.textContent = text), LATER_MS);
}
