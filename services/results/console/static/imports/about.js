// What is known of an import beside its records: times, file, dialect, receipt.

import { bytes, duration, moment, number, percent, plural, time, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { code, copyButton, facts } from "../parts/marks.js";

const SIGNS = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space", ":": "colon", '"': "double quote", "'": "single quote", "\\": "backslash", "": "none" };
const sign = (text) => SIGNS[text] ?? text;
const card = (title, ...content) => h("section", { class: "card", key: title }, h("h2", null, title), content);
const link = (id) => h("a", { href: `/imports/${id}` }, `import ${id.slice(0, 8)}`);

export const about = (one, receipt) => h("div", { class: "two" }, h("div", { class: "stack" }, timeline(one), file(one), receipt && signed(one, receipt)), one.dialect && dialect(one));

function timeline({ corrects, corrected_by: by, run, status, uploaded_at: uploaded, processing_started_at: began, processing_completed_at: ended }) {
  const steps = [
    corrects && ["Corrects", link(corrects)],
    ["Uploaded", time(uploaded, moment)],
    began && ["Began", time(began, moment), run > 1 && `, run ${number(run)}`],
    ended && [words(status), time(ended, moment), began && ` after ${duration((new Date(ended) - new Date(began)) / 1000)}`],
    ...by.map((id) => ["Corrected by", link(id)]),
  ];
  return card("Timeline", h("ol", { class: "steps" }, steps.filter(Boolean).map(([what, ...when], index) => h("li", { key: index }, h("strong", null, what), " ", when))));
}

function file({ options, file_size: size, rows_detected: rows, source, sha256 }) {
  const asked = Object.entries(options).filter(([, value]) => value !== null && value !== false).map(([name, value]) => (value === true ? words(name) : `${words(name)}: ${value}`));
  return card("File", facts([["Size", bytes(size)], ["Records", number(rows)], ["Source", source], ["Options", asked.join(", ")], ["SHA-256", h("span", null, h("code", null, sha256), copyButton(sha256))]]));
}

function dialect({ dialect: { encoding, delimiter, quote, escape, header_rows, start_line }, explanation: why, date_orders: dates }) {
  return card(
    "How the file is read",
    facts([
      ["Encoding", encoding],
      ["Delimiter", sign(delimiter)],
      ["Quote", sign(quote)],
      ["A quote in a value", escape && escape === quote ? "doubled" : sign(escape)],
      ["Header", header_rows ? plural(header_rows, "record") : "none"],
      start_line > 0 && ["Lines before it", number(start_line)],
      ...Object.entries(dates).map(([column, order]) => [`Dates in ${column}`, order]),
      ["Certain", why && percent(why.confidence, 1)],
      ["Second best", why?.runner_up],
      ["Given", why?.given.join(", ")],
    ]),
    why && h("ul", null, why.reasons.map((each) => h("li", { key: each }, each))),
    why?.lines.length > 0 && code(why.lines.map(({ line_number, text }) => `${line_number}  ${text}`).join("\n"), "Lines that decided"),
  );
}

function signed({ id, links }, receipt) {
  const name = `receipt-${id}.json`;
  return card(
    "Receipt",
    facts([["Read", plural(receipt.rows_read, "record")], ["In", duration(receipt.duration_seconds)], ["Signature", h("code", null, receipt.signature.value)], ["Key", h("code", null, receipt.signature.keyId)]]),
    h("p", null, "Anybody can check it, without a token: ", h("code", null, `penstock verify ${name}`)),
    h("details", null, h("summary", null, "Show it"), code(JSON.stringify(receipt, null, 2), "Receipt")),
    h("a", { class: "button", href: links.receipt, download: name }, "Download"),
  );
}
