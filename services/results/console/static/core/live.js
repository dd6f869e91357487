// Live progress. A browser has six connections to one server for all tabs together, so a tab that is not seen lets go of its.

import { api } from "./api.js";

const AGAIN_SECONDS = 3;
const PATIENCE_MS = 300;

/**
 * Call `told(import)` with each event of the stream at `path` until `signal` aborts. Resolves once what it tells of may be
 * loaded: when the stream stands, as nothing is missed then, or after a moment without it. `again()` is called when it
 * stands after that, or after a break: the new one begins with what is happening then, so what was missed is to be loaded.
 */
export function follow(path, told, signal, again) {
  let source = null;
  let timer = null;
  let isReady = false;
  const { promise, resolve } = Promise.withResolvers();

  function ready() {
    isReady = true;
    resolve();
  }

  function open() {
    close();
    if (signal.aborted || document.hidden) return;
    source = new EventSource(path);
    source.onopen = () => (isReady ? again : ready)();
    source.addEventListener("import", (event) => told(JSON.parse(event.data)));
    source.onerror = () => {
      // An EventSource comes again by itself after a break, but not after an answer such as 401 or 503.
      if (source.readyState === EventSource.CLOSED) {
        timer = setTimeout(() => api.get("/session").then(open, open), AGAIN_SECONDS * 1000);
      }
    };
  }

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()), { signal });
  addEventListener("pagehide", close, { signal });
  signal.addEventListener("abort", close);
  open();
  setTimeout(ready, PATIENCE_MS);
  return promise;
}
