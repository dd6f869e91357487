// The row errors of an import: by cause, and one by one.

import { api } from "../core/api.js";
import { number, percent, plural, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { badge } from "../parts/marks.js";
import { emptyState, shown } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";
import { showRecord } from "./record.js";

const FILTERS = ["text", "code", "column", "status"];
const FEW = 6;

/** `busy`, `reload()` and `view(import)`. `?row=` in the address opens a record. */
export function rowErrors(page, id) {
  const values = () => Object.fromEntries(FILTERS.map((name) => [name, page.query.get(name) ?? ""]));
  const summary = page.load((signal) => api.get(`/imports/${id}/errors/summary`, {}, { signal }));
  const list = page.list(`/imports/${id}/errors`, () => ({ ...values(), total: "exact" }));
  let most = FEW;
  let opened = false;

  function filter(changed) {
    page.setQuery(changed);
    list.restart();
  }

  async function openRow(one, row) {
    if (opened) return;
    opened = true;
    await showRecord(one, row, list.items.filter((error) => error.row_number === row));
    opened = false;
    page.setQuery({ row: "" });
  }

  const columns = [
    { head: "Record", cell: ({ row_number: row }) => h("button", { class: "link row-link", "aria-label": `Record ${row}`, onclick: () => page.setQuery({ row: String(row) }) }, number(row)) },
    { head: "Column", cell: ({ column }) => h("span", { class: "nowrap" }, column) },
    { head: "What is wrong", grow: true, cell: ({ message }) => h("div", { class: "clamp", title: message }, message) },
    { head: "Value", minor: true, cell: ({ value }) => value && h("code", { class: "clamp", title: value }, value) },
    { head: "Status", minor: true, cell: ({ status }) => badge(status, { kind: status === "fixed" ? "good" : "quiet" }) },
  ];

  function cause({ code, column, count, share, examples, likely_cause: why, hint }) {
    const isChosen = values().code === code && values().column === (column ?? "");
    return h(
      "button",
      { key: `${code} ${column}`, class: "cause", "aria-pressed": String(isChosen), onclick: () => filter(isChosen ? { code: "", column: "" } : { code, column: column ?? "" }) },
      h("span", null, h("strong", null, number(count), " × ", words(code)), column && [" in ", h("code", null, column)], h("span", { class: "muted" }, ` · ${percent(share, 1)}`)),
      h("span", { class: "clamp" }, why),
      hint && h("span", { class: "muted" }, hint),
      h("span", { class: "chips" }, [...new Set(examples.map(({ value }) => value))].filter(Boolean).map((value) => h("code", { key: value, class: "clamp", title: value }, value))),
    );
  }

  const select = (name, all) => ({ name, label: words(name), type: "select", options: [["", "Any"], ...[...new Set(all)].filter(Boolean).map((each) => [each, name === "column" ? each : words(each)])] });
  return {
    get busy() {
      return summary.busy || list.busy;
    },
    reload: () => (summary.load(), list.load()),
    view(one) {
      const row = Number(page.query.get("row"));
      if (row && list.data && one.dialect) queueMicrotask(() => openRow(one, row));
      const groups = summary.data?.groups ?? [];
      if (!groups.length) return null;
      const causes = [
        h("h2", null, "Row errors by cause"),
        h("div", { class: "causes" }, groups.slice(0, most).map(cause)),
        groups.length > most && h("button", { onclick: () => ((most = Infinity), page.update()) }, `Show ${plural(groups.length - most, "more cause")}`),
      ];
      if (one.errors_removed_at) return causes;
      const none = Object.fromEntries(FILTERS.map((name) => [name, ""]));
      return [
        causes,
        h("h2", null, "Row errors"),
        filterBar([{ name: "text", label: "Text", type: "search", placeholder: "In value, message or record", maxlength: 200 }, select("code", groups.map(({ code }) => code)), select("column", groups.map(({ column }) => column)), select("status", ["open", "fixed"])], values(), filter),
        shown(list, ({ items }) =>
          items.length
            ? [dataTable({ caption: "Row errors", columns, rows: items, key: (error) => `${error.row_number} ${error.column} ${error.code}`, rowClass: () => "linked" }), pager(list, "row errors")]
            : emptyState({ title: "No row error is like this", action: h("button", { onclick: () => filter(none) }, "Show all") }),
        ),
      ];
    },
  };
}
