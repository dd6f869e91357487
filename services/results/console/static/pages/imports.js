// The list of imports, live.

import { api } from "../core/api.js";
import { midnight, plural, time, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { bar } from "../parts/chart.js";
import { badge } from "../parts/marks.js";
import { emptyState, pageHead, shown } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";
import { hasEnded, liveImports, partsOf, progress, rowErrorsIn } from "../imports/live.js";
import { openUpload } from "../uploads/tray.js";

const FILTERS = ["file_name", "status", "dataset", "source", "from", "to"];
const STATUSES = ["pending", "processing", "completed", "failed", "cancelled"];

export function open(page) {
  const values = () => Object.fromEntries(FILTERS.map((name) => [name, page.query.get(name) ?? ""]));
  const asked = ({ from, to, ...same } = values()) => ({ ...same, uploaded_from: midnight(from, 0), uploaded_to: midnight(to, 1) });
  const { now, ready } = liveImports(page, told, () => list.load());
  let held = []; // new ones, while somebody's hand is over the list
  const list = page.list("/imports", () => ((held = []), asked()), ready);
  const datasets = page.load((signal) => api.get("/datasets", {}, { signal }));
  // What has come while the list was asked for may be in it.
  const news = () => held.filter(({ id }) => list.isFirst && !list.items.some((each) => each.id === id));

  function told(one) {
    const { file_name: name, uploaded_from: from, uploaded_to: to, ...same } = asked();
    const isAsked = Object.entries(same).every(([key, each]) => !each || one[key] === each) && one.file_name.toLowerCase().includes(name.toLowerCase()) && one.uploaded_at >= from && !(to && one.uploaded_at >= to);
    const { data, items, isFirst } = list;
    if (!data || !isFirst || !isAsked || [...held, ...items].some(({ id }) => id === one.id) || one.uploaded_at < items[0]?.uploaded_at) return;
    held.unshift({ ...one, rows_corrected: 0 });
    if (!list.busy && scrollY < 40 && !document.querySelector("main .table-frame:is(:hover, :focus-within)")) letIn();
  }

  function letIn() {
    list.data.items.unshift(...news());
    held = [];
    page.update();
  }

  function filter(changed) {
    page.setQuery(changed);
    list.restart();
  }

  const upload = page.may("imports:write") && h("button", { class: "primary", onclick: () => openUpload() }, "Upload a file");
  const columns = [
    { head: "File", grow: true, cell: ({ file_name: name, dataset, source }) => [h("span", { class: "clamp", title: name }, name), h("span", { class: "muted" }, [dataset, source].filter(Boolean).join(" · "))] },
    { head: "Status", cell: ({ status, dry_run, ...one }) => h("div", { class: "chips" }, badge(status, { kind: isLost(one) ? "warn" : null }), dry_run && badge("dry run")) },
    { head: "Records", grow: true, cell: (one) => (hasEnded(one) ? balance : progress)(one, datasets.data?.items) },
    { head: "Uploaded", minor: true, cell: ({ uploaded_at }) => time(uploaded_at) },
  ];

  function content({ items }) {
    if (items.length) return [dataTable({ caption: "Imports", columns, rows: items.map(now), link: ({ id }) => `/imports/${id}` }), pager(list, "imports")];
    const none = Object.fromEntries(FILTERS.map((name) => [name, ""]));
    if (FILTERS.some((name) => values()[name])) return emptyState({ title: "No import is like this", text: "Other filters may find it.", action: h("button", { onclick: () => filter(none) }, "Show all") });
    const templates = datasets.data?.items.map(({ name, title }) => h("a", { key: name, href: `/api/v1/datasets/${name}/template.csv`, download: true }, title));
    return emptyState({ title: "Drag a file here", text: "A CSV of any dialect, with its columns in any order. A template to begin with:", action: h("div", { class: "chips" }, templates) });
  }

  const select = (name, all) => ({ name, label: words(name), type: "select", options: [["", "Any"], ...all] });
  return {
    title: "Imports",
    view: () => [
      pageHead("Imports", { lead: "Files on their way into the records, and what became of them.", actions: [upload] }),
      h("div", { class: "tight" }, filterBar(
        [{ name: "file_name", label: "File name", type: "search" }, select("status", STATUSES.map((each) => [each, words(each)])), select("dataset", datasets.data?.items.map(({ name, title }) => [name, title]) ?? []), { name: "source", label: "Source" }, { name: "from", label: "From", type: "date" }, { name: "to", label: "To", type: "date" }],
        values(),
        filter,
      )),
      h("div", { role: "status" }, news().length > 0 && h("button", { onclick: letIn }, `Show ${plural(news().length, "new import")}`)),
      shown(list, content),
    ],
  };
}

/** Whether an import has come to its end with nothing but rejected records. */
const isLost = ({ rows_processed: read, rows_rejected: rejected }) => read > 0 && read === rejected;

function balance(one, datasets) {
  const errors = rowErrorsIn(one, datasets) - one.rows_corrected;
  return h("div", { class: "far" }, bar(partsOf(one), one.status === "completed" ? 0 : one.rows_detected), h("span", null, plural(one.rows_detected, "record"), errors > 0 && h("strong", null, ` · ${plural(errors, "row error")}`)));
}
