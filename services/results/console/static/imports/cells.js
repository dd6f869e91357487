// Records as text: their cells, and which column of a dataset they are.

/** The values in the record at `start` of `text`, and its `end`. */
export function cellsOf(text, { delimiter, quote, escape }, start = 0) {
  const cells = [];
  for (let at = start; ; at += delimiter.length) {
    let value = "";
    if (quote && text[at] === quote) {
      for (at += 1; at < text.length; at += 1) {
        if (escape && text[at] === escape && (escape !== quote || text[at + 1] === quote)) at += 1;
        else if (text[at] === quote) break;
        value += text[at] ?? "";
      }
      at += 1;
    }
    while (at < text.length && !/[\r\n]/.test(text[at]) && !text.startsWith(delimiter, at)) value += text[at++];
    cells.push(value);
    if (!text.startsWith(delimiter, at)) return { cells, end: at + /^\r?\n?/.exec(text.slice(at, at + 2))[0].length };
  }
}

/** The names in a file's first line, split at whichever delimiter splits it most. */
export const namesIn = (text) =>
  [",", ";", "\t", "|"].map((delimiter) => cellsOf(text.trimStart(), { delimiter, quote: '"', escape: '"' }).cells).sort((one, other) => other.length - one.length)[0];

const asKey = (name) => name.toLowerCase().replaceAll(/[\s_-]+/g, "");

/** Where a dataset's columns are among `names`, by name or alias: name → place. */
export function columnsIn(names, { fields }) {
  const keys = names.map(asKey);
  const found = fields.filter(({ inFile }) => inFile).map(({ name, aliases }) => [name, keys.indexOf([name, ...aliases].map(asKey).find((each) => keys.includes(each)))]);
  return new Map(found.filter(([, place]) => place >= 0));
}

/** Titles of the columns that a file with these columns lacks. */
export function missingIn(columns, { fields, requiredAny }) {
  const needed = [...fields.filter(({ inFile, constraints }) => inFile && constraints.required).map(({ name }) => [name]), ...requiredAny];
  const title = (name) => fields.find((field) => field.name === name).title;
  return needed.filter((group) => !group.some((name) => columns.has(name))).map((group) => group.map(title).join(" or "));
}

/** The dataset whose columns `names` are, if they are those of one more than of any other; `last` decides a draw. */
export function datasetOf(names, datasets, last) {
  const scores = datasets.map((dataset) => {
    const columns = columnsIn(names, dataset);
    const named = [...columns].filter(([name, place]) => asKey(name) === asKey(names[place])); // not by alias
    return { name: dataset.name, score: missingIn(columns, dataset).length ? 0 : columns.size + named.length / 1000 };
  });
  const most = Math.max(...scores.map(({ score }) => score));
  const best = scores.filter(({ score }) => score && score === most).map(({ name }) => name);
  return best.length === 1 ? best[0] : best.find((name) => name === last);
}
