// Fields of forms, each with its label, its hint and what the API says is wrong with it.

import { h } from "../core/vdom.js";

/**
 * A labelled field. `type`: of an input, or "select" (with `options`: `[value, label]`) or "textarea". `error`: what is
 * wrong with it. Everything else is an attribute. Its text is kept as typed unless `value` changes.
 */
export function field({ name, label, type = "text", hint = null, error = null, options = [], value, optional = false, id = name, ...more }) {
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  const props = { id, name, "aria-describedby": described || null, "aria-invalid": error ? "true" : null, ...more };
  return h(
    "div",
    { class: "field", key: `field-${id}` },
    h("label", { for: id }, label, optional && h("span", { class: "muted" }, " (optional)")),
    control(type, props, value, options),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    error && h("p", { class: "error", id: `${id}-error` }, error),
  );
}

function control(type, props, value, options) {
  if (type === "textarea") return h("textarea", { rows: 4, ...props, value });
  if (type !== "select") return h("input", { type, ...props, value });
  const chosen = [value ?? []].flat().map(String);
  return h("select", props, options.map(([each, label]) => h("option", { key: each, value: each, selected: chosen.includes(String(each)) }, label)));
}

/** A checkbox with its label beside it, and a hint. */
export function checkbox({ name, label, hint = null, id = name, ...more }) {
  return h(
    "div",
    { class: "checkbox", key: `field-${id}` },
    h("input", { type: "checkbox", id, name, "aria-describedby": hint ? `${id}-hint` : null, ...more }),
    h("label", { for: id }, label),
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
  );
}

/** An on/off switch; `onchange(on)`. */
export function toggle({ label, on, onchange, disabled = false }) {
  return h("input", { type: "checkbox", role: "switch", class: "switch", "aria-label": label, title: label, checked: on, disabled, onchange: (event) => onchange(event.target.checked) });
}

/** A form's fields by name, as text without blanks around; of a select with `multiple`, and of several checkboxes, an array. */
export function valuesOf(form) {
  const data = new FormData(form);
  return Object.fromEntries([...new Set(data.keys())].map((name) => {
    const element = form.elements[name];
    const text = (value) => (typeof value === "string" ? value.trim() : value);
    return [name, element?.multiple || element?.[0]?.type === "checkbox" ? data.getAll(name).map(text) : text(data.get(name))];
  }));
}

/** What a Problem says of each field, by the field's name; what is of no field stays in the problem's own message. */
export function fieldErrors(problem) {
  const found = {};
  const [, named, said] = /^`(\w+)`: (.*)/s.exec(problem?.message ?? "") ?? [];
  if (named) found[named] = [said, problem.hint].filter(Boolean).join(". ");
  for (const error of problem?.errors ?? []) {
    const path = error.field ?? error.column ?? error.location ?? error.loc ?? "";
    const name = (Array.isArray(path) ? path.at(-1) : String(path).split(".").at(-1)) ?? "";
    const text = error.message ?? error.detail ?? error.msg ?? "";
    found[name] = found[name] ? `${found[name]}; ${text}` : [text, error.hint].filter(Boolean).join(": ");
  }
  return found;
}

/** What of `values` is not as in `given`; an array is a set. */
export const differing = (values, given) => Object.fromEntries(Object.entries(values).filter(([name, value]) => comparable(value) !== comparable(given[name])));

const comparable = (value) => JSON.stringify(Array.isArray(value) ? value.toSorted() : (value ?? null));

/** Call `act` once nothing has called for `ms`, for what follows typing. */
export function debounced(act, ms = 250) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), ms);
  };
}
