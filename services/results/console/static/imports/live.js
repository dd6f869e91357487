// Imports as they go: what a page has loaded, brought up to date by their events.

import { duration, number, plural, words } from "../core/format.js";
import { follow } from "../core/live.js";
import { h } from "../core/vdom.js";

const SPEED_MS = 5000;

export const hasEnded = ({ status }) => status !== "pending" && status !== "processing";

/** Counts as parts of a bar. */
export const partsOf = (one) => ["inserted", "updated", "unchanged", "duplicate", "rejected"].map((name) => ({ name, label: words(name), value: one[`rows_${name}`] }));

/**
 * How many of its records have a row error: a duplicate has none where it is overwritten or ignored. `datasets`: as they
 * are declared, undefined before that is known; one that is not declared counts its duplicates, as the API does.
 */
export function rowErrorsIn({ dataset, rows_rejected: rejected, rows_duplicate: duplicate }, datasets) {
  const declared = datasets?.find(({ name }) => name === dataset);
  return rejected + (datasets && (declared?.onDuplicate ?? "reject") === "reject" ? duplicate : 0);
}

/**
 * Follow all imports; gives `now`, a function from an import, as it was loaded, to how it is now, with its `speed` in records
 * a second, and `ready`, a promise for when to load. `told(import)` is called with each event, `again()` when some may have
 * been missed since.
 */
export function liveImports(page, told, again) {
  const newest = new Map();
  const heard = (event) => {
    const before = newest.get(event.id);
    const now = { at: Date.now(), rows: event.rows_processed };
    const samples = [...(before?.run === event.run ? before.samples.filter(({ at }) => now.at - at < SPEED_MS) : []), now];
    newest.set(event.id, { ...event, samples, speed: ((now.rows - samples[0].rows) / (now.at - samples[0].at)) * 1000 });
    told(event);
    page.update();
  };
  const ready = page.may("imports:read") ? follow("/api/v1/imports/events", heard, page.signal, again) : Promise.resolve();
  const now = (loaded) => {
    const event = newest.get(loaded.id);
    const isOld = !event || event.run < loaded.run || (event.run === loaded.run && hasEnded(loaded));
    return isOld ? loaded : { ...loaded, ...event };
  };
  return { now, ready };
}

/** How far an import is that has not ended; `datasets` as above. */
export function progress(one, datasets) {
  const { rows_processed: done, rows_detected: all, speed, estimated_seconds_left: left, percent_complete: percent } = one;
  const errors = rowErrorsIn(one, datasets);
  const said = [`${Math.floor(percent)} %`, `${number(done)} of ${plural(all, "record")}`, speed > 0 && `${number(Math.round(speed))}/s`, left !== null && `${duration(left)} left`, errors > 0 && plural(errors, "row error")];
  return h("div", { class: "far" }, h("progress", { max: 100, value: percent, "aria-label": `Progress of ${one.file_name}` }), one.status === "pending" ? "Waits for its turn" : said.filter(Boolean).join(" · "));
}
