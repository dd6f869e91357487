// What is done once a day.

import { calendarDay, moment, time, words } from "../core/format.js";
import { address } from "../core/router.js";
import { h } from "../core/vdom.js";
import { badge } from "../parts/marks.js";
import { pageHead, shown } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { columnsOf, loaded, sections } from "../investigations/kit.js";

const COLUMNS = [
  { head: "Job", cell: ({ name }) => words(name) },
  ...columnsOf("description", 0),
  { head: "Last run", cell: ({ last_run: run }) => run && [badge(run.status), h("div", null, `for ${calendarDay(run.date)}`)] },
  { head: "Next run", cell: ({ next_due: next, schedule }) => [next ? time(next.at, moment) : "not due", h("div", { class: "muted" }, schedule)] },
];

export function open(page) {
  const jobs = loaded(page, "/jobs");
  page.every(5, () => jobs.refresh());
  const table = ({ items }) => dataTable({ caption: "Jobs", rows: items, key: ({ name }) => name, link: ({ name }) => address(["jobs", name]), columns: COLUMNS });
  return { title: "Jobs", view: () => [pageHead("Jobs", { lead: "What Penstock does by itself once a day, and what came of it." }), sections(), shown(jobs, table)] };
}
