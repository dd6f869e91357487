// Filters by the columns of a dataset: those in the address, and a form for one more.

import { midnight } from "../core/format.js";
import { h } from "../core/vdom.js";
import { field } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { isNumber } from "./record.js";

const IS = ["", "is"];
const RANGE = [IS, ["__gte", "from"], ["__lte", "up to"], ["__gt", "above"], ["__lt", "below"]];
const ANY = ["__in", "is one of"];
const EMPTY = ["__isnull", "is empty"];
const TEXT = [["__contains", "contains"], ["__prefix", "begins with"], IS, ANY];
const DAYS = [["__gte", "from"], ["__lt", "up to"]]; // a moment by its local day
const CONDITIONS = { string: TEXT, boolean: [IS], datetime: DAYS, uuid: [IS, ANY] };
const OF_EVERY = [["import_id", "Import", "uuid"], ["created_at", "Created", "datetime"], ["updated_at", "Updated", "datetime"]];

/** What may be asked of records: `{parameter, column, said}`. */
function filtersOf({ fields }) {
  const columns = [...fields, ...OF_EVERY.map(([name, title, type]) => ({ name, title, type, default: type }))];
  return columns.flatMap((column) => {
    const isNullable = !column.constraints?.required && column.default === undefined;
    const conditions = [...(CONDITIONS[column.type] ?? [...RANGE, ANY]), ...(isNullable ? [EMPTY] : [])];
    return conditions.map(([ending, said]) => ({ parameter: column.name + ending, column, said }));
  });
}

/** `view(dataset)` gives button, form and chips. `change({parameter: value})` puts filters into the address of `page`. */
export function filters(page, change) {
  let chosen = null; // the parameter of the filter to come
  const choose = (parameter) => {
    chosen = parameter;
    page.update();
  };

  function form(all) {
    const { column, parameter } = all.find((each) => each.parameter === chosen);
    const onsubmit = (event) => {
      event.preventDefault();
      const value = event.target.elements.value.value.trim();
      if (!value) return;
      choose(null);
      change({ [parameter]: column.type === "datetime" && !parameter.endsWith(EMPTY[0]) ? midnight(value, daysLater(parameter)) : value });
      document.querySelector("#add-filter").focus();
    };
    const select = (label, value, options) => field({ name: label, label, type: "select", value, options, onchange: ({ target }) => choose(target.value) });
    const firsts = all.filter((each, index) => each.column !== all[index - 1]?.column);
    return h(
      "form",
      { class: "card filters", "aria-label": "New filter", onsubmit },
      select("Column", firsts.find((each) => each.column === column).parameter, firsts.map((each) => [each.parameter, each.column.title])),
      select("Condition", parameter, all.filter((each) => each.column === column).map((each) => [each.parameter, each.said])),
      h("div", { key: parameter }, field({ name: "value", label: "Value", ...inputOf(column.type, parameter) })),
      h("button", { class: "primary" }, "Add"),
    );
  }

  function chip(all, [name, value]) {
    const { column, said } = all.find((each) => each.parameter === name) ?? { column: { title: name }, said: "is" };
    const text = `${column.title} ${said} ${{ true: "yes", false: "no" }[value] ?? dayOf(name, value)}`;
    return h("button", { key: name, class: "chip", title: `Take out: ${text}`, onclick: () => change({ [name]: "" }) }, h("span", null, text), icon("close"));
  }

  return (dataset, given) => {
    const all = filtersOf(dataset);
    return {
      button: h("button", { id: "add-filter", "aria-expanded": String(!!chosen), onclick: () => choose(chosen ? null : all[0].parameter) }, icon("plus"), "Add a filter"),
      form: chosen && form(all),
      chips: h("div", { class: "chips", role: "group", "aria-label": "Filters" }, given.map((each) => chip(all, each))),
    };
  };
}

const daysLater = (parameter) => (parameter.endsWith("__lt") ? 1 : 0); // up to the end of a day is before the next

/** The local day of a moment that was asked for by it; another value as it is. */
function dayOf(parameter, value) {
  const date = new Date(/T.*Z$/.test(value) ? value : NaN);
  if (Number.isNaN(date.getTime())) return value;
  date.setDate(date.getDate() - daysLater(parameter));
  const day = date.toLocaleDateString("sv");
  return midnight(day, daysLater(parameter)) === value ? day : value;
}

function inputOf(type, parameter) {
  if (type === "boolean" || parameter.endsWith(EMPTY[0])) return { type: "select", options: [["true", "Yes"], ["false", "No"]] };
  if (parameter.endsWith(ANY[0])) return { placeholder: "one, another, …" };
  return type.startsWith("date") ? { type: "date" } : { inputmode: isNumber(type) ? "decimal" : null };
}
