// Live progress. A browser has six connections to one server for all tabs together, so a tab that is not seen lets go of its.

import { api } from "./api.js";

const AGAIN_SECONDS = 3;

/**
 * Call `told(import)` with each event of the stream at `path` until `signal` aborts. `state(connected)` is told whether
 * the stream stands. After a break, or when the tab is seen again, it goes on behind the last event.
 */
export function follow(path, told, signal, state = () => {}) {
  let source = null;
  let timer = null;

  function open() {
    close();
    if (signal.aborted || document.hidden) return;
    source = new EventSource(path);
    source.onopen = () => state(true);
    source.addEventListener("import", (event) => told(JSON.parse(event.data)));
    source.onerror = () => {
      state(false);
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
  return close;
}
