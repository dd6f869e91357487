// One webhook endpoint: how it does, and what it was sent.

import { api } from "../core/api.js";
import { moment, time } from "../core/format.js";
import { address, navigate } from "../core/router.js";
import { h } from "../core/vdom.js";
import { busyWhile } from "../parts/busy.js";
import { confirm } from "../parts/dialog.js";
import { icon } from "../parts/icons.js";
import { facts } from "../parts/marks.js";
import { emptyState, pageHead, shown } from "../parts/notice.js";
import { dataTable, filterBar, pager } from "../parts/table.js";
import { asMoment, choices, editWebhook, options, replay, retry, sendTest, showSecret } from "../webhooks/dialogs.js";
import { answer, clip, isSoon, named, onOff, small, standing, state } from "../webhooks/parts.js";

export function open(page) {
  const path = `/webhooks/${encodeURIComponent(page.params.id)}`;
  const filters = () => Object.fromEntries(page.query);
  const endpoint = page.load((signal) => api.get(path, {}, { signal }));
  const list = page.list(`${path}/deliveries`, () => ({ ...filters(), since: asMoment(page.query.get("since")), until: asMoment(page.query.get("until")), total: "estimate" }));
  const offered = page.load(choices);
  const reload = () => [endpoint, list].forEach((each) => each.load());
  const refresh = () => [endpoint, list].forEach((each) => each.refresh());
  page.every(2, () => list.items.some(isSoon) && refresh());
  page.every(5, refresh);

  const remove = async () => {
    const text = "Its deliveries go with it, and what is pending is never sent.";
    if (await confirm({ title: "Delete this webhook endpoint?", text, action: "Delete", danger: true, act: () => api.delete(path) })) navigate("/webhooks");
  };
  const button = (label, act, props) => h("button", { onclick: busyWhile(() => act(endpoint.data).finally(reload)), ...props }, label);
  const columns = [
    { head: "Event type", cell: ({ event_type, sequence, test }) => [event_type, small(`#${sequence}${test ? ", a test" : ""}`)] },
    { head: "Status", cell: state },
    { head: "Last answer", minor: true, cell: ({ last_attempt }) => answer(last_attempt) },
    { head: "Attempts", num: true, minor: true, cell: ({ attempts_made }) => attempts_made },
    { head: "Created", minor: true, sort: "asc", cell: ({ created_at }) => time(created_at) },
    { head: h("span", { class: "hidden" }, "Retry"), minor: true, cell: (delivery) => delivery.status !== "succeeded" && h("button", { class: "link", "aria-label": `Retry #${delivery.sequence}`, onclick: busyWhile(() => retry(delivery, reload)) }, "Retry") },
  ];
  const filter = (change) => (page.setQuery(change), list.restart());
  const deliveries = ({ items }) =>
    items.length
      ? [dataTable({ caption: "Deliveries", columns, rows: items, order: page.query.get("order") ?? "-asc", onOrder: (order) => filter({ order: order === "asc" ? order : "" }), link: ({ id }) => address(["webhooks", page.params.id, "deliveries", id]) }), pager(list, "deliveries")]
      : emptyState(page.query.size ? { title: "No delivery is like that", text: "Take a filter away to see others." } : { title: "Nothing was sent yet", text: "Send a test, or wait for something to happen." });
  const whole = (data) =>
    h("section", { class: "card" }, facts([["Health", standing(data)], ["Event types", named(data.event_types)], ["Datasets", data.datasets?.join(", ") ?? "All"], ["Headers", Object.keys(data.headers).join(", ")], ["Attempts a second", data.rate_limit], ["Created", time(data.created_at, moment)]]));
  const fields = () => [
    { name: "status", label: "Status", type: "select", options: options(["", "undelivered", "succeeded", "pending", "failed", "skipped"]) },
    { name: "event_type", label: "Event type", type: "select", options: options(["", "webhook.test", ...(offered.data?.types ?? [])]) },
    { name: "since", label: "Since", type: "datetime-local" },
    { name: "until", label: "Until", type: "datetime-local" },
  ];
  const actions = (data) => [
    onOff(data, page.update),
    button("Send a test", sendTest, { class: "primary" }),
    button("Replay", (each) => replay(each, page.query.get("since"))),
    button("Secret", (each) => showSecret(each)),
    button("Edit", editWebhook),
    h("button", { class: "quiet icon-only", title: "Delete", "aria-label": "Delete", onclick: remove }, icon("bin")),
  ];
  const title = () => endpoint.data?.url ?? "Webhook endpoint";
  const view = () => [
    pageHead(clip(title()), { up: ["Webhooks", "/webhooks"], lead: clip(endpoint.data?.description), actions: endpoint.data && actions(endpoint.data) }),
    shown(endpoint, whole),
    endpoint.data && [h("h2", null, "Deliveries"), filterBar(fields(), filters(), filter), shown(list, deliveries)],
  ];
  return { title, view };
}
