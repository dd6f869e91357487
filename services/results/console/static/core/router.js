// Addresses and the pages behind them. A page's module comes when it is first opened.

import { keepScroll } from "./places.js";

const PAGES = [
  ["/imports", () => import("../pages/imports.js")],
  ["/imports/:id", () => import("../pages/import.js")],
  ["/records", () => import("../pages/datasets.js")],
  ["/records/:dataset", () => import("../pages/records.js")],
  ["/webhooks", () => import("../pages/webhooks.js")],
  ["/webhooks/:id", () => import("../pages/webhook.js")],
  ["/webhooks/:id/deliveries/:delivery", () => import("../pages/delivery.js")],
  ["/investigations", () => import("../pages/morning.js")],
  ["/investigations/queue", () => import("../pages/investigations.js")],
  ["/investigations/:id", () => import("../pages/investigation.js")],
  ["/suppliers", () => import("../pages/suppliers.js")],
  ["/suppliers/:id", () => import("../pages/supplier.js")],
  ["/jobs", () => import("../pages/jobs.js")],
  ["/jobs/:job", () => import("../pages/job.js")],
  ["/system", () => import("../pages/system.js")],
];

/** The page at `path`: `{load, params}`, or null where there is none. */
export function pageAt(path) {
  const segments = path.split("/");
  for (const [pattern, load] of PAGES) {
    const params = matched(pattern.split("/"), segments);
    if (params) return { load, params };
  }
  return null;
}

function matched(pattern, segments) {
  if (pattern.length !== segments.length) return null;
  const params = {};
  for (const [index, part] of pattern.entries()) {
    if (!part.startsWith(":")) {
      if (part !== segments[index]) return null;
      continue;
    }
    if (!segments[index]) return null;
    try {
      params[part.slice(1)] = decodeURIComponent(segments[index]);
    } catch {
      return null;
    }
  }
  return params;
}

let opened = () => {};

/** Call `open(focus)` whenever there is another page to be shown. */
export function onNavigation(open) {
  opened = open;
  addEventListener("popstate", () => opened(false));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (!pageAt(link.pathname) && link.pathname !== "/") return;
    event.preventDefault();
    if (link.hash && link.href.split("#")[0] === location.href.split("#")[0]) document.getElementById(link.hash.slice(1))?.focus();
    else navigate(link.pathname + link.search);
  });
}

/** Go to an address of the console. `replace`: without a step in the history. */
export function navigate(address, { replace = false } = {}) {
  keepScroll();
  history[replace ? "replaceState" : "pushState"](null, "", address);
  opened(true);
}

/** The address of a page: each of `segments` as it is, `query` without what is empty. */
export function address(segments, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const parameters = new URLSearchParams();
  for (const [name, value] of given) for (const each of [value].flat()) parameters.append(name, each);
  const text = parameters.toString();
  return `/${segments.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}
