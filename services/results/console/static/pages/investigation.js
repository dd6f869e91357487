// One investigation: what it is, what was done about it, what can be.

import { api } from "../core/api.js";
import { calendarDay, moment, number, plural, time, words } from "../core/format.js";
import { Loading } from "../core/loading.js";
import { address, navigate } from "../core/router.js";
import { h } from "../core/vdom.js";
import { columnChart } from "../parts/chart.js";
import { confirm } from "../parts/dialog.js";
import { debounced, field, valuesOf } from "../parts/form.js";
import { badge } from "../parts/marks.js";
import { notice, pageHead, shown } from "../parts/notice.js";
import { pager } from "../parts/table.js";
import { decisions } from "../investigations/decisions.js";
import { factsOf, investigation, list, loaded, note, plainFacts, section, show } from "../investigations/kit.js";

const importOf = (links) => links?.import?.split("/").at(-1);

export function open(page) {
  const path = `/investigations/${encodeURIComponent(page.params.id)}`;
  const one = loaded(page, path);
  const events = page.list(`${path}/events`, () => ({ limit: 20 }));
  const history = page.list(`${path}/history`, () => ({ limit: 20 }));
  const reload = () => Promise.all([one.load(), events.load(), history.load()]);
  page.every(15, () => Promise.all([one, events, history].map((each) => each.refresh())));

  const part = (title, listing, row, noun) => section(title, shown(listing, ({ items }) => [list(items.map(row)), pager(listing, noun)]));
  const view = (it) => [
    it.merged_into && notice("info", "It is part of another investigation", "Its errors are there.", investigation(it.merged_into, "Open")),
    it.muted && notice("info", "Muted", muteSaid(it.muted)),
    section(null, factsOf({ ...it, import_id: importOf(it.links) }, "supplier stage reason count first_seen last_seen opened_at acknowledged_at resolved_at resolved_by import_id")),
    section(null, columnChart({ caption: "Errors, last 30 days", height: 110, points: it.days.map(({ day, events: main }) => ({ label: calendarDay(day), values: { main } })), series: [["main", "errors"]] })),
    h("div", { class: "two" }, part("Events", events, event, "events"), part("History", history, happened, "entries")),
  ];
  const go = async (asking) => {
    const other = await asking;
    if (other) navigate(address(["investigations", other.id]));
  };
  const head = (it) =>
    pageHead(h("span", { class: "clamp", title: it?.summary }, it?.summary || "Investigation"), {
      up: ["Queue", "/investigations/queue"],
      lead: it && [show("state", it.state), " ", show("severity", it.severity)],
      actions: it && !it.merged_into && page.may("investigations:write") && [
        decisions([it], reload),
        h("button", { onclick: () => go(merge(it, path)) }, "Merge …"),
        it.fingerprints.length > 1 && h("button", { onclick: () => go(split(it, path)) }, "Split …"),
      ],
    });
  return { title: () => one.data?.summary || "Investigation", view: () => [head(one.data), shown(one, view, 10)] };
}

const muteSaid = ({ until, events, events_so_far: soFar = 0 }) => [until && ["until ", time(until, moment)], until && events && ", or ", events && `until ${plural(events, "error")}, ${number(soFar)} so far`, !until && !events && "for good"];

const event = ({ occurred_at, action, severity, file, extra, links, ...it }) =>
  h(
    "details",
    { key: it.event_id },
    h("summary", null, time(occurred_at), " ", badge(action === "resolve" ? "resolved" : severity), h("div", { class: "clamp" }, it.summary)),
    factsOf({ ...it, ...file, import_id: importOf(links) }, "supplier stage reason path size rows sha256 import_id origin received_at event_id"),
    extra && plainFacts(extra),
  );

function happened({ what, actor, event_id, happened_at, note: said, details }) {
  const { into, from, events } = details ?? {};
  return [
    h("strong", null, words(what)),
    ` by ${actor ?? (event_id ? "an event" : "time")}, `,
    time(happened_at),
    what === "muted" && h("div", null, muteSaid(details ?? {})),
    (into || from) && h("div", null, investigation(into ?? from, into ? "into another one" : "from another one"), events && `, ${plural(events, "error")}`),
    said && h("blockquote", null, said),
  ];
}

const option = (type, name, { id, summary, detail, supplier, count }) =>
  h("label", { key: id, class: "row" }, h("input", { type, name, value: id }), h("span", { class: "grow clamp" }, summary || detail, h("span", { class: "muted" }, ` ${supplier ?? ""}`)), number(count));

function merge({ id: own }, path) {
  let text = "";
  let found = null;
  const look = debounced(() => found.load());
  return confirm({
    title: "Merge into another investigation",
    text: "Its errors become the other one's. A split takes it back.",
    action: "Merge",
    body: (errors, dialog) => {
      found ??= new Loading((signal) => api.get("/investigations", { text, limit: 8, order: "-last_seen" }, { signal }), dialog);
      return [
        field({ name: "text", label: "Find the other one", type: "search", ref: () => void found.load(), oninput: ({ target }) => ((text = target.value), look()), error: errors.into && "Choose one." }),
        shown(found, ({ items }) => items.filter(({ id }) => id !== own).map((each) => option("radio", "into", each)), 3),
        note(errors),
      ];
    },
    act: (form) => api.post(`${path}/merge`, { into: valuesOf(form).into, note: valuesOf(form).note || null }),
  });
}

const split = ({ fingerprints }, path) =>
  confirm({
    title: "Split off kinds of errors",
    text: "What you choose becomes an investigation of its own.",
    action: "Split off",
    body: (errors) => [fingerprints.map((each) => option("checkbox", "fingerprints", each)), errors.fingerprints && h("p", { role: "alert" }, "Choose some of them, not all."), note(errors)],
    act: (form) => api.post(`${path}/split`, { fingerprints: new FormData(form).getAll("fingerprints").map(Number), note: valuesOf(form).note || null }),
  });
