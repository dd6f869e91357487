// One upload by tus 1.0 (tus.io): whatever happens, it goes on where the server says that it stands.

import { api, Problem, request, unreachable } from "../core/api.js";
import { keep, kept } from "../core/kept.js";

const KEPT = "penstock-uploads"; // by fingerprint: the addresses of unfinished uploads
const MOST_KEPT = 20;
const TUS = { "Tus-Resumable": "1.0.0" };
const [LEAST_PIECE, MOST_PIECE] = [2 ** 18, 2 ** 24]; // a piece is as large as goes in about a second, so that progress is seen
const MOST_PIECES = 9000; // the server takes 10,000
const STALL_MS = 60_000;
const RETRY_SECONDS = [1, 2, 4, 8, 15, 30];
const UNREADABLE = { detail: "The file has changed since it was chosen, or cannot be read.", hint: "Choose it again." };
const PASSING = [404, 408, 410, 429, 460]; // 404 and 410: it has expired, and is begun anew

/** Keep where the upload is, should the page be loaded anew; without `url`: no longer. */
function remember({ print }, url) {
  const { [print]: before, ...others } = kept(KEPT, {});
  const all = Object.entries(url ? { ...others, [print]: url } : others).slice(-MOST_KEPT);
  keep(KEPT, Object.fromEntries(all));
}

/**
 * `source`: `{name, size, modified, slice(from, to)}`; `options`: fields of the API. `state`: queued, sending, waiting (for
 * the connection, or a limit), checking, paused, leaving (being cancelled), accepted, refused. One that was begun before
 * knows its `url`.
 */
export function newUpload(tenant, source, options) {
  const print = JSON.stringify([tenant, source.name, source.size, source.modified, Object.entries(options).sort()]);
  return { print, source, options, url: kept(KEPT, {})[print], state: "queued", offset: 0 };
}

/** Send until it is an import, or refused, or `upload.ending` aborts. `changed()` is called with each change. */
export async function send(upload, changed) {
  const { signal } = (upload.ending = new AbortController());
  const to = (state, problem) => signal.aborted || changed(Object.assign(upload, { state, problem }));
  for (let tries = 0; ; tries += 1) {
    const { offset } = upload;
    to("sending");
    try {
      upload.id = await sent(upload, to, signal);
      remember(upload);
      return to("accepted");
    } catch (error) {
      if (signal.aborted) return null;
      const problem = error instanceof Problem ? error : unreachable(); // such as a reload of the page
      if ([404, 410].includes(problem.status)) upload.url = null;
      else if (problem.status && problem.status < 500 && !PASSING.includes(problem.status) && problem.code !== "upload_offset_conflict") {
        remember(upload);
        return to("refused", problem);
      }
      if (upload.offset > offset) tries = 0;
      const seconds = problem.retryAfter ?? RETRY_SECONDS[Math.min(tries, RETRY_SECONDS.length - 1)];
      upload.nextTry = Date.now() + seconds * 1000;
      to("waiting", problem);
      await rest(seconds, signal);
    }
  }
}

/** Have the server throw away what it has of it; gives the id of the import where it has become one before. */
export async function remove(upload) {
  remember(upload);
  for (; upload.url; await rest(1)) {
    try {
      const { state, id } = await api.get(upload.url);
      if (state === "accepted") return id;
      if (state !== "checking") return await api.delete(upload.url, { headers: TUS });
    } catch (problem) {
      if (!problem.isAway && problem.code !== "upload_in_use") return null; // it has gone, or expires by itself
    }
  }
  return null;
}

async function sent(upload, to, signal) {
  const { source } = upload;
  const began = Date.now();
  let { headers } = await (upload.url ? request("HEAD", upload.url, { headers: TUS, signal, raw: true }) : create(upload, signal));
  let piece = 2 ** 20;
  const first = (upload.resumed = Number(headers.get("Upload-Offset")));
  for (;;) {
    const offset = (upload.offset = Number(headers.get("Upload-Offset")));
    upload.speed = ((offset - first) / (Date.now() - began)) * 1000;
    remember(upload, upload.url);
    if (headers.has("Penstock-Import")) return headers.get("Penstock-Import").split("/").at(-1);
    if (offset >= source.size) break;
    const body = await source.slice(offset, offset + Math.max(piece, Math.ceil(source.size / MOST_PIECES)));
    await body.slice(0, 1).arrayBuffer().catch(() => Promise.reject(new Problem(400, UNREADABLE)));
    to(offset + body.size < source.size ? "sending" : "checking");
    const at = Date.now();
    const options = { body, headers: { ...TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" } };
    ({ headers } = await request("PATCH", upload.url, { ...options, signal: AbortSignal.any([signal, AbortSignal.timeout(STALL_MS)]), raw: true }));
    const took = Date.now() - at;
    piece = Math.min(MOST_PIECE, Math.max(LEAST_PIECE, piece * (took < 500 ? 2 : took > 1500 ? 0.5 : 1)));
  }
  for (to("checking"); ; await rest(1, signal)) {
    const { state, problem, id } = await api.get(upload.url, {}, { signal });
    if (state === "refused") throw new Problem(422, problem);
    if (state === "accepted") return id;
  }
}

async function create(upload, signal) {
  const said = Object.entries({ filename: upload.source.name, ...upload.options }).map(([name, text]) => `${name} ${btoa(String.fromCharCode(...new TextEncoder().encode(text)))}`);
  const headers = { ...TUS, "Upload-Length": upload.source.size, "Upload-Metadata": said.join() };
  const answer = await api.post("/tus", undefined, { headers, signal, raw: true });
  upload.url = answer.headers.get("Location");
  return answer;
}

/** Some seconds, or less: until the browser is online again, or `signal`, if there is one, aborts. */
const rest = (seconds, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    addEventListener("online", resolve, { once: true, signal });
    signal?.addEventListener("abort", resolve);
  });
