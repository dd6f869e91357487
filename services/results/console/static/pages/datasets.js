// What kinds of records there are, and what a file of each has to look like.

import { h } from "../core/vdom.js";
import { api } from "../core/api.js";
import { plural } from "../core/format.js";
import { badge, facts } from "../parts/marks.js";
import { pageHead, shown } from "../parts/notice.js";
import { columnsOf, templateOf } from "../records/declared.js";
import { pathOf } from "../records/record.js";

const DUPLICATE = { overwrite: "overwrites", reject: "is a row error", ignore: "is left out" };
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
      templateOf(name),
    ),
    h("p", { class: "muted" }, description),
    facts([["Key", primaryKey.join(", ")], ["A duplicate", DUPLICATE[onDuplicate]], ["At least one of", requiredAny?.map((names) => names.join(", ")).join("; ")]]),
    columnsOf({ title, fields }),
  );
}
