// What a page works with. A page module exports `open(page)`, which returns `{title, view}`: `title` is text or gives text,
// `view()` gives the nodes. It is asked anew after each `update()`. All a page started ends with its `signal`.

import { Listing, Loading } from "./loading.js";

/** Whether a session has one of these scopes. */
export const allows = ({ scopes }, ...wanted) => ["admin", ...wanted].some((each) => scopes.includes(each));

export class Page {
  constructor(params, session, redraw) {
    this.params = params;
    this.query = new URLSearchParams(location.search);
    this.session = session;
    this.ending = new AbortController();
    this.signal = this.ending.signal;
    this.drawing = false;
    this.update = () => {
      if (this.drawing || this.signal.aborted) return;
      this.drawing = true;
      // Not in the next frame: a tab in the background has none.
      queueMicrotask(() => {
        this.drawing = false;
        if (!this.signal.aborted) redraw();
      });
    };
  }

  /** Load by `ask(signal)`, beginning now. */
  load(ask) {
    const loading = new Loading(ask, this);
    loading.load();
    return loading;
  }

  /**
   * A list of the API, page by page, beginning now, or with `ready`, a promise; `path` may be a function, `query()` gives
   * filters and order.
   */
  list(path, query = () => ({}), ready = null) {
    const listing = new Listing(path, query, this);
    if (ready) ready.then(() => listing.refresh());
    else listing.load();
    return listing;
  }

  /** Whether the session has `scope`; without it the API would answer 403. */
  may(scope) {
    return allows(this.session, scope);
  }

  /** Put filters into the address, where a reload and a colleague find them; an empty value takes one out. */
  setQuery(values) {
    if (this.signal.aborted) return; // the address is another page's
    for (const [name, value] of Object.entries(values)) {
      this.query.delete(name);
      for (const each of [value ?? ""].flat()) if (each !== "") this.query.append(name, each);
    }
    const text = this.query.toString();
    history.replaceState(history.state, "", location.pathname + (text ? `?${text}` : ""));
    this.update();
  }

  /** Call `tick` every so many seconds while the tab is seen, and once what it promised before has ended. */
  every(seconds, tick) {
    let isGoing = false;
    const timer = setInterval(async () => {
      if (document.hidden || isGoing) return;
      isGoing = true;
      try {
        await tick();
      } finally {
        isGoing = false;
      }
    }, seconds * 1000);
    this.signal.addEventListener("abort", () => clearInterval(timer));
  }

  end() {
    this.ending.abort();
  }
}
