// One record as it stands in the file, between its neighbours, with what is wrong with it.

import { api } from "../core/api.js";
import { number } from "../core/format.js";
import { h } from "../core/vdom.js";
import { dialogFrame, openDialog } from "../parts/dialog.js";
import { code, facts } from "../parts/marks.js";
import { notice, problemNotice, skeleton } from "../parts/notice.js";
import { cellsOf, columnsIn } from "./cells.js";

const HEAD_BYTES = 65536;

/** Show record `row` of the import `one`; `errors`: its row errors. */
export function showRecord(one, row, errors) {
  return openDialog((dialog) => {
    let content = one.file_removed_at ? asTold(errors) : skeleton();
    if (!one.file_removed_at) read(one, row, dialog.signal).then((found) => (content = context(found, row, errors)), (problem) => (content = problemNotice(problem))).then(dialog.update);
    return () => dialogFrame(dialog, { title: `Record ${number(row)}`, body: [errors.map(told), content] });
  }, { wide: true });
}

function told({ status, message, hint, code: why, column, value, line_number, byte_offset, fixed_by: by }, index) {
  const fixed = by && h("a", { href: `/imports/${by.import_id}` }, `record ${number(by.row_number)} of a later import`);
  return [
    notice(status === "fixed" ? "good" : "bad", message, hint),
    facts([["Code", h("code", null, why)], ["Column", column], ["Value", value && h("code", { class: "clamp", title: value }, value)], ["Line", number(line_number)], ["Byte", number(byte_offset)], ["Fixed by", fixed]]),
  ];
}

/** Of a record whose file is gone: what its row errors have of it. */
function asTold([first]) {
  return [notice("info", "Its file is not kept any more", "So its neighbours are not shown."), first?.raw_data && code(first.raw_data, "The record as it came")];
}

async function read({ dialect, links, dataset, rows_processed: last }, row, signal) {
  const decoder = new TextDecoder(dialect.encoding.replace("-16-", "-16").replace("latin-", "latin"));
  const get = async (path, headers) => {
    const answer = await api.get(path, {}, { raw: true, signal, headers });
    return { text: decoder.decode(await answer.arrayBuffer()), line: Number(answer.headers.get("Penstock-Line-Number")) };
  };
  const record = async (at) => {
    const raw = await get(`${links.self}/rows/${at}/raw`);
    return { ...raw, row: at, cells: cellsOf(raw.text, dialect).cells };
  };
  const [head, declared, ...records] = await Promise.all([
    get(links.file, { Range: `bytes=${dialect.start_byte}-${dialect.start_byte + HEAD_BYTES}` }),
    api.get(`/datasets/${dataset}`, {}, { signal }),
    row > 1 && record(row - 1),
    record(row),
    row < last && record(row + 1),
  ]);
  const names = [];
  for (let line = 0, start = 0; line < dialect.header_rows; line += 1) {
    const { cells, end } = cellsOf(head.text, dialect, start);
    cells.forEach((cell, place) => (names[place] = [names[place], cell].filter(Boolean).join(" ")));
    start = end;
  }
  return { names, places: columnsIn(names, declared), records: records.filter(Boolean) };
}

function context({ names, places, records }, row, errors) {
  const isBad = (cells, place) => errors.some(({ column, value, code: why }) => (column ? (places.get(column) ?? cells.indexOf(value)) === place : why === "extra_cell" ? place >= names.length : place >= cells.length));
  const cell = ({ row: each, cells }, place) =>
    h("td", { key: each, class: each !== row ? "muted" : isBad(cells, place) && "bad-cell" }, h("div", { class: "clamp", title: cells[place] }, cells[place] ?? h("i", null, "no cell"), each === row && isBad(cells, place) && h("span", { class: "hidden" }, " (row error)")));
  return [
    h(
      "div",
      { class: "table-frame", tabindex: 0, role: "region", "aria-label": "The record and its neighbours" },
      // Within a block: on a phone it stays a table.
      h(
        "div",
        null,
        h(
          "table",
          { class: "compact" },
          h("thead", null, h("tr", null, h("th", { scope: "col" }, "Column"), records.map(({ row: each, line }) => h("th", { key: each, scope: "col" }, `Line ${number(line)}`)))),
          h("tbody", null, Array.from({ length: Math.max(names.length, ...records.map(({ cells }) => cells.length)) }, (_, place) => h("tr", { key: place }, h("th", { scope: "row" }, h("div", { class: "clamp", title: names[place] }, names[place] || place + 1)), records.map((each) => cell(each, place))))),
        ),
      ),
    ),
    h("h3", null, "As it stands in the file"),
    code(records.find((each) => each.row === row).text, "The record as it stands in the file"),
  ];
}
