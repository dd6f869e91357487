// Who sends files: the list, those of a kind, one more, many from a CSV file.

import { api } from "../core/api.js";
import { number, plural, words } from "../core/format.js";
import { address, navigate } from "../core/router.js";
import { h } from "../core/vdom.js";
import { confirm } from "../parts/dialog.js";
import { field } from "../parts/form.js";
import { notice, pageHead } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { say, sayProblem } from "../parts/toast.js";
import { choice, columnsOf, date, daysOf, filtered, list, loaded, sections, supplier } from "../investigations/kit.js";
import { supplierForm } from "../investigations/supplier_form.js";

const FOUND = [["", "All"], ["state:fail", "Failed"], ["state:warn", "Odd"], ["finding:late", "Late"], ...["consistent", "inconsistent", "new", "dead"].map((each) => [`bucket:${each}`, words(each)])];
const NAME = { head: "Supplier", grow: true, cell: ({ id, supplier: also = id, name }) => [supplier(also, name), h("div", { class: "muted clamp" }, also)] };
const OF_ANALYSES = [NAME, ...columnsOf("state bucket last_good_day expected_day", 1), { head: "Why", minor: true, grow: true, cell: ({ findings }) => findings.map(({ summary }) => summary).join("; ") }];
const OF_ALL = [NAME, ...columnsOf("partner", 0), { head: "Today", cell: ({ enabled, day }) => (day?.files || day?.errors ? `${plural(day.files, "file")}, ${plural(day.errors, "error")}` : enabled ? "nothing so far" : "none expected") }];

export function open(page) {
  const found = () => page.query.get("found") || "";
  const mayChange = page.may("investigations:admin");
  const unknown = loaded(page, "/investigation-events/quarantine/suppliers");
  const suppliers = filtered(page, () => (found() ? "/analyses" : "/suppliers"), {
    noun: "suppliers",
    filters: () => [choice("found", FOUND, "Last analysis"), ...(found() ? [date("day", "Of day")] : [{ name: "q", label: "Search", type: "search" }, { name: "partner", label: "Partner" }, choice("enabled", [["", "Any"], ["true", "Yes"], ["false", "No"]], "Files expected")])],
    query: async () => ({ found: "", ...(found() ? Object.fromEntries([found().split(":")]) : { day: (await daysOf(1))[0] }) }),
    table: (rows) => dataTable({ caption: "Suppliers", rows, key: ({ id, supplier: also }) => id ?? also, columns: found() ? OF_ANALYSES : OF_ALL }),
    none: { title: "No supplier is known yet", text: "An import adds its source as a supplier. You can also add one by hand, or many from a CSV file." },
  });
  const add = async (id) => {
    const made = await supplierForm({ id });
    if (made) navigate(address(["suppliers", made.id]));
  };
  const addMany = async () => (await fromFile()) && (unknown.load(), suppliers.load());
  const actions = mayChange && [h("button", { onclick: addMany }, "From a CSV file …"), h("button", { class: "primary", onclick: () => add() }, "Add …")];
  const waiting = ({ supplier: id, events }) => notice("warn", `${plural(events, "event")} of ${id}`, "It is not known; once it is added they are logged.", mayChange && h("button", { onclick: () => add(id) }, "Add …"));
  return { title: "Suppliers", view: () => [pageHead("Suppliers", { lead: "Who sends files, and how regularly.", actions }), sections(), unknown.data?.items.map(waiting), suppliers.view()] };
}

const send = (file, dry_run) => api.post("/suppliers/import", file, { query: { dry_run }, headers: { "Content-Type": "text/csv" } });

const outcome = ({ created, updated, unchanged, rejected }) => `${number(created)} added, ${number(updated)} changed, ${number(unchanged)} unchanged, ${number(rejected)} refused`;

function fromFile() {
  let plan = null;
  const look = async (file, dialog) => {
    plan = file ? await send(file, true).catch(sayProblem) : null;
    dialog.update();
  };
  return confirm({
    title: "Suppliers from a CSV file",
    action: "Add and change them",
    ready: () => plan?.created + plan?.updated > 0,
    body: (errors, dialog) => [
      field({ name: "file", label: "File", type: "file", accept: ".csv,text/csv", hint: "With the columns id and name; partner and enabled, if you like.", onchange: ({ target }) => look(target.files[0], dialog) }),
      plan && h("p", { role: "status" }, "What would become of it: ", h("strong", null, outcome(plan))),
      plan && list(plan.errors.map(({ line, column, message }) => `Line ${number(line)}${column ? `, ${column}` : ""}: ${message}`)),
    ],
    act: async (form) => say(outcome(await send(form.elements.file.files[0], false))),
  });
}
