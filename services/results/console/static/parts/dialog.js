// Dialogs over the page. The browser keeps the focus inside, closes them with Escape and gives the focus back.

import { h, render } from "../core/vdom.js";
import { icon } from "./icons.js";
import { fieldErrors } from "./form.js";
import { problemNotice } from "./notice.js";

let number = 0;

/**
 * Open a dialog; resolves with what it was closed with, undefined where it was left. `build(dialog)` returns its view,
 * a function to nodes; `dialog` has `update()`, `close(result)` and `signal`, which aborts at its end.
 */
export function openDialog(build, { wide = false, closable = true } = {}) {
  return new Promise((resolve) => {
    const element = document.createElement("dialog");
    const ending = new AbortController();
    const id = `dialog-${(number += 1)}`;
    element.className = wide ? "wide" : "";
    element.setAttribute("aria-labelledby", id);
    let result;
    let drawing = false;
    const dialog = {
      id,
      closable,
      signal: ending.signal,
      update() {
        if (drawing || ending.signal.aborted) return;
        drawing = true;
        queueMicrotask(() => {
          drawing = false;
          if (!ending.signal.aborted) render(element, view());
        });
      },
      close(value) {
        result = value;
        element.close();
      },
    };
    element.addEventListener("cancel", (event) => closable || event.preventDefault());
    element.addEventListener("close", () => {
      ending.abort();
      render(element);
      element.remove();
      resolve(result);
    });
    const view = build(dialog);
    document.documentElement.append(element);
    render(element, view());
    element.showModal();
    (element.querySelector("[autofocus]") ?? element.querySelector(".dialog-body :is(input, select, textarea)") ?? element.querySelector("footer button"))?.focus();
  });
}

/** A dialog's frame: title, body, and buttons below; with `onsubmit(form)` it is a form. */
export function dialogFrame(dialog, { title, body, actions = [], onsubmit = null }) {
  const parts = [
    h(
      "header",
      null,
      h("h2", { id: dialog.id }, title),
      dialog.closable && h("button", { type: "button", class: "quiet icon-only", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, body),
    h("footer", null, actions),
  ];
  if (!onsubmit) return h("div", { class: "dialog-frame" }, parts);
  const submit = (event) => {
    event.preventDefault();
    onsubmit(event.target);
  };
  return h("form", { class: "dialog-frame", novalidate: true, onsubmit: submit }, parts);
}

/**
 * Ask before something is done; `act(form)` does it, and what it throws is shown in the dialog. Resolves with what it gave,
 * else true, once it is done; where it gives false the dialog stays. `typed`: a word to be typed first. `body`: further
 * nodes, or `body(errors, dialog)` to nodes, which show what is wrong with which field. `ready()`: whether it can be done.
 */
export function confirm({ title, text = null, action, danger = false, typed = null, body = null, act = async () => {}, ready = () => true, leave = "Cancel", wide = false }) {
  return openDialog((dialog) => {
    let busy = false;
    let problem = null;
    let word = "";
    let isAtFields = false;
    const isReady = () => !busy && (typed === null || word === typed) && ready();
    const onsubmit = async (form) => {
      if (!isReady()) return;
      [busy, problem] = [true, null];
      dialog.update();
      try {
        const done = await act(form);
        if (done !== false) return dialog.close(done ?? true);
      } catch (error) {
        problem = error;
        isAtFields = Object.keys(fieldErrors(error)).some((name) => form.elements.namedItem(name));
      }
      busy = false;
      dialog.update();
      queueMicrotask(() => form.querySelector("[aria-invalid]")?.focus());
    };
    return () => {
      const errors = typeof body === "function" ? fieldErrors(problem) : {};
      return dialogFrame(dialog, {
        title,
        onsubmit,
        body: [
          problem && !isAtFields && problemNotice(problem),
          text && h("p", null, text),
          typeof body === "function" ? body(errors, dialog) : body,
          typed !== null && h(
            "div",
            { class: "field" },
            h("label", { for: "typed" }, "Type ", h("strong", null, typed), " to confirm"),
            h("input", { id: "typed", autocomplete: "off", spellcheck: "false", oninput: (event) => ((word = event.target.value), dialog.update()) }),
          ),
        ],
        actions: [
          h("button", { type: "button", onclick: () => dialog.close() }, leave),
          h("button", { class: danger ? "danger" : "primary", disabled: !isReady() }, busy ? "One moment …" : typeof action === "function" ? action() : action),
        ],
      });
    };
  }, { wide });
}
