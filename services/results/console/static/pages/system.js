// How the installation is: services, queues, API keys.

import { h } from "../core/vdom.js";
import { api } from "../core/api.js";
import { duration, number, plural, words } from "../core/format.js";
import { icon } from "../parts/icons.js";
import { badge, facts } from "../parts/marks.js";
import { notice, pageHead, shown } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { columnsOf, templateOf } from "../records/declared.js";
import { apiKeys } from "../system/keys.js";

const SERVICES = ["upload", "processor", "results", "notifier"];
const QUEUES = [
  { head: "Queue", cell: ({ name }) => h("code", { class: "nowrap" }, name) },
  ...[["waiting", "Waiting"], ["in_hand", "In hand"], ["scheduled", "For later"], ["dead_letters", "Dead letters"], ["consumers", "Consumers"]].map(([name, head]) => ({ head, num: true, cell: (queue) => number(queue[name]) })),
  { head: "Oldest", num: true, cell: (queue) => duration(queue.oldest_seconds) },
];

export function open(page) {
  const isAdmin = page.may("admin");
  const health = page.load((signal) => Promise.all(SERVICES.map((name) => healthOf(name, signal))));
  const system = isAdmin && page.load((signal) => api.get("/system", {}, { signal }));
  const keys = isAdmin && apiKeys(page);
  const datasets = page.load((signal) => api.get("/datasets", {}, { signal }));
  page.every(5, () => [health, system].forEach((each) => each && each.refresh()));

  const queues = ({ version, database_version: database, transport, queues: rows, outbox, detail }) => [
    facts([["Version", version], ["PostgreSQL", database], ["Transport", transport], ["Outbox", `${plural(outbox.waiting, "message")}${outbox.waiting ? `, oldest ${duration(outbox.oldest_seconds)}` : ""}`]]),
    detail && notice("warn", detail),
    dataTable({ caption: "Queues", columns: QUEUES, rows, key: (queue) => queue.name }),
  ];

  return {
    title: "System",
    view: () => [
      pageHead("System", { lead: "Looked at anew every 5 seconds." }),
      shown(health, (all) => h("div", { class: "two" }, all.map((each) => service(each, system.data))), 4),
      isAdmin ? [h("h2", null, "Queues"), shown(system, queues, 7), keys()] : notice("info", "Queues and API keys need the scope admin"),
      h("h2", null, "Datasets"),
      shown(datasets, ({ items }) => h("div", { class: "two" }, items.map(declared)), 4),
    ],
  };
}

function declared(dataset) {
  const { name, title } = dataset;
  return h("section", { class: "card", key: name }, h("div", { class: "card-head" }, h("h3", { class: "grow" }, h("a", { href: `/records/${name}` }, title)), templateOf(name)), columnsOf(dataset));
}

/** What a service says of itself; of one that is away, why. */
async function healthOf(name, signal) {
  const problem = (error) => error.document?.services ? error.document : { services: { [name]: [{ name: error.message, ok: false }] } };
  const { services } = await api.get(`/health/${name}/ready`, {}, { signal }).catch(problem);
  return { name, checks: services[name] };
}

function service({ name, checks }, system) {
  const processes = system?.services.find((each) => each.name === name)?.processes;
  return h(
    "section",
    { class: "card", key: name },
    h("div", { class: "card-head" }, h("h2", { class: "grow" }, words(name)), processes !== undefined && h("span", { class: "muted" }, plural(processes, "process", "processes")), badge(checks.every(({ ok }) => ok) ? "ok" : "unavailable")),
    h("ul", { class: "checks" }, checks.map(({ name: check, ok, detail }) => h("li", { key: check, class: ok ? "good" : "bad" }, icon(ok ? "check" : "warning"), [check, !ok && detail].filter(Boolean).join(": ")))),
  );
}
