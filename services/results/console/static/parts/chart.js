// Charts as SVG. Every number in them can also be read as text.

import { h } from "../core/vdom.js";
import { number, percent } from "../core/format.js";

const NARROW = matchMedia("(width < 780px)");

/** A bar of parts that make a whole: `{name, label, value}`, of which `name` is the colour's (`.part-…`). */
export function bar(parts, whole = 0) {
  const all = Math.max(whole, parts.reduce((total, { value }) => total + value, 0), 1);
  let from = 0;
  const pieces = parts.filter(({ value }) => value > 0).map(({ name, value }) => {
    const piece = { name, x: (from / all) * 1000, width: Math.max((value / all) * 1000, 3) };
    from += value;
    return piece;
  });
  return h(
    "svg",
    { class: "bar", viewBox: "0 0 1000 16", preserveAspectRatio: "none", role: "img", "aria-label": parts.map(({ label, value }) => `${label}: ${number(value)}`).join(", ") },
    h("rect", { class: "part-rest", width: 1000, height: 16 }),
    pieces.map(({ name, x, width }) => h("rect", { key: name, class: `part-${name}`, x: Math.min(x, 997), width, height: 16 })),
  );
}

/** A bar with a legend that names every part. `whole`: their sum unless more is to come. */
export function balanceBar(parts, whole = null) {
  const sum = parts.reduce((total, { value }) => total + value, 0);
  return h(
    "div",
    { class: "balance" },
    bar(parts, whole ?? sum),
    h(
      "dl",
      { class: "legend" },
      parts.map(({ name, label, value }) =>
        h("div", { key: name, class: value ? null : "nothing" }, h("dt", null, h("i", { class: `part-${name}` }), label), h("dd", null, number(value), sum ? h("span", { class: "muted" }, ` ${percent(value, sum)}`) : null)),
      ),
    ),
  );
}

/**
 * Columns over time. `points`: `{label, values: {name: number}, title?}`; `series`: `[name, label]`, stacked from below.
 * What it shows can be opened as a table.
 */
export function columnChart({ caption, points, series, height = 150 }) {
  const width = NARROW.matches ? 360 : 720; // it is shown as wide as there is room, its text with it
  const floor = height - 22;
  const most = niceMost(Math.max(1, ...points.map(({ values }) => series.reduce((sum, [name]) => sum + (values[name] ?? 0), 0))));
  const step = (width - 44) / Math.max(points.length, 1);
  const every = Math.ceil(points.length / (width / 90));
  const y = (value) => floor - (value / most) * (floor - 8);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", null, h("span", { class: "grow" }, caption), series.length > 1 && series.map(([name, label]) => h("span", { key: name, class: "key" }, h("i", { class: `part-${name}` }), label))),
    h(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${caption}; the numbers are in the table below` },
      [0, most / 2, most].map((value) =>
        h("g", { key: value }, h("line", { class: "grid", x1: 40, x2: width, y1: y(value), y2: y(value) }), h("text", { x: 34, y: y(value) + 4, "text-anchor": "end" }, number(value))),
      ),
      points.map((point, index) => column(point, series, { x: 42 + index * step, width: Math.max(step - 3, 1), y })),
      points.map(({ label }, index) => index % every === 0 && h("text", { key: `label-${index}`, x: 42 + index * step + step / 2, y: height - 5, "text-anchor": "middle" }, label)),
    ),
    h(
      "details",
      null,
      h("summary", null, "Numbers"),
      h(
        "table",
        { class: "compact" },
        h("thead", null, h("tr", null, h("td"), series.map(([name, label]) => h("th", { key: name, scope: "col", class: "num" }, label)))),
        h("tbody", null, points.map((point, index) => h("tr", { key: index }, h("th", { scope: "row" }, point.title ?? point.label), series.map(([name]) => h("td", { key: name, class: "num" }, number(point.values[name] ?? 0)))))),
      ),
    ),
  );
}

function column({ label, values, title }, series, { x, width, y }) {
  let sum = 0;
  const pieces = series.map(([name, text]) => {
    const value = values[name] ?? 0;
    const top = y(sum + value);
    const piece = h("rect", { key: name, class: `part-${name}`, x, width, y: top, height: Math.max(y(sum) - top, 0), rx: 1.5 }, h("title", null, `${title ?? label}: ${number(value)} ${text}`));
    sum += value;
    return piece;
  });
  return h("g", { key: `column-${x}` }, pieces);
}

/** The next of 2, 4, 10, 20, 40, 100 …: its half is a whole number too. */
function niceMost(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return Math.max(2, [1, 2, 4, 10].find((factor) => factor * power >= value) * power);
}
