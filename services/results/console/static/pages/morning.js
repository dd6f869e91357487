// What failed, at a glance: is anything wrong, and what first?

import { api } from "../core/api.js";
import { calendarDay, number, plural, words } from "../core/format.js";
import { address } from "../core/router.js";
import { h } from "../core/vdom.js";
import { columnChart } from "../parts/chart.js";
import { emptyState, notice, pageHead, shown } from "../parts/notice.js";
import { filterBar } from "../parts/table.js";
import { date, daysAfter, investigation, investigations, list, queueAt, section, sections, supplier } from "../investigations/kit.js";

const BUCKETS = { consistent: "files come regularly", inconsistent: "files come irregularly", new: "too few files to tell", dead: "no good file for weeks" };
const suppliersAt = (found, day) => address(["suppliers"], { found, day });

export function open(page) {
  const all = page.load(async (signal) => {
    const ask = (path, query) => api.get(path, query, { signal });
    const overview = await ask("/analyses/overview");
    const day = page.query.get("day") || overview.yesterday.day;
    const days = { since: day, until: day, limit: 8 };
    const [counts, trend, worst, failures, { buckets }, reasons, suppliers] = await Promise.all([
      ask("/investigations/counts"),
      ask("/investigations/trend"),
      ask("/investigations", { state: "open,reopened", order: "-severity", limit: 5 }),
      ask("/analyses/failures", { day, limit: 8, total: "exact" }),
      ask("/analyses/buckets", { day }),
      ask("/investigations/top-reasons", days),
      ask("/investigations/by-supplier", days),
    ]);
    return { ...overview, counts, day, trend, worst, failures, buckets, reasons, senders: suppliers };
  });
  page.every(60, () => all.refresh());

  const view = (it) => {
    const { day, yesterday } = it;
    if (!it.suppliers && !it.today.files && !Object.values(it.counts.states).some(Boolean)) return nothingYet();
    const onDay = (query) => queueAt({ ...query, state: "all", since: day, until: daysAfter(day, 1) });
    const errors = (each, query) => h("a", { href: onDay(query) }, plural(each.events, "error"));
    return [
      verdict(it),
      it.worst.items.length > 0 && investigations(it.worst.items),
      h("div", { class: "row" }, h("h2", { class: "grow" }, `${day === yesterday.day ? "Yesterday, " : ""}${calendarDay(day)}`), filterBar([{ ...date("day", "Day"), max: it.today.day }], { day }, (values) => (page.setQuery(values), all.load()))),
      h(
        "div",
        { class: "two" },
        card("Failed", it.failures.items, (each) => [supplier(each.supplier, each.name), each.findings.map((found) => h("div", { key: found.finding }, investigation(found.investigation_id, found.summary)))]),
        card("Late now", it.late, (each) => pair(supplier(each.supplier, each.name), investigation(each.investigation_id, `${plural(each.days_late, "day")} since ${calendarDay(each.expected_day)}`))),
        card("Top reasons", it.reasons.items, (each) => pair(each.title ?? words(each.reason), errors(each, { reason: each.reason }))),
        card("Errors by supplier", it.senders.items, (each) => pair(supplier(each.supplier, each.name), each.supplier === null ? plural(each.events, "error") : errors(each, { supplier: each.supplier }))),
      ),
      h("h2", null, "How regularly suppliers send"),
      h("div", { class: "tiles" }, Object.entries(it.buckets).map(([name, { count, before }]) => tile(count, suppliersAt(`bucket:${name}`, day), `${words(name)}: ${BUCKETS[name]}${count === before ? "" : `; the day before ${number(before)}`}`))),
      section(null, columnChart({ caption: "Errors, last 30 days", series: [["main", "errors"]], points: it.trend.items.map((each) => ({ label: calendarDay(each.day), values: { main: each.events } })) })),
    ];
  };
  return { title: "Morning", view: () => [pageHead("Morning", { lead: "Is anything wrong, and what first?" }), sections(), shown(all, view, 12)] };
}

/** What needs somebody, the most pressing first; or that nothing does. */
function verdict({ day, counts: { states, severities, quarantined_events: waiting }, late_count, failures, last_analysis, yesterday, today }) {
  const needs = [
    [severities.critical, queueAt({ severity: "critical" }), "critical investigation"],
    [late_count, suppliersAt("finding:late"), "late supplier"],
    [failures.total, suppliersAt("state:fail", day), "supplier", ` failed on ${calendarDay(day)}`],
    [states.open + states.reopened, queueAt(), "investigation", " to do"],
    [waiting, "/suppliers", "event", " of unknown suppliers"],
  ].filter(([count]) => count);
  return [
    (last_analysis.day ?? "") < yesterday.day && notice("info", "Yesterday is not analysed yet", "The daily analysis does so by itself.", h("a", { class: "button", href: "/jobs" }, "Jobs")),
    needs.length ? h("div", { class: "tiles needs" }, needs.map(([count, to, noun, more = ""]) => tile(count, to, `${noun}${count === 1 ? "" : "s"}${more}`))) : notice("good", "Nothing needs you", `${plural(yesterday.files, "file")} came yesterday, ${number(today.files)} so far today.`),
  ];
}

const tile = (count, href, text) => h("a", { key: href, class: "tile", href }, h("strong", null, number(count)), " ", h("span", null, text));
const pair = (left, right) => h("div", { class: "row" }, h("span", { class: "grow clamp" }, left), right);
const card = (title, items, row) => section(title, items.length ? list(items.map(row)) : h("p", { class: "muted" }, "None."));

const nothingYet = () =>
  emptyState({
    title: "Nothing has come yet",
    text: ["Imports report here what they refused; pipelines log their own errors with ", h("code", null, "penstock log-event"), "; and a job looks every night at who is late or odd."],
    action: h("a", { class: "button primary", href: "/imports" }, "Import a file"),
  });
