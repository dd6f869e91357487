// Words with a colour: how something stands. The word alone says all.

import { h } from "../core/vdom.js";
import { words } from "../core/format.js";
import { icon } from "./icons.js";
import { say } from "./toast.js";

const KINDS = {
  good: ["completed", "succeeded", "ok", "healthy", "active", "resolved"],
  busy: ["processing", "sending", "running", "acknowledged"],
  bad: ["failed", "dead", "unavailable", "critical", "error", "open", "failing"],
  warn: ["warning", "reopened"],
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, names]) => names.map((name) => [name, kind])));

/** A status as a word; `kind` (good, busy, bad, warn, quiet) unless its name says it. */
export function badge(status, { kind = null, label = null } = {}) {
  return h("span", { class: ["badge", kind ?? KIND_OF.get(status) ?? "quiet"] }, label ?? words(status));
}

/** A button that copies `text`. */
export function copyButton(text, label = "Copy") {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("The browser did not let this page copy", { kind: "bad", hint: "Select the text and copy it by hand." });
    }
  };
  return h("button", { type: "button", class: "quiet icon-only", title: label, "aria-label": label, onclick: copy }, icon("copy"));
}

/** Text as it is, in a frame that scrolls by itself. */
export function code(text, label) {
  return h("pre", { tabindex: 0, role: "region", "aria-label": label }, h("code", null, text));
}

/** Terms and what they are: `[term, node]`; those without a value are left out. */
export function facts(items) {
  return h(
    "dl",
    { class: "facts" },
    items
      .filter((item) => item && item[1] !== null && item[1] !== undefined && item[1] !== "")
      .map(([term, value]) => h("div", { key: term }, h("dt", null, term), h("dd", null, value))),
  );
}
