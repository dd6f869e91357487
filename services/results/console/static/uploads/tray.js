// Uploads under way, at the edge of every page: they go on whichever page is open, one after another.

import { bytes, duration, h, icon, navigate, percent, render, say } from "../parts/all.js";
import { chooseUpload } from "./chooser.js";
import { newUpload, remove, send } from "./tus.js";

let tenant = "";
let uploads = [];
let root = null;

const isActive = ({ state }) => ["sending", "waiting", "checking"].includes(state);
const hasEnded = ({ state }) => state === "accepted" || state === "refused";

export function beginUploads({ session }) {
  if (!session.scopes.some((scope) => scope === "imports:write" || scope === "admin")) return;
  tenant = session.tenant;
  const sheet = document.createElement("div");
  sheet.className = "drop";
  sheet.popover = "manual"; // over dialogs too
  document.documentElement.append(sheet);
  render(sheet, icon("import"), "Drop to upload");
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    sheet.togglePopover(true);
  });
  addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || sheet.togglePopover(false));
  addEventListener("drop", (event) => {
    sheet.togglePopover(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    openUpload({ files: event.dataTransfer.files });
  });
  addEventListener("beforeunload", (event) => uploads.some(isActive) && event.preventDefault());
  setInterval(() => uploads.some(({ state }) => state === "waiting") && draw(), 1000);
}

/** Where uploads are shown. It draws itself: how far they are is nothing to the page. */
export const uploadTray = () => h("div", { ref: (element) => ((root = element), draw()) });

/** Ask which files to upload and how, as `chooseUpload`. */
export const openUpload = (asked) => chooseUpload({ begin, drop, ...asked });

/** Upload `sources` with these options of the API; gives the uploads. */
export function begin(sources, options) {
  const added = sources.map((source) => ({ ...newUpload(tenant, source, options), from: sources.length === 1 && location.pathname }));
  const others = uploads.filter(({ print, ending }) => !added.some((each) => each.print === print) || ending?.abort());
  uploads = [...others, ...added];
  goOn();
  return added;
}

function goOn() {
  const next = uploads.find(({ state }) => state === "queued");
  if (next && !uploads.some(isActive)) send(next, draw).then(() => ended(next));
  draw();
}

function ended(upload) {
  const { state, id, from, source } = upload;
  if (state === "accepted" && from === location.pathname) {
    drop(upload);
    navigate(`/imports/${id}`);
  } else if (state === "accepted") say(`${source.name} has arrived`);
  goOn();
}

function drop(upload) {
  uploads = uploads.filter((each) => each !== upload);
  draw();
}

function stop(upload, state) {
  upload.ending?.abort();
  upload.state = state;
  goOn();
}

function draw() {
  if (root) render(root, uploads.length > 0 && h("section", { class: "tray", "aria-label": "Uploads" }, uploads.map(entry)));
}

function entry(upload) {
  const { print, source, state, offset } = upload;
  const button = (label, sign, onclick) => h("button", { key: label, class: "quiet icon-only", title: label, "aria-label": label, onclick }, icon(sign));
  return h(
    "article",
    { key: print, "aria-label": source.name },
    h(
      "header",
      null,
      h("strong", { class: "grow brief", title: source.name }, source.name),
      (state === "sending" || state === "waiting") && button("Pause", "pause", () => stop(upload, "paused")),
      state === "paused" && button("Go on", "retry", () => stop(upload, "queued")),
      hasEnded(upload) ? button("Put away", "close", () => drop(upload)) : button("Cancel the upload", "close", () => (stop(upload, "refused"), remove(upload), drop(upload))),
    ),
    !hasEnded(upload) && h("progress", { max: source.size || 1, value: offset, "aria-label": `Sent of ${source.name}` }, percent(offset, source.size)),
    said(upload),
  );
}

function said(upload) {
  const { source, options, state, problem, offset, resumed, speed, id, nextTry } = upload;
  const far = `${bytes(offset)} of ${bytes(source.size)}${resumed > 0 ? `, went on at ${bytes(resumed)}` : ""}`;
  const again = duration(Math.max(0, Math.ceil((nextTry - Date.now()) / 1000)));
  const known = problem?.document.import_id;
  const once = (act) => () => (drop(upload), act());
  if (state === "queued") return "Begins when those before it have gone";
  if (state === "accepted") return h("a", { href: `/imports/${id}` }, "Open the import");
  if (state === "waiting" && problem.status === 429) return `${problem.message}. Begins by itself in ${again}.`;
  if (state === "waiting") return `${far} · waiting for the connection, next try in ${again}`;
  if (state === "sending") return [far, speed > 0 && `${bytes(speed)}/s, ${duration(Math.ceil((source.size - offset) / speed))} left`].filter(Boolean).join(" · ");
  if (state !== "refused") return `${far} · ${state}`;
  return h(
    "div",
    { role: "alert" },
    h("strong", null, problem?.message),
    h("p", null, problem?.hint),
    known && h("a", { class: "button", href: `/imports/${known}` }, "Open that import"),
    known
      ? h("button", { onclick: once(() => begin([source], { ...options, force: "true" })) }, "Import it all the same")
      : h("button", { onclick: once(() => openUpload({ sources: [source], options })) }, "Change and try again"),
  );
}
