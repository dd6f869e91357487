// The public API, as any client calls it; the session's cookie goes along by itself.

const BASE = "/api/v1";
const AWAY = new Set([502, 503, 504]);

/** What the API refused, or that it could not be reached. `errors`: what is wrong with which field. */
export class Problem extends Error {
  constructor(status, document, headers = new Headers()) {
    super(document.detail || document.title || `The server answered ${status}`);
    this.status = status;
    this.code = document.code ?? "unknown";
    this.hint = document.hint ?? "";
    this.errors = document.errors ?? [];
    this.document = document;
    this.retryAfter = Number(headers.get("Retry-After")) || null; // seconds
    this.headers = headers;
  }

  /** Whether it may well go through a little later, with nothing changed. */
  get isAway() {
    return this.status === 0 || AWAY.has(this.status);
  }
}

export const unreachable = () =>
  new Problem(0, { code: "unreachable", detail: "Penstock does not answer.", hint: "Is it running, and are you online?" });

function brokenOff(error) {
  throw error.name === "AbortError" ? error : unreachable();
}

/** The problem in an answer; answers of proxies that are no problem details make one too. */
async function problemOf(response) {
  const document = await response.json().catch(() => ({}));
  return new Problem(response.status, typeof document === "object" && document ? document : {}, response.headers);
}

let signInAgain = async () => {
  throw new Error("not signed in");
};

/** `renew` is called when the session is over, and resolves when there is one again. */
export function onSessionEnd(renew) {
  signInAgain = renew;
}

let page = {}; // the header that says whose the page is: the cookie may be another's by now, as all tabs share it

export function pageIsOf(tenant) {
  page = { "Penstock-Tenant": encodeURIComponent(tenant) };
}

/** Show whoever is signed in now. Never resolves: what waits was meant for another. */
export function startOver() {
  // Uploads under way ask whether to stay, but they cannot go on here.
  addEventListener("beforeunload", (event) => event.stopImmediatePropagation(), { capture: true });
  location.reload();
  return new Promise(() => {});
}

/**
 * The parsed body of an answer (null where there is none; the response itself with `raw`).
 * `query`: values; null, "" and undefined are left out, an array is given once for each. Throws a Problem.
 */
export async function request(method, path, { query, body, headers, signal, raw = false, session = true } = {}) {
  const response = await fetch(urlOf(path, query), {
    method,
    headers: { ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...(session ? page : {}), ...headers },
    body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
    signal,
    credentials: "same-origin",
    cache: "no-store",
  }).catch(brokenOff);
  if (response.status === 401 && session) {
    await signInAgain();
    return request(method, path, { query, body, headers, signal, raw, session });
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    // A HEAD's answer has no body that would tell its code; there is no other reason for 409.
    const isAnothers = problem.code === "session_changed" || (method === "HEAD" && response.status === 409);
    throw isAnothers ? await startOver() : problem;
  }
  if (raw) return response;
  if (response.status === 204) return null;
  return response.json().catch(brokenOff);
}

/** The address of `path` (below /api/v1 unless it begins there already, as links in answers do) with `query`. */
export function urlOf(path, query = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") parameters.append(name, each);
    }
  }
  const text = parameters.toString();
  const whole = path.startsWith("/api/") || path.startsWith("/health/") ? path : BASE + path;
  return text ? `${whole}?${text}` : whole;
}

export const api = {
  get: (path, query, options) => request("GET", path, { query, ...options }),
  post: (path, body, options) => request("POST", path, { body, ...options }),
  patch: (path, body, options) => request("PATCH", path, { body, ...options }),
  delete: (path, options) => request("DELETE", path, options),
};
