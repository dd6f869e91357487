// One import: live while it runs, then what became of it.

import { api } from "../core/api.js";
import { moment, number, plural, time } from "../core/format.js";
import { h } from "../core/vdom.js";
import { busyWhile } from "../parts/busy.js";
import { balanceBar } from "../parts/chart.js";
import { confirm } from "../parts/dialog.js";
import { badge } from "../parts/marks.js";
import { notice, pageHead, shown } from "../parts/notice.js";
import { say } from "../parts/toast.js";
import { about } from "../imports/about.js";
import { rowErrors } from "../imports/errors.js";
import { hasEnded, liveImports, partsOf, progress, rowErrorsIn } from "../imports/live.js";
import { begin, openUpload } from "../uploads/tray.js";

const UP = ["Imports", "/imports"];
const ERRORS_EVERY_MS = 2000;
const FINAL = ["too_many_rejected", "record_endless"]; // another run would end in the same way

/** The file that Penstock has, to be uploaded once more. */
const stored = ({ file_name: name, file_size: size, sha256: modified, links }) => ({
  name,
  size,
  modified,
  slice: async (from, to) => (await api.get(links.file, {}, { headers: { Range: `bytes=${from}-${to - 1}` }, raw: true })).blob(),
});

/** What was asked of the import, as fields of an upload. */
function askedOf({ dataset, source, corrects, options, dialect, explanation }) {
  const { escape, quote, start_line: skip_rows } = dialect;
  const signs = { ...dialect, skip_rows, escape: escape && escape === quote ? "doubled" : escape };
  const given = Object.fromEntries(explanation?.given.map((name) => [name, signs[name] === "" ? "none" : signs[name]]) ?? []);
  const fields = Object.entries({ dataset, data_source_name: source, corrects, ...options, ...given });
  return Object.fromEntries(fields.filter(([, value]) => value !== null && value !== false).map(([name, value]) => [name, String(value)]));
}

