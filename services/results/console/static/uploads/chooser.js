// The dialog to upload: which files, as what, and how.

import { api } from "../core/api.js";
import { bytes, plural } from "../core/format.js";
import { keep, kept } from "../core/kept.js";
import { h } from "../core/vdom.js";
import { confirm } from "../parts/dialog.js";
import { checkbox, field, valuesOf } from "../parts/form.js";
import { notice } from "../parts/notice.js";
import { columnsIn, datasetOf, missingIn, namesIn } from "../imports/cells.js";

const CHOSEN = "penstock-chosen"; // in localStorage, by tenant: the dataset of the upload before
const HEAD_BYTES = 65536;
const GZIP = [0x1f, 0x8b]; // its first bytes
const SETTLE_MS = 2000; // what is refused by then is said in the dialog
const DATE_ORDERS = [["", "As the file tells"], ["day-first", "Day first: 03/04 is 3 April"], ["month-first", "Month first: 03/04 is 4 March"]];

const sourceOf = (file) => ({ name: file.name, size: file.size, modified: file.lastModified, slice: async (from, to) => file.slice(from, to) });

/** The beginning of a file as text, unpacked; "" where it cannot be read. */
async function headOf(source) {
  try {
    const head = await source.slice(0, HEAD_BYTES);
    const first = new Uint8Array(await head.slice(0, GZIP.length).arrayBuffer());
    if (!GZIP.every((byte, index) => first[index] === byte)) return await head.text();
    // What comes first is enough: it is cut off, which is an error at its end.
    const { value } = await head.stream().pipeThrough(new DecompressionStream("gzip")).getReader().read();
    return new TextDecoder().decode(value);
  } catch {
    return "";
  }
}

let takeMore = null; // of the open dialog: what is dropped is for it

/**
 * `files`, or `sources`, to be uploaded to `tenant`, if that is known; `corrects`: the import that they correct.
 * `begin(sources, options)` gives the uploads; `drop(upload)` puts one away that was refused here.
 */
export function chooseUpload({ files = [], sources = [...files].map(sourceOf), options = {}, corrects = null, tenant, begin, drop }) {
  if (takeMore) return takeMore(sources);
  const chosen = `${CHOSEN} ${tenant}`;
  const last = kept(chosen, "");
  let datasets = [];
  let known = []; // sources
  let names = null; // in the first line
  let dataset = corrects?.dataset ?? options.dataset ?? last;
  let isSet = Boolean(corrects || options.dataset);
  let again = null; // the import of the same bytes
  let settled = null; // once it is known what the files are
  let dialog = { update() {} };

  takeMore = (given) => {
    [sources, again] = [given, null];
    dialog.forget?.(); // what was wrong with the files before
    settled = look();
  };

  async function look() {
    const given = sources;
    const head = given.length ? await headOf(given[0]) : "";
    if (given !== sources) return;
    names = head ? namesIn(head) : null;
    if (names && datasets.length && !isSet) dataset = datasetOf(names, datasets, last) ?? "";
    dialog.update();
  }

  async function load(signal) {
    ({ items: datasets } = await api.get("/datasets", {}, { signal }));
    await (settled = look());
    return datasets;
  }

  api.get("/imports", { limit: 100 }).then(({ items }) => (known = [...new Set(items.map(({ source }) => source).filter(Boolean))]), () => {});

  async function act(form) {
    await settled;
    if (!form.reportValidity()) return false;
    const { files: _, max_rejected_share: share, ...values } = valuesOf(form);
    const fields = { ...values, max_rejected_share: share && String(share / 100), corrects: corrects?.id, force: again ? "true" : values.force };
    keep(chosen, dataset);
    const [first, ...others] = begin(sources, Object.fromEntries(Object.entries(fields).filter(([, value]) => value)));
    for (const until = Date.now() + SETTLE_MS; Date.now() < until && !others.length && ["sending", "checking"].includes(first.state); ) await new Promise((go) => setTimeout(go, 50));
    if (first.state !== "refused" || others.length || dialog.signal.aborted) return true; // else the tray says it
    drop(first);
    again = first.problem.document.import_id;
    throw first.problem;
  }

  const body = (errors, opened) => {
    dialog = opened;
    const declared = datasets.find(({ name }) => name === dataset);
    const missing = names && declared ? missingIn(columnsIn(names, declared), declared) : [];
    return [
      again && h("a", { href: `/imports/${again}`, onclick: () => dialog.close() }, "Open that import"),
      corrects && h("p", null, "It is the errors.csv of ", h("strong", null, corrects.file_name), ", corrected, with all of its columns. Records that are loaded close their row errors."),
      field({ name: "files", label: "Files", type: "file", multiple: !corrects, required: !sources.length, hint: sources.length ? null : "CSV in any dialect, also packed by gzip. You can drop it anywhere, too.", onchange: ({ target }) => takeMore([...target.files].map(sourceOf)) }),
      h("ul", { class: "files" }, sources.map(({ name, size }, index) => h("li", { key: index }, h("span", { class: "grow clamp", title: name }, name), bytes(size)))),
      !corrects && field({ name: "dataset", label: "Dataset", type: "select", required: true, value: dataset, options: [["", "Choose what it is"], ...datasets.map(({ name, title }) => [name, title])], onchange: ({ target }) => ([dataset, isSet] = [target.value, true], dialog.update()) }),
      missing.length > 0 && notice("warn", `The first line is not that of ${declared.title}`, `It names no column for ${missing.join(", ")}. Names that come further down are found.`),
      field({ name: "data_source_name", label: "Source", optional: true, list: "sources", maxlength: 255, hint: "Who sends it: a partner, a supplier.", value: options.data_source_name ?? corrects?.source ?? "" }),
      h("datalist", { id: "sources" }, known.map((each) => h("option", { key: each, value: each }))),
      checkbox({ name: "dry_run", label: "Dry run", hint: "Only say what would happen; load nothing.", value: "true", checked: options.dry_run === "true" }),
      checkbox({ name: "atomic", label: "All at once", hint: "Nothing of it is seen before all of it is loaded.", value: "true", checked: options.atomic === "true" }),
      h(
        "details",
        null,
        h("summary", null, "More"),
        h(
          "div",
          { class: "form" },
          field({ name: "max_rejected", label: "Most records with row errors", type: "number", min: 0, hint: "With more of them the import fails, and nothing is loaded.", value: options.max_rejected ?? "" }),
          field({ name: "max_rejected_share", label: "The same in percent", type: "number", step: "any", min: 0, max: 100, value: options.max_rejected_share ? options.max_rejected_share * 100 : "" }),
          field({ name: "date_order", label: "Dates such as 03/04/2026", type: "select", options: DATE_ORDERS, value: options.date_order ?? "" }),
          checkbox({ name: "force", label: "Also if the same file was imported before", value: "true" }),
        ),
      ),
    ];
  };
  const title = corrects ? "Upload the corrected file" : sources.length > 1 ? `Upload ${plural(sources.length, "file")}` : "Upload a file";
  return confirm({ title, load, body, act, action: () => (again ? "Import it all the same" : "Upload") }).finally(() => (takeMore = null));
}
