// Short messages at the edge of the window, read out by screen readers. What went wrong stays until it is put away.

import { LATER_MS, topmost } from "../core/spoken.js";
import { h, render } from "../core/vdom.js";
import { icon } from "./icons.js";

const SECONDS = 6;
let messages = [];
let last = 0;
let region = null;

/** Say `text`; `kind`: "good", "bad" or "info". `action`: `{label, go}`. */
export function say(text, { kind = "good", hint = "", action = null } = {}) {
  const id = (last += 1);
  messages = [...messages.filter((each) => each.text !== text), { id, text, kind, hint, action }].slice(-4);
  if (kind !== "bad") setTimeout(() => putAway(id), SECONDS * 1000);
  raise();
  setTimeout(draw, LATER_MS);
}

/** Say what a Problem is and what to do about it. */
export function sayProblem(problem) {
  if (problem.name === "AbortError") return;
  say(problem.message, { kind: "bad", hint: problem.hint });
}

function putAway(id) {
  messages = messages.filter((each) => each.id !== id);
  draw();
}

/** A dialog was opened, or closed: messages are over, and in, the topmost one. */
export const raiseToasts = () => region && raise();

function raise() {
  if (!region) {
    region = document.createElement("div");
    region.className = "toasts";
    region.setAttribute("role", "status");
    region.setAttribute("popover", "manual");
  }
  if (region.matches(":popover-open") && region.parentNode === topmost()) return;
  topmost().append(region);
  region.showPopover();
}

const draw = () => render(region, messages.map(toast));

function toast({ id, text, kind, hint, action }) {
  return h(
    "div",
    { key: id, class: ["toast", kind] },
    icon({ good: "check", bad: "warning", info: "info" }[kind]),
    h("div", { class: "grow" }, h("div", null, text), hint && h("div", { class: "muted" }, hint)),
    action && h("button", { class: "quiet", onclick: () => (putAway(id), action.go()) }, action.label),
    h("button", { class: "quiet icon-only", "aria-label": "Put away", onclick: () => putAway(id) }, icon("close")),
  );
}
