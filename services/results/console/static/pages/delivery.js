// One delivery: what it says, and each attempt to bring it.

import { api } from "../core/api.js";
import { moment, time } from "../core/format.js";
import { address } from "../core/router.js";
import { h } from "../core/vdom.js";
import { busyWhile } from "../parts/busy.js";
import { facts } from "../parts/marks.js";
import { pageHead, shown } from "../parts/notice.js";
import { retry } from "../webhooks/dialogs.js";
import { clip, exchange, isSoon, state } from "../webhooks/parts.js";

export function open(page) {
  const { id, delivery } = page.params;
  const path = `/webhooks/${encodeURIComponent(id)}`;
  const both = page.load((signal) => Promise.all([path, `${path}/deliveries/${encodeURIComponent(delivery)}`].map((each) => api.get(each, {}, { signal }))));
  const reload = () => both.load();
  page.every(2, () => both.data?.slice(1).some(isSoon) && both.refresh());

  const whole = ([endpoint, found]) => [
    h("section", { class: "card" }, facts([["Status", state(found)], ["webhook-id", found.webhook_id], ["Sequence", `${found.sequence}${found.test ? ", a test" : ""}`], ["Created", time(found.created_at, moment)], ["Ended", found.finished_at && time(found.finished_at, moment)]])),
    exchange(endpoint, found),
  ];
  const title = () => both.data?.[1].event_type ?? "Delivery";
  const view = () => [
    pageHead(title(), { up: [clip(both.data?.[0].url ?? "Webhook endpoint"), address(["webhooks", id])], actions: both.data && h("button", { onclick: busyWhile(() => retry(both.data[1], reload)) }, "Retry now") }),
    shown(both, whole),
  ];
  return { title, view };
}
