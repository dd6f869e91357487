// API keys: those there are, and how to make and revoke one.

import { h } from "../core/vdom.js";
import { api } from "../core/api.js";
import { time } from "../core/format.js";
import { confirm } from "../parts/dialog.js";
import { checkbox, field } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { badge, copyButton } from "../parts/marks.js";
import { emptyState, notice, shown } from "../parts/notice.js";
import { dataTable, pager } from "../parts/table.js";
import { say } from "../parts/toast.js";

const SCOPES = {
  "imports:write": "upload files; cancel and retry imports",
  "imports:read": "imports, row errors, original files, receipts",
  "records:read": "records",
  "records:write": "create, change and delete records",
  "webhooks:admin": "webhook endpoints and deliveries",
  "investigations:write": "report errors; act on investigations",
  "investigations:read": "investigations, suppliers, analyses, jobs",
  "investigations:admin": "change suppliers and reasons; run jobs",
  admin: "all of these, API keys, and the system's numbers",
};
const LIVES = [[30, "in 30 days"], [90, "in 90 days"], [365, "in a year"], ["", "never"]];

export function apiKeys(page) {
  const keys = page.list("/api-keys");

  async function make() {
    const made = await confirm({ title: "New API key", body: form, act: create, action: "Make the key" });
    if (!made) return;
    keys.restart();
    const key = h("div", { class: "row" }, h("code", { class: "grow" }, made.key), copyButton(made.key, "Copy the key"));
    await confirm({ title: made.name, body: [notice("warn", "Copy the key now", "It is shown only here, and cannot be had again."), key], action: "I have it", leave: null });
  }

  async function revoke({ id, name }) {
    const done = await confirm({ title: `Revoke ${name ?? id}?`, text: "Whoever uses it is refused from now on, for good.", action: "Revoke", danger: true, act: () => api.delete(`/api-keys/${id}`) });
    if (done) say("API key revoked");
    keys.load();
  }

  const columns = [
    { head: "Name", cell: ({ id, name }) => [h("div", null, name), h("code", { class: "muted nowrap" }, id)] },
    { head: "State", cell: (key) => badge(stateOf(key)) },
    { head: "Scopes", cell: ({ scopes }) => scopes.join(", ") },
    ...[["Made", "created_at"], ["Last used", "last_used_at"], ["Expires", "expires_at"]].map(([head, name]) => ({ head, minor: true, cell: (key) => time(key[name]) })),
    { head: "", cell: (key) => stateOf(key) === "active" && h("button", { "aria-label": `Revoke ${key.name ?? key.id}`, onclick: () => revoke(key) }, "Revoke") },
  ];
  const table = ({ items }) => (items.length ? [dataTable({ caption: "API keys", columns, rows: items }), pager(keys, "keys")] : emptyState({ title: "No API keys yet", text: "A program that calls the API needs one." }));
  return () => [h("div", { class: "card-head" }, h("h2", { class: "grow" }, "API keys"), h("button", { onclick: make }, icon("plus"), "New API key")), shown(keys, table, 3)];
}

const stateOf = ({ revoked_at: revoked, expires_at: end }) => (revoked ? "revoked" : end && new Date(end) < Date.now() ? "expired" : "active");

const form = (errors) => [
  field({ name: "name", label: "Name", hint: "What it is for", error: errors.name }),
  field({ name: "days", label: "Expires", type: "select", value: 90, options: LIVES }),
  h("fieldset", { class: "form" }, h("legend", { class: "row" }, "Scopes ", h("span", { class: "error" }, errors.scopes)), Object.entries(SCOPES).map(([value, hint]) => checkbox({ name: "scope", id: value, value, label: value, hint }))),
];

function create(element) {
  const data = new FormData(element);
  return api.post("/api-keys", { name: data.get("name"), scopes: data.getAll("scope"), expires_in_days: Number(data.get("days")) || null });
}
