// Uploads under way, at the edge of every page: they go on whichever page is open, one after another.

import { bytes, duration, percent } from "../core/format.js";
import { navigate } from "../core/router.js";
import { h, render } from "../core/vdom.js";
import { icon } from "../parts/icons.js";
import { say } from "../parts/toast.js";
import { chooseUpload } from "./chooser.js";
import { newUpload, remove, send } from "./tus.js";

const SOON_MS = 5000; // who has waited no longer than that is taken to the import
// To screen readers; what becomes of it at its end is a message, or an alert.
const TOLD = { queued: "waits for those before it", sending: "is being sent", waiting: "waits, and goes on by itself", checking: "is being checked", paused: "paused", leaving: "is being cancelled" };

let tenant = "";
let uploads = [];
let news = "";
let root = null;

const UNDER_WAY = ["queued", "sending", "checking"];
const isActive = ({ state }) => ["sending", "waiting", "checking"].includes(state);
const hasEnded = ({ state }) => state === "accepted" || state === "refused";

export function beginUploads({ session }) {
  const mayWrite = session.scopes.some((scope) => scope === "imports:write" || scope === "admin");
  tenant = session.tenant;
  const sheet = document.createElement("div");
  sheet.className = "drop";
  sheet.popover = "manual"; // over dialogs too
  document.documentElement.append(sheet);
  render(sheet, icon("import"), "Drop to upload");
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    sheet.togglePopover(mayWrite);
  });
  addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || sheet.togglePopover(false));
  addEventListener("drop", (event) => {
    sheet.togglePopover(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault(); // or the browser would leave the console for the file
    if (mayWrite) openUpload({ files: event.dataTransfer.files });
    else say("You may not upload files", { kind: "bad", hint: "That takes a token with the scope imports:write." });
  });
  addEventListener("beforeunload", (event) => uploads.some(isActive) && event.preventDefault());
  setInterval(() => uploads.some(({ state }) => state === "waiting") && draw(), 1000);
}

/** Where uploads are shown. It draws itself: how far they are is nothing to the page. */
export const uploadTray = () => h("div", { ref: (element) => ((root = element), draw()) });

/** Ask which files to upload and how, as `chooseUpload`. */
export const openUpload = (asked) => chooseUpload({ tenant, begin, drop, ...asked });

/** Upload `sources` with these options of the API; gives the uploads: one that is on its way goes on. */
export function begin(sources, options) {
  const added = sources.map((source) => {
    const upload = { ...newUpload(tenant, source, options), from: sources.length === 1 && location.pathname, began: Date.now(), over: document.querySelector("dialog[open]") };
    return uploads.find(({ print, state }) => print === upload.print && UNDER_WAY.includes(state)) ?? upload;
  });
  const others = uploads.filter((upload) => !added.some(({ print }) => print === upload.print) || (!added.includes(upload) && upload.ending?.abort()));
  uploads = [...others, ...added];
  goOn();
  return added;
}

function goOn() {
  const next = uploads.find(({ state }) => state === "queued");
  if (next && !uploads.some(isActive)) send(next, draw).then(() => ended(next));
  draw();
}

async function ended(upload) {
  const { state, id, from, source, began, over } = upload;
  goOn();
  if (state !== "accepted") return;
  if (over?.open) await new Promise((closed) => over.addEventListener("close", closed, { once: true }));
  const isAwaited = from === location.pathname && Date.now() - began < SOON_MS && !document.querySelector("dialog[open]") && !document.activeElement?.matches("input, textarea, select");
  const open = () => (drop(upload), navigate(`/imports/${id}`));
  if (isAwaited) open();
  else say(`${source.name} has arrived`, { action: { label: "Open", go: open } });
}

function drop(upload) {
  uploads = uploads.filter((each) => each !== upload);
  draw();
}

async function cancel(upload) {
  stop(upload, "leaving");
  const id = await remove(upload);
  if (!id) return drop(upload);
  Object.assign(upload, { state: "accepted", id });
  say(`${upload.source.name} had arrived already`, { kind: "info", hint: "What is left of its import can be cancelled there." });
  draw();
}

function stop(upload, state) {
  upload.ending?.abort();
  upload.state = state;
  goOn();
}

function draw() {
  const changed = uploads.filter(({ state, told }) => state !== told);
  for (const upload of changed) upload.told = upload.state;
  if (changed.length) news = changed.filter(({ state }) => TOLD[state]).map(({ source, state }) => `${source.name}: ${TOLD[state]}`).join("; ");
  if (root) render(root, h("div", { role: "status", class: "hidden" }, news), uploads.length > 0 && h("section", { class: "tray", "aria-label": "Uploads" }, uploads.map(entry)));
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
      h("strong", { class: "grow clamp", title: source.name }, source.name),
      (state === "sending" || state === "waiting") && button("Pause", "pause", () => stop(upload, "paused")),
      state === "paused" && button("Go on", "retry", () => stop(upload, "queued")),
      hasEnded(upload) || state === "leaving" ? button("Put away", "close", () => drop(upload)) : button("Cancel the upload", "close", () => cancel(upload)),
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
  if (state === "leaving") return "Is being cancelled";
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
