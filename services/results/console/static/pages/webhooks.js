// The webhook endpoints, and how they do.

import { address, navigate } from "../core/router.js";
import { h } from "../core/vdom.js";
import { busyWhile } from "../parts/busy.js";
import { emptyState, pageHead, shown } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";
import { choices, editWebhook, options, sendTest, showSecret } from "../webhooks/dialogs.js";
import { clip, named, onOff, small, standing } from "../webhooks/parts.js";

export function open(page) {
  const filters = () => Object.fromEntries(page.query);
  const list = page.list("/webhooks", filters);
  const offered = page.load(choices);
  page.every(5, () => list.refresh());

  const add = async () => {
    const made = await editWebhook();
    if (!made) return;
    if (await showSecret(made, true)) await sendTest(made);
    navigate(address(["webhooks", made.id]));
  };
  const button = page.may("webhooks:admin") && h("button", { class: "primary", onclick: busyWhile(add) }, "Add webhook endpoint");
  const columns = [
    { head: "Endpoint", grow: true, cell: ({ url, description }) => [clip(url), small(description)] },
    { head: "Event types", minor: true, cell: ({ event_types, datasets }) => [named(event_types), datasets && small("of ", datasets.join(", "))] },
    { head: "Health", cell: standing },
    { head: "On", cell: (endpoint) => onOff(endpoint, page.update) },
  ];
  const table = ({ items }) => {
    if (items.length) return [dataTable({ caption: "Webhook endpoints", columns, rows: items, link: ({ id }) => address(["webhooks", id]) }), pager(list, "webhook endpoints")];
    if (page.query.size) return emptyState({ title: "No webhook endpoint is like that", text: "Take a filter away to see others." });
    return emptyState({ title: "Nobody is told yet", text: "When an import ends, records change or an investigation opens, Penstock posts it to a URL of yours: signed, and again until it is taken.", action: button });
  };
  const fields = () => [
    { name: "q", label: "Search", type: "search", placeholder: "URL or description" },
    { name: "enabled", label: "State", type: "select", options: [["", "All"], ["true", "On"], ["false", "Off"]] },
    { name: "event_type", label: "Is sent", type: "select", options: options(["", ...(offered.data?.types ?? [])]) },
  ];
  const view = () => [
    pageHead("Webhooks", { lead: "Where other systems are told what happens here.", actions: [list.items.length > 0 && button] }),
    filterBar(fields(), filters(), (change) => (page.setQuery(change), list.restart())),
    shown(list, table),
  ];
  return { title: "Webhooks", view };
}
