// A supplier's days as a calendar: what came, and what was expected and did not.

import { calendarDay, plural, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { dataTable } from "../parts/table.js";
import { columnsOf, daysAfter } from "./kit.js";

const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const KINDS = { good: ["✓", "files came"], odd: ["!", "odd, or errors"], failed: ["×", "failed"], missing: ["○", "expected, did not come"], next: ["?", "expected next"], none: ["", "nothing expected"] };

/** `weeks` up to `today`. `came`: its days; `judged`: its analyses; both the latest first. */
export function calendar({ today, weeks, came, judged }) {
  const numbers = new Map(came.map((each) => [each.day, each]));
  const analyses = new Map(judged.map((each) => [each.day, each]));
  const next = judged[0]?.expected_day;
  const begin = daysAfter(today, -((new Date(today).getUTCDay() + 6) % 7) - (weeks - 1) * 7);
  const columns = Array.from({ length: weeks }, (_, week) => daysAfter(begin, week * 7));
  const month = (day) => calendarDay(day).replace(/[\d ,.]+/g, "");

  const kindOf = (day) => {
    const { good_files: good, failed_files: failed, errors } = numbers.get(day) ?? {};
    const { state, findings = [] } = analyses.get(day) ?? {};
    if (failed && !good) return "failed";
    if (!good && findings.some(({ finding }) => finding === "late")) return "missing";
    if (failed || errors || ["warn", "fail"].includes(state)) return "odd";
    return good ? "good" : day === next && day >= today ? "next" : "none";
  };
  const cell = (day) => {
    if (day > today && day !== next) return h("td", { key: day });
    const kind = kindOf(day);
    const said = `${calendarDay(day)}: ${[KINDS[kind][1], told(numbers.get(day))].filter(Boolean).join("; ")}`;
    return h("td", { key: day, class: `day ${kind}`, title: said }, h("span", { "aria-hidden": "true" }, KINDS[kind][0]), h("span", { class: "hidden" }, said));
  };
  return [
    h(
      "div",
      { class: "scroll", role: "region", tabindex: 0, "aria-label": "Days", ref: (element) => void (element.scrollLeft = element.scrollWidth) },
      h(
        "table",
        { class: "calendar" },
        h("tr", null, h("td"), columns.map((day, index) => h("td", { key: day }, month(day) !== month(columns[index - 1] ?? begin) && h("small", null, month(day))))),
        WEEKDAYS.map((name, row) => h("tr", { key: name }, h("th", { scope: "row" }, name), columns.map((day) => cell(daysAfter(day, row))))),
      ),
    ),
    h("p", { class: "row" }, Object.entries(KINDS).map(([kind, [sign, text]]) => h("span", { key: kind }, h("span", { class: `day ${kind}`, "aria-hidden": "true" }, sign), ` ${text}`))),
    h("details", null, h("summary", null, "Numbers"), dataTable({ caption: "Numbers of days", rows: came, key: ({ day }) => day, columns: columnsOf("day files failed_files rows rejected errors last_stage") })),
  ];
}

const told = (day) => day && [day.files && plural(day.files, "file"), day.rows && plural(day.rows, "record"), day.errors && plural(day.errors, "error"), ...day.reasons.map(({ reason }) => words(reason))].filter(Boolean).join(", ");
