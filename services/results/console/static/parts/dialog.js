// Dialogs over the page. The browser keeps the focus inside, closes them with Escape and gives the focus back.

import { Loading } from "../core/loading.js";
import { h, render } from "../core/vdom.js";
import { icon } from "./icons.js";
import { fieldErrors } from "./form.js";
import { problemNotice, shown } from "./notice.js";
import { raiseToasts } from "./toast.js";

const open = new Set();
let number = 0;

/** Close all dialogs that may be left: their page is no longer there. */
export const closeDialogs = () => open.forEach((dialog) => dialog.closable && !dialog.busy && dialog.close());

/**
 * Open a dialog; resolves with what it was closed with, undefined where it was left. `build(dialog)` returns its view,
 * a function to nodes; `dialog` has `update()`, `close(result)` and `signal`, which aborts at its end; while its `busy` is
 * true it cannot be left, nor ever where it is not `closable`.
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
      busy: false,
      isOver: false,
      signal: ending.signal,
      update() {
        if (drawing || ending.signal.aborted) return;
        drawing = true;
        queueMicrotask(() => {
          drawing = false;
          if (!ending.signal.aborted) draw();
        });
      },
      focus() {
        (element.querySelector("[autofocus]") ?? element.querySelector(".dialog-body :is(input, select, textarea)") ?? element.querySelector(".dialog-foot button"))?.focus();
      },
      close(value) {
        dialog.isOver = true;
        result = value;
        element.close();
      },
    };
    const stays = () => !dialog.isOver && (!dialog.closable || dialog.busy);
    element.addEventListener("cancel", (event) => stays() && event.preventDefault());
    element.addEventListener("close", () => {
      if (stays()) return element.showModal(); // a browser lets itself be asked to stay only so often
      ending.abort();
      render(element);
      element.remove();
      open.delete(dialog);
      raiseToasts();
      resolve(result);
    });
    const view = build(dialog);
    const draw = () => {
      render(element, view());
      element.closedBy = stays() ? "none" : "closerequest";
    };
    document.documentElement.append(element);
    draw();
    element.showModal();
    open.add(dialog);
    raiseToasts();
    dialog.focus();
  });
}

/** A dialog's frame: title, body, and buttons below; with `onsubmit(form)` it is a form. */
export function dialogFrame(dialog, { title, body, actions = [], onsubmit = null }) {
  const parts = [
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: dialog.id }, title),
      dialog.closable && h("button", { type: "button", class: "quiet icon-only", "aria-label": "Close", disabled: dialog.busy, onclick: () => dialog.close() }, icon("close")),
    ),
    h("div", { class: "dialog-body" }, body),
    h("div", { class: "dialog-foot" }, actions),
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
 * nodes, or `body(errors, dialog, data)` to nodes, which show what is wrong with which field. `ready()`: whether it can be
 * done. `load(signal)`: what the body waits for, its `data`. `leave`: the button that leaves it; null: it must be answered.
 * `dialog.forget()` takes away what was wrong.
 */
export function confirm({ title, text = null, action, danger = false, typed = null, body = null, act = async () => {}, ready = () => true, load = null, leave = "Cancel", wide = false }) {
  return openDialog((dialog) => {
    let problem = null;
    let word = "";
    let isAtFields = false;
    dialog.forget = () => (problem = null);
    const loadAndFocus = async (signal) => {
      const data = await load(signal);
      setTimeout(() => signal.aborted || dialog.focus()); // its first field, once it is drawn
      return data;
    };
    const loading = load && new Loading(loadAndFocus, dialog);
    loading?.load();
    const isReady = () => !dialog.busy && (!loading || loading.data !== null) && (typed === null || word === typed) && ready();
    const onsubmit = async (form) => {
      if (!isReady()) return;
      [dialog.busy, problem] = [true, null];
      dialog.update();
      try {
        const done = await act(form);
        if (done !== false) return dialog.close(done ?? true);
      } catch (error) {
        problem = error;
        isAtFields = Object.keys(fieldErrors(error)).some((name) => form.elements.namedItem(name));
      }
      dialog.busy = false;
      dialog.update();
      queueMicrotask(() => (form.querySelector("[aria-invalid]") ?? form.querySelector(".dialog-foot button:last-child")).focus());
    };
    return () => {
      const errors = typeof body === "function" ? fieldErrors(problem) : {};
      return dialogFrame(dialog, {
        title,
        onsubmit,
        body: [
          problem && !isAtFields && problemNotice(problem),
          text && h("p", null, text),
          loading ? shown(loading, (data) => body(errors, dialog, data), 4) : typeof body === "function" ? body(errors, dialog) : body,
          typed !== null && h(
            "div",
            { class: "field" },
            h("label", { for: "typed" }, "Type ", h("strong", null, typed), " to confirm"),
            h("input", { id: "typed", autocomplete: "off", spellcheck: "false", oninput: (event) => ((word = event.target.value), dialog.update()) }),
          ),
        ],
        actions: [
          leave && h("button", { type: "button", disabled: dialog.busy, onclick: () => dialog.close() }, leave),
          h("button", { class: danger ? "danger" : "primary", disabled: !isReady() }, dialog.busy ? "One moment …" : typeof action === "function" ? action() : action),
        ],
      });
    };
  }, { wide, closable: leave !== null });
}
