// Where somebody was in a page: how far down, and on which pages of its lists. It is kept with the history's entry, so that
// Back, Forward and a reload come there again.

const SETTLE_MS = 120; // browsers let the history be written only so often
const PATIENCE_MS = 5000; // then whoever waits for the list has looked elsewhere

let timer = null;
let wanted = null; // `{top, until}`: where to come to once the page is long enough

export const placeOf = (name) => history.state?.[name];

export function keepPlace(values) {
  history.replaceState({ ...history.state, ...values }, "");
}

/** Keep how far down the page is shown, from now on. */
export function keepScrolling() {
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => (clearTimeout(timer), (timer = setTimeout(keepScroll, SETTLE_MS))), { passive: true });
  for (const name of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(name, () => (wanted = null), { passive: true });
  addEventListener("pagehide", keepScroll);
}

export function keepScroll() {
  clearTimeout(timer);
  if (!wanted) keepPlace({ top: scrollY });
}

/** Another page comes: it is to be shown from where it was left. */
export function comeBack() {
  clearTimeout(timer);
  wanted = { top: placeOf("top") ?? 0, until: Date.now() + PATIENCE_MS };
}

/** Called with each change of the page, as it may have become long enough. */
export function settle() {
  if (!wanted) return;
  scrollTo(0, wanted.top);
  if (scrollY >= wanted.top - 1 || Date.now() > wanted.until) wanted = null;
}
