// One supplier: when its files come, what is odd about them, and its errors.

import { api } from "../core/api.js";
import { calendarDay, number, words } from "../core/format.js";
import { navigate } from "../core/router.js";
import { h } from "../core/vdom.js";
import { confirm } from "../parts/dialog.js";
import { pageHead, shown } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { calendar } from "../investigations/calendar.js";
import { choice, columnsOf, date, daysOf, factsOf, filtered, investigation, investigations, list, loaded, plainFacts, queueAt, section, show } from "../investigations/kit.js";
import { supplierForm } from "../investigations/supplier_form.js";

const WEEKS = 26;

export function open(page) {
  const { id } = page.params;
  const path = `/suppliers/${encodeURIComponent(id)}`;
  const one = loaded(page, path);
  const days = page.load(async (signal) => {
    const all = await daysOf(WEEKS * 7, signal);
    const [came, judged] = await Promise.all([api.get(`${path}/days`, { since: all[0], until: all.at(-1) }, { signal }), api.get("/analyses", { supplier: id, limit: 200 }, { signal })]);
    return { today: all.at(-1), weeks: WEEKS, came: came.items, judged: judged.items };
  });
  const errors = loaded(page, "/investigations", { supplier: id, order: "-last_seen", limit: 5 });
  const files = filtered(page, `${path}/files`, {
    noun: "files",
    filters: () => [choice("status", [["", "Any"], "good", "failed", "received"]), date("since", "From day"), date("until", "To day")],
    table: (rows) => dataTable({ caption: "Files", rows, key: (file) => file.occurred_at + file.path, columns: columnsOf("day status path rows rejected stage import_id", 3) }),
    query: () => ({ limit: 12 }),
    none: { title: "No file has come yet", text: "Files are its imports, and those that pipelines name in events." },
  });
  page.every(60, () => [one, days, errors, files].map((each) => each.refresh()));

  const remove = async () => {
    const text = "Its files, errors and investigations stay, and are its own again once it is added again. Until then its events wait.";
    if (await confirm({ title: `Remove ${one.data.name}?`, text, action: "Remove", danger: true, act: () => api.delete(path) })) navigate("/suppliers");
  };
  const edit = async () => (await supplierForm(one.data, path)) && one.load();
  const view = (it) => [
    section(null, factsOf({ ...it, files_expected: it.enabled ? "Yes" : "No", ...it.totals, ...it.last_analysis }, "id partner files_expected bucket last_good_day expected_day files failed_files rows rejected errors last_stage")),
    it.last_analysis && analysis(it.last_analysis),
    section("Days", shown(days, calendar)),
    h("h2", null, h("a", { href: queueAt({ supplier: id, state: "all" }) }, "Investigations"), ` (${number(it.open_investigations)} pending)`),
    shown(errors, ({ items }) => (items.length ? investigations(items) : h("p", { class: "muted" }, "No error of it was reported."))),
    h("h2", null, "Files"),
    files.view(),
  ];
  const name = () => one.data?.name ?? "Supplier";
  const actions = () => one.data && page.may("investigations:admin") && [h("button", { onclick: edit }, "Edit …"), h("button", { onclick: remove }, "Remove …")];
  return { title: name, view: () => [pageHead(name(), { up: ["Suppliers", "/suppliers"], actions: actions() }), shown(one, view, 10)] };
}

const analysis = ({ day, state, findings, passed, cadence: { median_gap: gap, spread, good_days: good } }) =>
  section(
    ["Analysed for ", calendarDay(day), " ", show("state", state)],
    gap && h("p", null, `A good file every ${number(gap)} days, with a spread of ${number(spread)}: ${number(good)} days with one.`),
    list(findings.map((each) => [show("state", each.state), " ", investigation(each.investigation_id, each.summary), h("details", null, h("summary", null, "Evidence"), each.evidence.map(plainFacts))])),
    passed.length > 0 && h("p", { class: "muted" }, "As it should be: ", passed.map(words).join(", ")),
  );
