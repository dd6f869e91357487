// Dialogs of webhooks: add and edit, secret, test, replay.

import { api } from "../core/api.js";
import { moment, plural, time } from "../core/format.js";
import { h } from "../core/vdom.js";
import { confirm } from "../parts/dialog.js";
import { checkbox, differing, field, valuesOf } from "../parts/form.js";
import { code, copyButton } from "../parts/marks.js";
import { say, sayProblem } from "../parts/toast.js";
import { exchange, named, pairs } from "./parts.js";

/** The datasets' names; the event types, each family behind its wildcard. */
export async function choices(signal) {
  const { items } = await api.get("/datasets", {}, { signal });
  const records = items.map(({ noun }) => [noun, "created", "updated", "deleted"]);
  const families = [["import", "completed", "failed", "cancelled"], ...records, ["investigation", "opened", "reopened", "resolved"], ["endpoint", "failing", "disabled"]];
  return { datasets: items.map(({ name }) => name), types: families.flatMap(([name, ...whats]) => ["*", ...whats].map((what) => `${name}.${what}`)) };
}

export const options = (values) => values.map((value) => [value, value || "All"]);
const asLocal = (time) => new Date(time).toLocaleString("sv").slice(0, 16).replace(" ", "T");
export const asMoment = (local) => local && new Date(local).toISOString();

const boxes = (name, legend, values, chosen, error) =>
  h("fieldset", null, h("legend", null, legend), h("div", { class: "boxes" }, [...new Set([...values, ...chosen])].map((value) => checkbox({ id: `${name}-${value}`, name, value, label: named([value]), checked: chosen.includes(value) }))), error && h("p", { class: "failure", role: "alert" }, error));

/** Resolves with the endpoint once it is saved; `given`: as it is, if it is there yet. */
export function editWebhook(given) {
  const { url, description, event_types = ["import.*"], headers = {}, rate_limit, signature } = given ?? {};
  const act = (form) => {
    const values = valuesOf(form);
    const named = Object.fromEntries(Object.keys(headers).map((name) => [name, null]));
    for (const line of values.headers.split("\n").filter(Boolean)) {
      const [name, ...value] = line.split(":");
      named[name.trim()] = value.join(":").trim();
    }
    const body = { ...values, description: values.description || null, event_types: values.event_types ?? [], datasets: values.datasets ?? null, headers: differing(named, headers), rate_limit: values.rate_limit ? Number(values.rate_limit) : null };
    if (!given) return api.post("/webhooks", body);
    const { headers: changed, ...rest } = body;
    return api.patch(given.links.self, { ...differing(rest, given), ...(Object.keys(changed).length && { headers: changed }) });
  };
  return confirm({
    title: given ? "Edit webhook endpoint" : "Add webhook endpoint",
    action: given ? "Save" : "Add",
    wide: true,
    load: choices,
    act,
    body: (errors, dialog, { types, datasets }) => {
      const text = (name, label, more) => field({ name, label, error: errors[name], ...more });
      return [
        text("url", "URL", { value: url, placeholder: "https://example.com/webhooks" }),
        text("description", "Description", { value: description, optional: true }),
        boxes("event_types", "Event types", ["*", ...types], event_types, errors.event_types && "Choose at least one."),
        boxes("datasets", "Only of these datasets (none: of all)", datasets, given?.datasets ?? [], errors.datasets),
        text("headers", "Headers, one a line", { type: "textarea", rows: 2, value: pairs(headers).join("\n"), placeholder: "Authorization: Bearer …", optional: true }),
        h(
          "div",
          { class: "two" },
          text("rate_limit", "Attempts a second, at most", { type: "number", value: rate_limit, optional: true }),
          text("signature", "Signed with", { type: "select", value: signature, options: [["hmac", "the secret"], ["ed25519", "the secret and a key pair"]] }),
        ),
      ];
    },
  });
}

const secretLine = (text) => h("div", { class: "row", key: text }, h("code", { class: "grow" }, text), copyButton(text));

