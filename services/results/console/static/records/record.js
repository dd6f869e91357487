// One record in a dialog: all of it, where it came from, and its form where it may be edited.

import { h } from "../core/vdom.js";
import { api } from "../core/api.js";
import { moment, NONE, time, words } from "../core/format.js";
import { confirm, dialogFrame, openDialog } from "../parts/dialog.js";
import { checkbox, field, fieldErrors } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { code, facts } from "../parts/marks.js";
import { notice } from "../parts/notice.js";
import { say } from "../parts/toast.js";

const NOTHING_DONE = ["processor_unavailable", "edits_busy", "records_busy"];

export const isNumber = (type) => ["integer", "number", "year"].includes(type);
export const isEdited = (column) => column.inFile !== false || column.default !== undefined;
export const nameOf = (dataset, record) => dataset.primaryKey.map((name) => record[name]).join(" · ");
export const pathOf = (...segments) => ["/records", ...segments.map(encodeURIComponent)].join("/");
const textOf = (value) => String(value ?? "").replaceAll("\r\n", "\n");

/** A value as people read it. */
export function shownValue(type, value) {
  if (value === null || value === undefined) return NONE;
  if (type === "datetime") return time(value, moment);
  return type === "boolean" ? (value ? "Yes" : "No") : String(value);
}

/** What an edit gives; its Problem says so where it may have been done nevertheless. */
export const edited = (edit) =>
  edit.catch((problem) => {
    if (problem.isAway && !NOTHING_DONE.includes(problem.code)) problem.hint = "It may have been done, or may not. Try again: nothing is done twice.";
    throw problem;
  });

/** Open the record `id`, or a new one. `changed(record)` is told what it has become; null: it is gone. Throws a Problem. */
export async function openRecord({ page, dataset, id, editing, changed }) {
  const path = pathOf(dataset.name, ...(id === null ? [] : [id]));
  const columns = dataset.fields.filter(isEdited);
  const noun = dataset.noun.replaceAll("-", " ");
  let base = id === null ? null : await read(path); // {record, etag} that the form began with
  if (page.signal.aborted) return null;
  let now = null; // what somebody else has made of it meanwhile
  let conflict = null; // the Problem that told
  let raw = null;
  let open = null;
  page.signal.addEventListener("abort", () => open.close());
  if (base?.record.row_number && page.may("imports:read")) rawRow(base.record).then((text) => ((raw = text), open.update()), () => {});

  async function save(form) {
    const values = columns.map((column) => [column.name, entered(form, column)]);
    const body = Object.fromEntries(values.filter(([name, value]) => textOf(value) !== textOf(base?.record[name])));
    if (base && !Object.keys(body).length) return base.record;
    try {
      return await edited(base ? api.patch(path, body, { headers: { "If-Match": (now ?? base).etag } }) : api.post(path, body));
    } catch (error) {
      if (error.status !== 412 && error.code !== "record_exists") throw error;
      const there = await read(pathOf(dataset.name, error.document.id ?? id));
      // A try before has done it, and its answer was lost.
      if (Object.entries(body).every(([name, value]) => textOf(value) === textOf(there.record[name]))) return there.record;
      if (base) {
        [now, conflict] = [there, error];
        error.errors = columns.filter(({ name }) => textOf(now.record[name]) !== textOf(base.record[name])).map(({ name }) => ({ field: name, message: `Now: ${textOf(now.record[name]) || NONE}` }));
      } else error.errors = [{ field: dataset.primaryKey[0], message: error.message }];
      throw error;
    }
  }

  function take() {
    [base, now, conflict.errors, conflict.hint] = [now, null, [], "The new values are in the form."];
    changed(base.record);
    open.update();
  }

  async function remove() {
    const gone = (error) => error.status === 404 || Promise.reject(error);
    const act = () => edited(api.delete(path, { headers: { "If-Match": base.etag } })).catch(gone);
    if (!(await confirm({ title: `Delete ${noun} ${nameOf(dataset, base.record)}?`, text: "It is gone for good. Its import and receipt stay.", action: "Delete", danger: true, act }))) return;
    changed(null);
    say(`${words(noun)} deleted`);
    open.close();
  }

  function body(found, dialog) {
    open = dialog;
    const errors = { ...fieldErrors(now && conflict), ...found };
    return [
      now && notice("warn", `Somebody has changed this ${noun} meanwhile`, "What is new stands below its field.", h("button", { type: "button", onclick: take }, "Take the new")),
      editing ? columns.map((column) => control(column, base?.record, dataset, errors[column.name])) : facts(dataset.fields.map(({ name, title, type }) => [title, shownValue(type, base.record[name])])),
      base && origin(base.record),
      raw && [h("h3", null, "The record as it came"), code(raw, "The record as it came")],
      base && editing && h("div", null, h("button", { type: "button", onclick: remove }, icon("bin"), `Delete this ${noun} …`)),
    ];
  }

  if (!editing) return openDialog((dialog) => () => dialogFrame(dialog, { title: words(noun), body: body({}, dialog) }));
  const record = await confirm({ title: `${base ? "Edit" : "New"} ${noun}`, body, act: save, action: () => (now ? "Save mine" : "Save") });
  if (!record) return null;
  changed(record);
  return say(`${words(noun)} saved`);
}

async function read(path) {
  const response = await api.get(path, {}, { raw: true });
  return { etag: response.headers.get("ETag"), record: await response.json() };
}

function origin({ import_id: from, row_number: row, created_at: created, updated_at: updated }) {
  const link = from ? h("a", { href: `/imports/${from}?row=${row}` }, `Record ${row} of a file`) : "An edit";
  return facts([["Came from", link], ["Created", time(created, moment)], ["Updated", time(updated, moment)]]);
}

function control({ name, type, title, description, constraints, default: usual }, record, dataset, error) {
  const value = record ? record[name] : usual;
  const isKey = !!record && dataset.primaryKey.includes(name);
  const about = { name, id: `record-${name}`, label: title, hint: isKey ? "It is the key, and stays." : description, error };
  if (type === "boolean") return checkbox({ ...about, hint: error ?? description, checked: value === true });
  const isLong = constraints.maxLength > 1000 || textOf(value).includes("\n");
  return field({ ...about, value: textOf(value), type: isLong ? "textarea" : "text", readonly: isKey, optional: !constraints.required, inputmode: isNumber(type) ? "decimal" : null });
}

function entered(form, { name, type }) {
  const { checked, value } = form.elements.namedItem(name);
  if (type === "boolean") return checked;
  const text = value.trim();
  return type !== "number" && isNumber(type) && /^-?\d{1,15}$/.test(text) ? Number(text) : text || null;
}

async function rawRow({ import_id: from, row_number: row }) {
  const response = await api.get(`/imports/${from}/rows/${row}/raw`, {}, { raw: true });
  const charset = response.headers.get("Content-Type").split("charset=")[1];
  return new TextDecoder(charset.replace("16-", "16").replace("latin-", "latin")).decode(await response.arrayBuffer());
}
