// What a page loads: while it loads again, what was there stays to be seen; what is away is asked for again by itself.

import { api } from "./api.js";
import { number, plural } from "./format.js";
import { keepPlace, placeOf } from "./places.js";
import { speak } from "./spoken.js";

const RETRY_SECONDS = [1, 2, 4, 8, 15];

/**
 * Something loaded by `ask(signal)`, a function to a promise. `data` is null before the first answer; `problem` is that
 * of the last try. `update` is called with each change, until `signal` aborts.
 */
export class Loading {
  constructor(ask, { update, signal }) {
    this.ask = ask;
    this.update = update;
    this.signal = signal;
    this.data = null;
    this.problem = null;
    this.busy = false;
    this.tries = 0;
    this.current = null;
    this.timer = null;
    signal.addEventListener("abort", () => this.stop());
  }

  /** Ask, or ask anew; an answer that is still on its way is not waited for any more. Resolves when it is there. */
  async load() {
    this.stop();
    if (this.signal.aborted) return;
    const asking = (this.current = new AbortController());
    this.busy = true;
    this.update();
    try {
      const data = await this.ask(asking.signal);
      if (asking !== this.current) return;
      this.data = data;
      this.problem = null;
      this.tries = 0;
    } catch (error) {
      if (error.name === "AbortError" || asking !== this.current) return;
      this.problem = error;
      if (error.isAway) this.retryLater();
    }
    this.busy = false;
    this.update();
  }

  /** Whether it is being asked for, or will be by itself. */
  get isUnderWay() {
    return this.busy || this.timer !== null;
  }

  /** Ask anew, by the clock: not before what is on its way, or waits as it was told to. */
  async refresh() {
    if (!this.isUnderWay) await this.load();
  }

  retryLater() {
    const seconds = this.problem.retryAfter ?? RETRY_SECONDS[Math.min(this.tries, RETRY_SECONDS.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.load(), Math.min(seconds, 30) * 1000);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.current?.abort();
    this.current = null;
  }
}

/** A list of the API, page by page: `query()` gives its filters and order at the time of asking. */
export class Listing extends Loading {
  constructor(path, query, surroundings) {
    super((signal) => this.askPage(signal), surroundings);
    this.path = path;
    this.query = query;
    this.place = `list ${this.where}`;
    this.cursors = placeOf(this.place) ?? [null]; // of the pages up to this one
  }

  get where() {
    return typeof this.path === "function" ? this.path() : this.path;
  }

  async askPage(signal) {
    return api.get(this.where, { ...(await this.query()), cursor: this.cursors.at(-1) }, { signal });
  }

  get items() {
    return this.data?.items ?? [];
  }

  get isFirst() {
    return this.cursors.length === 1;
  }

  get hasNext() {
    return Boolean(this.data?.next_cursor);
  }

  /** From the first page on: what is asked for has changed. */
  restart() {
    return this.turnTo([null]);
  }

  next() {
    return this.hasNext ? this.turnTo([...this.cursors, this.data.next_cursor]) : null;
  }

  previous() {
    return this.isFirst ? null : this.turnTo(this.cursors.slice(0, -1));
  }

  async turnTo(cursors) {
    if (this.signal.aborted) return;
    this.cursors = cursors;
    keepPlace({ [this.place]: cursors });
    await this.load();
    if (this.isUnderWay || this.problem || this.signal.aborted) return;
    const { total } = this.data;
    const pages = !this.isFirst || this.hasNext;
    speak(this.items.length ? [pages && `Page ${this.cursors.length}`, plural(this.items.length, "result"), pages && typeof total === "number" && `${number(total)} in all`].filter(Boolean).join(", ") : "Nothing found");
  }
}