export function open(page) {
  const { id } = page.params;
  const mayWrite = page.may("imports:write");
  let receipt = null; // it stays as it is
  const { now, ready } = liveImports(page, told, () => detail.load());
  const detail = page.load(async (signal) => {
    await ready;
    const one = await api.get(`/imports/${id}`, {}, { signal });
    if (one.status === "completed") receipt ??= await api.get(one.links.receipt, {}, { signal });
    return { ...one, receipt };
  });
  const datasets = page.load((signal) => api.get("/datasets", {}, { signal }));
  const errors = rowErrors(page, id);
  let looked = 0;

  function told(one) {
    if (one.id !== id) return void (hasEnded(one) && mayCorrect(one) && correctedBy(one));
    if (hasEnded(one)) detail.load();
    else if (!rowErrorsIn(one, datasets.data?.items) || errors.busy || Date.now() - looked < ERRORS_EVERY_MS) return;
    looked = Date.now();
    errors.reload();
  }

  const mayCorrect = ({ dataset, dry_run: isDry, rows_processed: rows }) => detail.data?.errors_open > 0 && dataset === detail.data.dataset && !isDry && rows > 0;

  /** Load anew if it corrects this one; an event does not tell. */
  async function correctedBy(other) {
    const { corrects } = await api.get(`/imports/${other.id}`, {}, { signal: page.signal }).catch(() => ({}));
    if (corrects !== id && !detail.data.corrected_by.includes(corrects)) return; // nor a correction of it
    detail.load();
    errors.reload();
  }

  async function order(what, said) {
    await api.post(`/uploads/${id}/${what}`);
    say(said);
    await detail.load();
  }

  const cancel = ({ options, dry_run }) =>
    confirm({ title: "Cancel this import?", text: options.atomic || dry_run ? "Nothing of it will have been loaded." : "What is loaded already stays; the rest is not loaded.", action: "Cancel the import", leave: "Let it run", danger: true, act: () => order("cancel", "It is being cancelled") });

  function actions(one) {
    const { status, links, errors_open: open, file_removed_at: noFile, errors_removed_at: noErrors } = one;
    const button = (label, onclick, kind) => mayWrite && h("button", { key: label, class: kind, onclick }, label);
    const again = status === "cancelled" || FINAL.includes(one.error_code);
    return [
      !hasEnded(one) && button("Cancel", () => cancel(one)),
      again && !noFile && button("Upload it again", () => openUpload({ sources: [stored(one)], options: askedOf(one) }), "primary"),
      status === "failed" && !again && !noFile && !noErrors && button("Retry", busyWhile(() => order("retry", "It goes on where it stopped")), "primary"),
      !noFile && h("a", { class: "button", href: links.file, download: true }, "Original file"),
      open > 0 && !noErrors && h("a", { class: "button", href: links.errors_csv, download: true }, "errors.csv"),
      open > 0 && !noErrors && hasEnded(one) && !one.dry_run && !again && button("Upload the corrected file", () => openUpload({ corrects: one }), "primary"),
    ];
  }

  function remarks(one) {
    const { status, dry_run, rows_corrected: corrected, errors_open: open, file_removed_at: noFile, errors_removed_at: noErrors } = one;
    const load = !noFile && dry_run && status === "completed" && mayWrite && h("button", { class: "primary", onclick: () => begin([stored(one)], { ...askedOf(one), dry_run: "false" }) }, "Import it now");
    return [
      status === "failed" && notice("bad", one.error_message ?? "The import failed", FINAL.includes(one.error_code) ? "Mend the file or raise the limit, and upload it again." : noFile || noErrors ? "Upload the file again." : "Retry: it goes on where it stopped, and loads nothing twice."),
      status === "cancelled" && notice("warn", "This import was cancelled", `${plural(one.rows_inserted + one.rows_updated, "record")} of it had been loaded before.`),
      dry_run && !["failed", "cancelled"].includes(status) && notice("info", "A dry run: nothing was loaded", "The counts say what would happen.", load),
      corrected > 0 && notice("good", open ? `${plural(corrected, "record")} corrected since, ${number(open)} to go` : "All of its row errors are corrected"),
      noFile && notice("info", "Its file is not kept any more", time(noFile, moment)),
      noErrors && notice("info", "Its row errors are not kept any more, but for their numbers", time(noErrors, moment)),
      one.warnings.map(({ message }, index) => h("div", { key: index }, notice("warn", message))),
    ];
  }

  function balance(one) {
    const { status, receipt, rows_detected: all } = one;
    const parts = partsOf(one);
    const sum = parts.reduce((total, { value }) => total + value, 0);
    const said = status !== "completed" ? `It ended after ${number(sum)} of ${plural(all, "record")}.` : sum === receipt?.rows_read ? `${plural(sum, "record")} read, each of them counted once: the books balance.` : `${number(receipt?.rows_read)} records read, ${number(sum)} counted: the books do not balance.`;
    return h("section", { class: "card", "aria-label": "Balance" }, hasEnded(one) ? [balanceBar(parts, status === "completed" ? sum : all), h("p", { class: "muted" }, said)] : progress(one, datasets.data?.items));
  }

  // One head from the beginning on: it has the focus.
  function head(one) {
    if (!one) return pageHead("Import", { up: UP });
    const lead = [one.source, one.source && " · ", h("a", { href: `/records/${one.dataset}` }, one.dataset), " · ", time(one.uploaded_at), page.may("investigations:read") && [" · ", h("a", { href: `/investigations/queue?import_id=${id}` }, "investigations")]];
    const title = h("span", null, h("span", { class: "clamp", title: one.file_name }, one.file_name), badge(one.status), " ", one.dry_run && badge("dry run"));
    return pageHead(title, { up: UP, lead, actions: actions(one) });
  }

  function content(loaded) {
    const one = now(loaded);
    return [remarks(one), balance(one), errors.view(one), about(one, loaded.receipt)];
  }

  return { title: () => detail.data?.file_name ?? "Import", view: () => [head(detail.data && now(detail.data)), shown(detail, content)] };
}
