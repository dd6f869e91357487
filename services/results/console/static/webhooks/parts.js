// How webhook endpoints and deliveries stand, and what goes out and comes back.

import { api } from "../core/api.js";
import { moment, NONE, plural, time } from "../core/format.js";
import { h } from "../core/vdom.js";
import { toggle } from "../parts/form.js";
import { badge, code, copyButton } from "../parts/marks.js";
import { say, sayProblem } from "../parts/toast.js";

const WHY = { gone: "it answered 410 Gone", failing: "nothing but failures for 5 days", paused: "somebody switched it off" };

export const named = (types) => types.map((type) => (type === "*" ? "Everything" : type)).join(", ");
export const clip = (text) => text && h("span", { class: "clamp", title: text }, text);
export const small = (...nodes) => h("span", { class: "clamp muted" }, nodes);

const ahead = (said, next) => (new Date(next) > Date.now() ? [said, time(next)] : null);

export function standing({ enabled, disabled_reason: why, disabled_at, health: { state, failures, ...at }, last_sequence }) {
  if (!enabled) return [badge("off", { kind: why === "paused" ? "quiet" : "bad" }), small(WHY[why] ?? why, ", ", time(disabled_at))];
  if (state === "healthy") return [badge(last_sequence ? state : "new"), at.last_failure_at && small("last failure ", time(at.last_failure_at))];
  const next = [ahead(", next try ", at.next_probe_at), at.disables_at && [", off ", time(at.disables_at), " unless one succeeds"]];
  return [badge(state, state === "open" ? { label: "Held back" } : {}), small(plural(failures, "failure"), " since ", time(at.failing_since), next)];
}

/** The switch of `endpoint`. */
export function onOff(endpoint, update) {
  const onchange = async (enabled) => {
    endpoint.enabled = enabled;
    update();
    try {
      Object.assign(endpoint, await api.patch(endpoint.links.self, { enabled }));
      say(enabled ? "On. What it missed can be replayed." : "Off. Nothing is sent until it is on again.");
    } catch (problem) {
      endpoint.enabled = !enabled;
      sayProblem(problem);
    }
    update();
  };
  return h("div", null, toggle({ label: `Send to ${endpoint.url}`, on: endpoint.enabled, onchange }));
}

export function state({ status, in_flight, held, attempts_made, next_attempt_at: next }) {
  if (status !== "pending" || in_flight) return badge(in_flight ? "sending" : status);
  const when = held ? "behind an earlier one" : (ahead("next attempt ", next) ?? "due");
  return [badge(status, { kind: attempts_made ? "warn" : "busy" }), small(when)];
}

/** Whether something will soon have become of a delivery. */
export const isSoon = ({ status, next_attempt_at: next }) => status === "pending" && !(new Date(next) - Date.now() > 30000);

export const answer = (attempt) =>
  attempt ? [badge("", { kind: attempt.response_status >= 200 && attempt.response_status < 300 ? "good" : "bad", label: attempt.response_status ?? "No answer" }), h("span", { class: "nowrap" }, ` ${attempt.latency_ms} ms`)] : NONE;

/** The request, without what is made anew for each attempt; and what was answered to each. */
export function exchange({ url, headers }, { webhook_id, sequence, payload, attempts }) {
  const body = JSON.stringify(payload, null, 2);
  const sent = { ...headers, "Content-Type": "application/json", "webhook-id": webhook_id, "webhook-sequence": sequence, "webhook-timestamp": "(of each attempt)", "webhook-signature": "(of each attempt)" };
  return h(
    "div",
    { class: "two exchange" },
    h(
      "section",
      { class: "card" },
      h("div", { class: "card-head" }, h("h2", { class: "grow" }, "Request"), copyButton(webhook_id, "Copy webhook-id"), copyButton(body, "Copy payload")),
      code([`POST ${url}`, ...pairs(sent)].join("\n"), "Headers"),
      code(body, "Payload"),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", null, attempts.length ? "Response" : "No attempt yet"),
      attempts.toReversed().map((attempt, index) =>
        h("details", { key: attempt.number, open: !index }, h("summary", null, `#${attempt.number} `, answer(attempt), " · ", time(attempt.attempted_at, moment)), h("p", { class: "failure" }, attempt.error), code(attempt.response_body, `Response ${attempt.number}`)),
      ),
    ),
  );
}

export const pairs = (headers) => Object.entries(headers).map((pair) => pair.join(": "));
