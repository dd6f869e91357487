// Tables, their pages and their filters.

import { h } from "../core/vdom.js";
import { number } from "../core/format.js";
import { icon } from "./icons.js";
import { debounced } from "./form.js";

/**
 * A table. `columns`: `{head, cell(row), sort?, num?, minor?, grow?}`: `sort` is the order that its head asks for, `num`
 * is set to the right, `minor` is left out where there is little room, `grow` takes the room that is left. `key(row)`.
 * `order`: the present one (`name` or `-name`), `onOrder(order)`. `link(row)`: where a row leads; the first column is it.
 */
export function dataTable({ caption, columns, rows, key = (row) => row.id, order = "", onOrder = null, link = null, rowClass = () => null }) {
  const frame = h(
    "div",
    { class: "table-frame", role: "region", "aria-label": caption, tabindex: 0 },
    h(
      "table",
      { role: "table" }, // all the roles are said, as on a phone it is laid out otherwise
      h("caption", { class: "hidden" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column, index) => headCell(column, index, order, onOrder)))),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map((row) =>
          h(
            "tr",
            { key: key(row), role: "row", class: [link && "linked", rowClass(row)] },
            columns.map((column, index) => bodyCell(column, index, row, link)),
          ),
        ),
      ),
    ),
  );
  return onOrder ? [orderField(columns, order, onOrder), frame] : frame;
}

/** A phone has no heads to sort by. */
function orderField(columns, order, onOrder) {
  const options = columns.filter(({ sort }) => sort).flatMap(({ head, sort }) => [[sort, `${head}, ascending`], [`-${sort}`, `${head}, descending`]]);
  const option = ([value, text]) => h("option", { key: value, value, selected: value === order }, text);
  return h("label", { class: "order" }, "Order", h("select", { onchange: ({ target }) => onOrder(target.value) }, options.map(option)));
}

const classOf = ({ num, minor, grow }) => [num && "num", minor && "minor", grow && "grow"];

function headCell(column, index, order, onOrder) {
  const { head, sort } = column;
  if (!sort || !onOrder) return h("th", { key: index, role: "columnheader", scope: "col", class: classOf(column) }, head);
  const rising = order === sort;
  const falling = order === `-${sort}`;
  return h(
    "th",
    { key: index, role: "columnheader", scope: "col", class: classOf(column), "aria-sort": rising ? "ascending" : falling ? "descending" : null },
    h("button", { class: "sort", onclick: () => onOrder(rising ? `-${sort}` : sort) }, head, (rising || falling) && icon(rising ? "up" : "down")),
  );
}

function bodyCell(column, index, row, link) {
  const content = column.cell(row);
  const label = typeof column.head === "string" ? column.head : "";
  return h("td", { key: index, role: "cell", class: classOf(column), dataset: { label } }, index === 0 && link ? h("a", { href: link(row), class: "row-link" }, content) : content);
}

const counted = (count, nouns) => `${number(count)} ${count === 1 ? nouns.replace(/ies$/, "y").replace(/s$/, "") : nouns}`;

/** Which part of a Listing is shown, and the ways to the next one. `about`: whether its total may be an estimate. */
export function pager(listing, noun = "items", about = false) {
  const { data } = listing;
  if (!data || (listing.isFirst && !listing.hasNext)) {
    return data?.items.length ? h("p", { class: "pager muted" }, counted(data.items.length, noun)) : null;
  }
  return h(
    "div",
    { class: "pager" },
    h("span", { class: "muted grow" }, `Page ${listing.cursors.length}`, data.total === null || data.total === undefined ? null : ` · ${about ? "about " : ""}${counted(data.total, noun)} in all`),
    pageButton(listing, !listing.isFirst, () => listing.previous(), icon("left"), "Previous"),
    pageButton(listing, listing.hasNext, () => listing.next(), "Next", icon("right")),
  );
}

// Not `disabled`, which would take the focus away.
function pageButton(listing, isThere, turn, ...content) {
  const isOn = isThere && !listing.busy;
  const onclick = async ({ currentTarget }) => {
    if (!isOn) return;
    await turn();
    const table = currentTarget?.closest(".pager")?.previousElementSibling;
    if (table?.getBoundingClientRect().top < 0) table.scrollIntoView();
  };
  return h("button", { "aria-disabled": isOn ? null : "true", onclick }, content);
}

/**
 * A row of filters. `fields`: `{name, label, type, options?, placeholder?}` of which `type` is "search", "select", "date" or
 * "text". `values`: name → text. `onchange({name: text})` is called at once, for what is typed a moment later.
 */
export function filterBar(fields, values, onchange, more = null) {
  return h(
    "div",
    { class: "filters", role: "search" },
    fields.map((field) => filterField(field, values[field.name] ?? "", onchange)),
    more,
  );
}

const typed = new Map(); // of each filter that is typed into, its debounced change

function filterField({ name, label, type = "text", options = [], ...more }, value, onchange) {
  const id = `filter-${name}`;
  if (!typed.has(id)) typed.set(id, debounced((change, text) => change({ [name]: text })));
  const isTyped = type === "search" || type === "text";
  const heard = ({ target }) => (isTyped ? typed.get(id)(onchange, target.value.trim()) : onchange({ [name]: target.value.trim() }));
  const control =
    type === "select"
      ? h("select", { id, onchange: (event) => onchange({ [name]: event.target.value }) }, options.map(([each, text]) => h("option", { key: each, value: each, selected: each === value }, text)))
      : h("input", { id, type, ...more, value, [isTyped ? "oninput" : "onchange"]: heard });
  return h("div", { class: ["filter", type], key: id }, h("label", { for: id }, label), control);
}
