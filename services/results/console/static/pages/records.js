// The records of a dataset: found, looked at, and edited where the dataset lets them be.

import { h } from "../core/vdom.js";
import { api, urlOf } from "../core/api.js";
import { moment, plural, time, words } from "../core/format.js";
import { busyWhile } from "../parts/busy.js";
import { confirm } from "../parts/dialog.js";
import { toggle } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { emptyState, pageHead, shown } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";
import { say, sayProblem } from "../parts/toast.js";
import { filters } from "../records/filters.js";
import { edited, isEdited, isNumber, nameOf, openRecord, pathOf, shownValue } from "../records/record.js";

const COUNTED = 10_000; // beyond, the API estimates
const NO_FILTERS = ["sort", "record", "hide"];

export function open(page) {
  const { dataset: name } = page.params;
  const path = pathOf(name);
  const given = () => [...page.query].filter(([each]) => !NO_FILTERS.includes(each));
  const asked = () => ({ ...Object.fromEntries(given()), sort: page.query.get("sort") });
  const listing = page.list(path, () => ({ ...asked(), total: "estimate" }));
  const about = page.load(async (signal) => {
    const dataset = await api.get(`/datasets/${encodeURIComponent(name)}`, {}, { signal });
    if (page.query.has("record")) openOne(dataset, page.query.get("record"));
    return dataset;
  });
  const change = (values) => {
    page.setQuery(values);
    listing.restart();
  };
  const filterParts = filters(page, change);
  const editing = (dataset) => dataset.editable && page.may("records:write");

  let isOpen = false;
  async function openOne(dataset, id) {
    if (isOpen) return;
    isOpen = true;
    page.setQuery({ record: id });
    await openRecord({ page, dataset, id, editing: editing(dataset), changed: (record) => put(id, record) }).catch(sayProblem);
    isOpen = false;
    page.setQuery({ record: "" });
  }

  /** Show what has become of a record. */
  function put(id, record) {
    const place = listing.items.findIndex((each) => each.id === id);
    if (place >= 0 && record) listing.items[place] = record;
    else listing.load();
    page.update();
  }

  async function flip(record, change) {
    put(record.id, { ...record, ...change });
    try {
      put(record.id, await edited(api.patch(pathOf(name, record.id), change)));
    } catch (problem) {
      sayProblem(problem);
      listing.load();
    }
  }

  async function deleteAll(title) {
    const load = (signal) => api.get(path, { limit: 1, total: "exact" }, { signal }).catch(() => ({}));
    const body = (errors, dialog, { total }) => h("p", null, `${total === undefined ? "All records" : plural(total, "record")} will be gone for good, whatever the filters show. Imports and receipts stay.`);
    const act = async () => {
      const { deleted } = await edited(api.delete(path, { query: { confirm: name } }));
      say(`${plural(deleted, "record")} deleted`);
    };
    if (await confirm({ title: `Delete all ${title}?`, load, body, typed: name, danger: true, action: "Delete all", act })) listing.restart();
  }

  function cell(dataset, column, record) {
    const { name: field, title, type } = column;
    const value = record[field];
    if (type === "boolean" && editing(dataset) && isEdited(column)) return toggle({ label: `${title}: ${nameOf(dataset, record)}`, on: value, onchange: (on) => flip(record, { [field]: on }) });
    const text = h("div", { class: "clamp", title: type === "string" ? value : null }, shownValue(type, value));
    if (column !== dataset.fields[0]) return text;
    const onclick = (event) => {
      if (event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      openOne(dataset, record.id);
    };
    return h("a", { class: "row-link", href: `?${new URLSearchParams([...page.query, ["record", record.id]])}`, onclick }, text);
  }

  function table(dataset) {
    const order = page.query.get("sort") ?? (dataset.newestBy ? `-${dataset.newestBy}` : dataset.primaryKey[0]);
    const hidden = page.query.getAll("hide");
    const columns = [
      ...dataset.fields.filter((column) => !hidden.includes(column.name)).map((column) => ({ head: column.title, sort: column.name, num: isNumber(column.type), cell: (record) => cell(dataset, column, record) })),
      { head: "From", cell: ({ import_id: from, row_number: row }) => (from ? h("a", { class: "nowrap", href: `/imports/${from}?row=${row}` }, `Record ${row}`) : "An edit") },
      { head: "Updated", sort: "updated_at", cell: (record) => time(record.updated_at, moment) },
    ];
    return h("div", { class: "records" }, dataTable({ caption: dataset.title, columns, rows: listing.items, order, onOrder: (sort) => change({ sort }) }));
  }

  function chooser({ fields }) {
    const hidden = page.query.getAll("hide");
    const box = ({ name: field, title }) => {
      const onchange = ({ target }) => page.setQuery({ hide: target.checked ? hidden.filter((each) => each !== field) : [...hidden, field] });
      return h("label", { key: field, class: "row" }, h("input", { type: "checkbox", checked: !hidden.includes(field), onchange }), title);
    };
    return h("details", { class: "menu" }, h("summary", { class: "button" }, "Columns"), h("div", { class: "card" }, fields.slice(1).map(box)));
  }

  function empty(title) {
    const none = Object.fromEntries(given().map(([each]) => [each, ""]));
    if (given().length) return emptyState({ title: `No ${title} fit these filters`, action: h("button", { onclick: () => change(none) }, "Take the filters out") });
    return emptyState({ title: `No ${title} yet`, text: "They come with files.", action: h("a", { class: "button", href: "/imports" }, "Import a file") });
  }

  function content(dataset) {
    const title = dataset.title.toLowerCase();
    const file = (format) => h("a", { class: "button", download: true, href: urlOf(`${path}.${format}`, asked()), title: "All that the filters show" }, icon("download"), format.toUpperCase());
    const { button, form, chips } = filterParts(dataset, given().filter(([each]) => each !== "search"));
    const search = { name: "search", label: "Search", type: "search", placeholder: dataset.fields.filter((column) => dataset.search?.includes(column.name)).map((column) => column.title).join(", ") };
    return [
      pageHead(dataset.title, {
        up: ["Records", "/records"],
        lead: dataset.description,
        actions: [
          file("csv"),
          file("ndjson"),
          editing(dataset) && [h("button", { onclick: busyWhile(() => deleteAll(title)) }, icon("bin"), "Delete all …"), h("button", { class: "primary", onclick: () => openOne(dataset, null) }, icon("plus"), `New ${dataset.noun.replaceAll("-", " ")}`)],
        ],
      }),
      filterBar(dataset.search ? [search] : [], asked(), change, [button, dataset.fields.length > 5 && chooser(dataset)]),
      form,
      chips,
      shown(listing, ({ items, total }) => (items.length ? [table(dataset), pager(listing, title, total > COUNTED)] : empty(title)), 10),
    ];
  }

  return { title: () => about.data?.title ?? words(name), view: () => (about.data ? content(about.data) : [pageHead(words(name)), shown(about)]) };
}
