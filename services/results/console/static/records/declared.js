// What a dataset's declaration says of its files.

import { h } from "../core/vdom.js";
import { plural } from "../core/format.js";
import { icon } from "../parts/icons.js";
import { dataTable } from "../parts/table.js";

const COLUMNS = [
  { head: "Column", cell: ({ name }) => h("code", null, name) },
  { head: "Type", cell: ({ type }) => type },
  { head: "Rules", cell: ({ constraints, inFile }) => [inFile === false && "never in files", ...Object.entries(constraints).map(([rule, value]) => value && (value === true ? rule : `${rule} ${value}`))].filter(Boolean).join(", ") },
  { head: "Also called", minor: true, cell: ({ aliases }) => aliases?.join(", ") },
  { head: "What it is", cell: ({ description, title }) => description || title },
];

/** The columns of a dataset, to be opened. */
export const columnsOf = ({ title, fields }) =>
  h("details", null, h("summary", null, plural(fields.length, "column")), dataTable({ caption: `Columns of ${title}`, columns: COLUMNS, rows: fields, key: (each) => each.name }));

export const templateOf = (name) =>
  h("a", { class: "button", download: true, href: `/api/v1/datasets/${name}/template.csv` }, icon("download"), "Template CSV");
