// One job: its runs by date, and a run by hand.

import { api } from "../core/api.js";
import { calendarDay, duration, time, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { busyWhile } from "../parts/busy.js";
import { confirm } from "../parts/dialog.js";
import { field, valuesOf } from "../parts/form.js";
import { pageHead } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { say } from "../parts/toast.js";
import { choice, columnsOf, date, daysOf, filtered, plainFacts } from "../investigations/kit.js";

const isOver = ({ status }) => !["pending", "running"].includes(status);
const COLUMNS = [
  ...columnsOf("date status started_at"),
  { head: "Took", minor: true, cell: ({ started_at: from, finished_at: to }) => to && duration((new Date(to) - new Date(from)) / 1000) },
  { head: "Asked for by", minor: true, cell: (run) => run.requested_by ?? "schedule" },
  { head: "What came of it", grow: true, cell: outcome },
];

export function open(page) {
  const name = words(page.params.job);
  const path = `/jobs/${encodeURIComponent(page.params.job)}/runs`;
  const asked = new Set(); // dates of runs whose end is to be said
  const runs = filtered(page, path, {
    noun: "runs",
    filters: () => [choice("status", [["", "Any"], "pending", "running", "succeeded", "failed"]), date("since", "From day"), date("until", "Before day")],
    table: (rows) => dataTable({ caption: "Runs", rows, key: (run) => run.date, columns: COLUMNS }),
    none: { title: "It has not run yet", text: "It runs by itself when it is due, and by hand for any day that is over." },
  });
  page.every(1, async () => {
    if (runs.isUnderWay || (!asked.size && runs.items.every(isOver))) return;
    await runs.load();
    for (const run of runs.items.filter(isOver)) if (asked.delete(run.date)) say(`${name} for ${calendarDay(run.date)}: ${run.status}`, { kind: run.error ? "bad" : "good", hint: run.error });
  });

  const start = async () => {
    const run = await confirm({
      title: `Run: ${name}`,
      action: "Run",
      load: (signal) => daysOf(2, signal),
      body: (errors, dialog, [day]) => field({ name: "date", label: "For which day", type: "date", value: day, max: day, error: errors.date, hint: "A day that is over. What was done before is not done twice." }),
      act: (form) => api.post(path, valuesOf(form)),
    });
    if (!run) return;
    asked.add(run.date);
    runs.restart();
  };
  const actions = page.may("investigations:admin") && h("button", { class: "primary", onclick: busyWhile(start) }, "Run …");
  return { title: name, view: () => [pageHead(name, { up: ["Jobs", "/jobs"], actions }), runs.view()] };
}

function outcome({ error, result, attempts }) {
  const failed = attempts.filter((each) => each.error && each.error !== error);
  return [error, result && h("details", null, h("summary", null, "Result"), plainFacts(result)), failed.map((each) => h("div", { key: each.number, class: "muted" }, time(each.started_at), ": ", each.error))];
}