/** Show the secret; of a new endpoint resolves with true where a test is wanted, of another lets it be rotated. */
export function showSecret({ links, public_key }, isNew) {
  let keys = null;
  let rotating = false;
  const act = async (form) => {
    if (isNew) return true;
    if (rotating) keys = await api.post(links.rotate_secret, { overlap_hours: Number(valuesOf(form).overlap_hours) });
    rotating = !rotating;
    return false;
  };
  return confirm({
    title: isNew ? "Webhook endpoint added" : "Signing secret",
    leave: "Close",
    action: () => (isNew ? "Send a test" : rotating ? "Rotate now" : "Rotate"),
    load: async (signal) => (keys = await api.get(links.secret, {}, { signal })),
    act,
    body: () => [
      secretLine(keys.secret),
      public_key && secretLine(public_key),
      keys.retired.map(({ expires_at }) => h("p", { key: expires_at }, "Deliveries are signed with a replaced one, too, until ", time(expires_at, moment))),
      h("p", null, "With it the receiver checks webhook-signature, the HMAC-SHA256 of webhook-id, webhook-timestamp and body (Standard Webhooks)."),
      code("from standardwebhooks.webhooks import Webhook\nWebhook(secret).verify(body, headers)", "Example"),
      rotating && field({ name: "overlap_hours", label: "Sign with the old one, too, for", type: "select", value: 24, options: [[0, "no longer"], [1, "1 hour"], [24, "1 day"], [168, "7 days"]] }),
    ],
  });
}

/** Send an example, and show what goes out and comes back. */
export function sendTest(endpoint) {
  let delivery = null;
  return confirm({
    title: "Send a test",
    leave: "Close",
    action: "Send",
    wide: true,
    load: choices,
    act: async (form) => {
      delivery = await api.post(endpoint.links.test, valuesOf(form));
      return false;
    },
    body: (errors, dialog, { types }) => [
      field({ name: "event_type", label: "Event type", type: "select", options: options(["webhook.test", ...types.filter((type) => !type.endsWith("*"))]), hint: "An example, sent once, even while the endpoint is off." }),
      h("div", { role: "status" }, delivery && exchange(endpoint, delivery)),
    ],
  });
}

/** Ask what to send again, with its count; resolves once it is on its way. */
export function replay({ links, health }, since) {
  let count = null;
  let last = null;
  const send = (form, dry_run) => {
    const { since, event_type, status } = valuesOf(form);
    return api.post(links.replay, { since: asMoment(since) || null, event_types: event_type ? [event_type] : null, status, dry_run });
  };
  return confirm({
    title: "Replay deliveries",
    text: "They are sent again at once and in order, each with the webhook-id it had.",
    action: () => `Send ${count ?? "…"} again`,
    ready: () => count > 0,
    load: choices,
    act: async (form) => say(`${plural((await send(form)).count, "delivery is", "deliveries are")} on the way`),
    body: (errors, dialog, { types }) => {
      const recount = async (form) => {
        const asked = (last = {});
        count = null;
        dialog.update();
        const found = await send(form, true).catch(sayProblem);
        if (asked === last) count = found?.count ?? 0;
        dialog.update();
      };
      const onchange = ({ target }) => recount(target.form);
      return [
        field({ name: "since", label: "Created since", type: "datetime-local", value: since ?? asLocal(health.failing_since ?? Date.now() - 86400000), onchange }),
        field({ name: "event_type", label: "Event type", type: "select", options: options(["", ...types]), onchange }),
        field({ name: "status", label: "Which", type: "select", options: [["undelivered", "What did not succeed"], ["all", "What succeeded, too"]], onchange }),
        h("p", { role: "status", ref: (element) => void recount(element.closest("form")) }, count === null ? "Counting …" : `${plural(count, "delivery", "deliveries")} to send again.`),
      ];
    },
  });
}

/** Attempt a delivery now, tell what came of it, and `reload()`. */
export async function retry({ links }, reload) {
  const { status, last_attempt: last } = await api.post(links.retry).finally(reload);
  say(`The attempt ${status}: ${last?.response_status ?? last?.error}`, { kind: status === "succeeded" ? "good" : "info" });
}
