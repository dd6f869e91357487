// What the pages of investigations, suppliers and jobs are made of.

import { api } from "../core/api.js";
import { calendarDay, number, time, words } from "../core/format.js";
import { address } from "../core/router.js";
import { h } from "../core/vdom.js";
import { field } from "../parts/form.js";
import { badge, facts } from "../parts/marks.js";
import { emptyState, shown, tabs } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";

const KINDS = { open: "quiet", passed: "good", good: "good", warn: "warn", fail: "bad" };
const LABELS = { count: "Errors", last_good_day: "Last good file", expected_day: "Next expected", bucket: "Cadence", path: "File", rows: "Records" };

export const sections = () => tabs("Investigations", [["Morning", "/investigations"], ["Queue", "/investigations/queue"], ["Suppliers", "/suppliers"], ["Jobs", "/jobs"]]);
export const queueAt = (query) => address(["investigations", "queue"], query);
export const investigation = (id, text) => (id ? h("a", { href: address(["investigations", id]) }, text) : text);
export const supplier = (id, name) => (id === null ? "no supplier" : h("a", { href: address(["suppliers", id]) }, name || id));
export const daysAfter = (day, days) => new Date(Date.parse(day) + days * 86_400_000).toISOString().slice(0, 10);
export const daysOf = async (days, signal) => (await api.get("/investigations/trend", { days }, { signal })).items.map(({ day }) => day);
export const loaded = (page, path, query) => page.load((signal) => api.get(path, query, { signal }));
export const section = (title, ...content) => h("section", { class: "card" }, title && h("h2", null, title), content);
export const list = (rows) => h("ul", { class: "plain" }, rows.map((row, index) => h("li", { key: row?.key ?? index }, row)));
export const note = (errors) => field({ name: "note", label: "Note", optional: true, maxlength: 2000, error: errors.note });
export const date = (name, label) => ({ name, label, type: "date" });
export const choice = (name, options, label = words(name)) => ({ name, label, type: "select", options: options.map((each) => (Array.isArray(each) ? each : [each, words(each)])) });

/** A value as its name says to show it; without a name by its kind alone. */
export function show(name, value) {
  if (value === null || value === undefined || value === "") return null;
  if (/^(state|status|severity|bucket)$/.test(name)) return badge(value, { kind: KINDS[value] });
  if (/_(at|seen)$/.test(name)) return time(value);
  if (/^(.*_)?(day|date)$/.test(name)) return h("span", { class: "nowrap" }, calendarDay(value));
  if (name === "supplier") return supplier(value);
  if (name === "import_id") return h("a", { href: address(["imports", value]) }, "Open");
  if (name === "reason") return words(value);
  if (typeof value === "number") return number(value);
  if (typeof value !== "object" && !/\n|.{80}/.test(value)) return String(value);
  return h("pre", { tabindex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
}

const label = (name) => LABELS[name] ?? words(name).replace(/ at$/, "");

export const factsOf = (found, names) => facts(names.split(" ").map((name) => [label(name), show(name, found[name])]));

/** What others have put together: nothing is known of what its names mean. */
export const plainFacts = (found) => facts(Object.entries(found).map(([name, value]) => [name, show("", value)]));

/** Columns by the names of members; a phone shows the first `major` of them. */
export const columnsOf = (names, major = 9) =>
  names.split(" ").map((name, index) => ({ head: label(name), num: /^(count|rows|rejected|errors|files)$/.test(name), minor: index >= major, cell: (row) => show(name, row[name]) }));

const INVESTIGATIONS = [
  {
    head: "Investigation",
    grow: true,
    cell: ({ id, summary, supplier: whose, stage, reason }) => [
      h("a", { href: address(["investigations", id]), class: "row-link clamp", title: summary }, summary || words(reason)),
      h("div", { class: "muted clamp" }, [whose, stage, words(reason)].filter(Boolean).join(" · ")),
    ],
  },
  ...columnsOf("count severity last_seen first_seen state", 3),
];

/** A table of investigations; `before`: columns at its left. */
export const investigations = (rows, before = []) => dataTable({ caption: "Investigations", rows, columns: [...before, ...INVESTIGATIONS], rowClass: () => "linked" });

/** A list with its filters in the address; `more` are put away at first. `none`: said where there is nothing at all. */
export function filtered(page, path, { filters, more = [], query = () => null, table, noun, none }) {
  const fields = () => [...filters(), ...more];
  const given = () => Object.fromEntries(fields().map(({ name }) => [name, page.query.get(name) ?? ""]));
  const listing = page.list(path, async () => ({ limit: 50, ...given(), ...(await query(given())) }));
  const change = (values) => (page.setQuery(values), listing.restart());
  const clear = () => change(Object.fromEntries(fields().map(({ name }) => [name, ""])));
  const isUsed = (some) => some.some(({ name }) => given()[name]);
  const empty = () => emptyState(isUsed(fields()) ? { title: `No ${noun} match these filters`, action: h("button", { onclick: clear }, "Clear filters") } : none);
  let isOpen = isUsed(more);
  const opener = h("button", { class: "quiet", onclick: () => ((isOpen = true), page.update()) }, "More filters");
  listing.view = () => [
    filterBar(isOpen ? fields() : filters(), given(), change, more.length > 0 && !isOpen && opener),
    shown(listing, ({ items }) => (items.length ? [table(items), pager(listing, noun)] : empty())),
  ];
  return listing;
}
