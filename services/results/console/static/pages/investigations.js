// The queue of investigations: filtered, selected, decided about.

import { midnight, number, plural, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { pageHead } from "../parts/notice.js";
import { decisions } from "../investigations/decisions.js";
import { choice, date, filtered, investigations, loaded, queueAt, sections } from "../investigations/kit.js";

const ORDERS = [["", "Newest first"], ["-last_seen", "Last error"], ["-count", "Most errors"], ["-severity", "Severity"]];
const MORE = [...["supplier", "reason", "stage"].map((name) => ({ name, label: words(name) })), date("since", "Last error since"), date("until", "Last error before"), { name: "import_id", label: "Import" }];

export function open(page) {
  const selected = new Set();
  let unseen = 0;
  const counts = loaded(page, "/investigations/counts");
  const states = () => Object.entries(counts.data?.states ?? {}).map(([state, count]) => [state, `${words(state)} (${number(count)})`]);

  const box = (rows, label = null) => {
    const onchange = ({ target }) => {
      for (const { id } of rows) selected[target.checked ? "add" : "delete"](id);
      page.update();
    };
    return h("input", { type: "checkbox", class: "pick", "aria-label": label, checked: rows.every(({ id }) => selected.has(id)), onchange });
  };
  const queue = filtered(page, "/investigations", {
    noun: "investigations",
    filters: () => [{ name: "text", label: "Search", type: "search", placeholder: "In the summary" }, choice("state", [["", "To do"], ...states(), "all"]), choice("severity", [["", "Any"], "critical", "error", "warning", "info"]), choice("order", ORDERS)],
    more: MORE,
    query: ({ state, order, since, until }) => ({ state: state === "all" ? "" : state || "open,reopened", order: order || "-opened_at", since: midnight(since), until: midnight(until) }),
    table: (rows) => (page.may("investigations:write") ? [h("label", { class: "row all" }, box(rows), "Select all on this page"), investigations(rows, [{ head: h("span", { class: "hidden" }, "Select"), cell: (row) => box([row], `Select ${row.summary.slice(0, 90)}`) }])] : investigations(rows)),
    none: { title: "Nothing to do", text: "No error waits for anybody. Imports report theirs here; pipelines do so with penstock log-event.", action: h("a", { class: "button", href: queueAt({ state: "all" }) }, "Show all investigations") },
  });
  const reload = () => {
    unseen = 0;
    selected.clear();
    return Promise.all([queue.load(), counts.load()]);
  };

  // Nothing moves below a hand: rows in use stay where they are, and what is new waits.
  page.every(15, async () => {
    const { data, isUnderWay } = queue;
    const fresh = data && !isUnderWay && (await queue.askPage(page.signal).catch(() => null));
    if (!fresh || queue.busy || queue.data !== data) return;
    const found = new Map(fresh.items.map((each) => [each.id, each]));
    const isHeld = selected.size || document.querySelector("table:is(:hover, :focus-within)");
    unseen = isHeld ? fresh.items.filter(({ id }) => !data.items.some((each) => each.id === id)).length : 0;
    queue.data = isHeld ? { ...data, items: data.items.map((each) => found.get(each.id) ?? each) } : fresh;
    counts.refresh();
  });

  const view = () => {
    const rows = queue.items.filter(({ id }) => selected.has(id));
    return [
      pageHead("Queue", { lead: "Errors that belong together are one investigation.", actions: unseen > 0 && h("button", { onclick: reload }, `Show ${number(unseen)} new`) }),
      sections(),
      queue.view(),
      rows.length > 0 && h("section", { class: "card row bulk", "aria-label": "With those selected" }, h("strong", { role: "status" }, `${plural(rows.length, "investigation")} selected`), decisions(rows, reload)),
    ];
  };
  return { title: "Queue", view };
}
