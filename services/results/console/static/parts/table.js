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
  return h(
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
    h("button", { disabled: listing.isFirst || listing.busy, onclick: () => listing.previous() }, icon("left"), "Previous"),
    h("button", { disabled: !listing.hasNext || listing.busy, onclick: () => listing.next() }, "Next", icon("right")),
  );
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
  if (!typed.has(id)) typed.set(id, { later: debounced((text) => typed.get(id).now(text)) });
  typed.get(id).now = (text) => onchange({ [name]: text });
  const isTyped = type === "search" || type === "text";
  const control =
    type === "select"
      ? h("select", { id, onchange: (event) => onchange({ [name]: event.target.value }) }, options.map(([each, text]) => h("option", { key: each, value: each, selected: each === value }, text)))
      : h("input", { id, type, ...more, value, [isTyped ? "oninput" : "onchange"]: (event) => (isTyped ? typed.get(id).later : typed.get(id).now)(event.target.value.trim()) });
  return h("div", { class: ["filter", type], key: id }, h("label", { for: id }, label), control);
}
