// The states a page may be in: loading, nothing there yet, something wrong; and its head.

import { h } from "../core/vdom.js";
import { icon } from "./icons.js";

/** A page's head: its title, what leads up from it (`up`: `[label, address]`), what is said below, and its actions. */
export function pageHead(title, { up = null, lead = null, actions = [] } = {}) {
  return h(
    "div",
    { class: "page-head" },
    h(
      "div",
      { class: "grow" },
      up && h("a", { class: "up", href: up[1] }, icon("left"), up[0]),
      h("h1", { tabindex: -1 }, title),
      lead && h("p", { class: "lead" }, lead),
    ),
    h("div", { class: "actions" }, actions),
  );
}

/** Tabs that are links: `[label, address]`; the one whose address is the present path is marked. */
export function tabs(label, items) {
  return h(
    "nav",
    { class: "tabs", "aria-label": label },
    items.map(([text, to]) => h("a", { key: to, href: to, "aria-current": location.pathname === to ? "page" : null }, text)),
  );
}

/** A box with something to know: `kind` is "info", "good", "warn" or "bad". */
export function notice(kind, title, text = null, action = null) {
  return h(
    "div",
    { class: ["notice", kind], role: kind === "bad" ? "alert" : null },
    icon({ good: "check", info: "info" }[kind] ?? "warning"),
    h("div", { class: "grow" }, h("strong", null, title), text && h("div", null, text)),
    action,
  );
}

/** What happened and what to do, from a Problem; `retry` is called by the button to try again. `again`: said of what may pass. */
export function problemNotice(problem, retry = null, again = "Try again in a moment.") {
  const button = retry && h("button", { onclick: retry }, icon("retry"), "Try again");
  if (!problem.code) return notice("bad", "Something went wrong in this page", String(problem), button);
  const hint = problem.hint || (problem.isAway ? again : null);
  return notice("bad", problem.message, hint, button);
}

/** What is said where a list is empty: why, and what to do next. */
export function emptyState({ title, text = null, action = null }) {
  return h("div", { class: "empty" }, h("h2", null, title), text && h("p", null, text), action);
}

export function skeleton(lines = 6) {
  return h("div", { class: "skeleton", role: "status", "aria-label": "Loading" }, Array.from({ length: lines }, (_, index) => h("div", { key: index })));
}

/** What `view(data)` gives once `loading` has data; before that a skeleton; with a notice where the last try failed. */
export function shown(loading, view, lines = 6) {
  const problem = loading.problem && problemNotice(loading.problem, () => loading.load(), "It is tried again by itself.");
  return loading.data === null ? problem ?? skeleton(lines) : [problem, view(loading.data)];
}
