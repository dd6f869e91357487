// What kinds of records there are, and what a file of each has to look like.

import { h } from "../core/vdom.js";
import { api } from "../core/api.js";
import { plural } from "../core/format.js";
import { icon } from "../parts/icons.js";
import { badge, facts } from "../parts/marks.js";
import { pageHead, shown } from "../parts/notice.js";
import { dataTable } from "../parts/table.js";
import { pathOf } from "../records/record.js";

const DUPLICATE = { overwrite: "overwrites", reject: "is a row error", ignore: "is left out" };
const COLUMNS = [
  { head: "Column", cell: ({ name }) => h("code", null, name) },
  { head: "Type", cell: ({ type }) => type },
  { head: "Rules", cell: ({ constraints, inFile }) => [inFile === false && "never in files", ...Object.entries(constraints).map(([rule, value]) => value && (value === true ? rule : `${rule} ${value}`))].filter(Boolean).join(", ") },
  { head: "Also called", minor: true, cell: ({ aliases }) => aliases?.join(", ") },
  { head: "What it is", cell: ({ description, title }) => description || title },
];

export function open(page) {
  const counts = {};
  const count = async ({ name }) => {
    const { total } = await api.get(pathOf(name), { limit: 1, total: "estimate" }).catch(() => ({}));
    counts[name] = total;
    page.update();
  };
  const datasets = page.load(async (signal) => {
    const { items } = await api.get("/datasets", {}, { signal });
    if (page.may("records:read")) items.forEach(count);
    return items;
  });
  const head = pageHead("Records", { lead: "Each dataset is a kind of file, and what was loaded from it." });
  return { title: "Records", view: () => [head, shown(datasets, (items) => items.map((each) => card(each, counts[each.name])), 9)] };
}

function card({ name, title, description, fields, primaryKey, requiredAny, onDuplicate, editable }, total) {
  return h(
    "section",
    { class: "card", key: name },
    h(
      "div",
      { class: "card-head" },
      h("h2", null, h("a", { href: pathOf(name) }, title)),
      h("span", { class: "grow muted" }, total !== undefined && `${total > 10_000 ? "about " : ""}${plural(total, "record")}`),
      editable && badge("editable", { kind: "good" }),
      h("a", { class: "button", download: true, href: `/api/v1/datasets/${name}/template.csv` }, icon("download"), "Template CSV"),
    ),
    h("p", { class: "muted" }, description),
    facts([["Key", primaryKey.join(", ")], ["A duplicate", DUPLICATE[onDuplicate]], ["At least one of", requiredAny?.map((names) => names.join(", ")).join("; ")]]),
    h("details", null, h("summary", null, plural(fields.length, "column")), dataTable({ caption: `Columns of ${title}`, columns: COLUMNS, rows: fields, key: (each) => each.name })),
  );
}
