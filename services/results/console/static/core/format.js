// Numbers, sizes and times as people read them. Times are in the browser's zone; the exact one is in the title.

import { h } from "./vdom.js";

const LOCALE = navigator.language;
const WORDS = navigator.languages.find((each) => each.startsWith("en")) ?? "en-GB"; // as all words here are English
const { hourCycle } = new Intl.DateTimeFormat(LOCALE, { hour: "numeric" }).resolvedOptions();
const WHOLE = new Intl.NumberFormat(LOCALE);
const RELATIVE = new Intl.RelativeTimeFormat(WORDS, { numeric: "auto" });
const DAY = new Intl.DateTimeFormat(WORDS, { day: "numeric", month: "short" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(WORDS, { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat(WORDS, { hour: "2-digit", minute: "2-digit", hourCycle });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

export const NONE = "–";

export const number = (value) => (value === null || value === undefined ? NONE : WHOLE.format(value));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export const percent = (part, whole) => (whole ? `${Math.floor((part / whole) * 1000) / 10} %` : NONE);

/** Bytes, in decimal units as disks and browsers count them. */
export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${unit && size < 9.95 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** Seconds as `45 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 10 && seconds % 1) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "d"], [Math.floor(whole / 3600) % 24, "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

/** `now`, `3 minutes ago`, `in 2 hours`; from a week on the date. */
function relative(value, now = Date.now()) {
  const seconds = (new Date(value) - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds > 5 ? "in a moment" : "just now";
  if (size >= 7 * 86400) return day(value);
  const [unit, each] = UNITS.find(([, length]) => size >= length) ?? UNITS.at(-1);
  return RELATIVE.format(Math.round(seconds / each), unit);
}

function day(value) {
  const date = new Date(value);
  return (date.getFullYear() === new Date().getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

/** A date without a time, `2026-11-22`, of nobody's zone. */
export const calendarDay = (value) => day(`${value}T12:00`);

/** The beginning of a local day, `2026-11-22`, some days later, as a moment in UTC; "" where there is none. */
export function midnight(text, later = 0) {
  const date = new Date(`${text}T00:00`);
  date.setDate(date.getDate() + later);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString(); // an address may hold anything
}

export const moment = (value) => `${day(value)}, ${CLOCK.format(new Date(value))}`;

/** The exact time: local, with its zone, and in UTC. */
function exact(value) {
  const date = new Date(value);
  return `${date.toLocaleString(WORDS, { dateStyle: "full", timeStyle: "long", hourCycle })}\n${date.toISOString()}`;
}

/** A time as people say it (`said`: relative or moment), the exact one on hover. */
export function time(value, said = relative) {
  if (!value) return NONE;
  return h("time", { datetime: value, title: exact(value), class: "nowrap" }, said(value));
}

/** `stock_code` → `Stock code` */
export const words = (name) => {
  const text = String(name).replaceAll(/[_-]+/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};
