// What is around every page: navigation, who is signed in, uploads under way, messages.

import { h, render } from "./vdom.js";
import { navigate, onNavigation, pageAt } from "./router.js";
import { Page } from "./page.js";
import { signOut } from "./session.js";
import { icon } from "../parts/icons.js";
import { problemNotice } from "../parts/notice.js";
import { say, sayProblem } from "../parts/toast.js";
import { nextTheme, theme } from "../parts/theme.js";
import { beginUploads, uploadTray } from "../uploads/tray.js";
import { unreachable } from "./api.js";

const TICK_SECONDS = 20; // relative times go on
const SECTIONS = [
  ["imports", "Imports", "import", []],
  ["records", "Records", "table", []],
  ["webhooks", "Webhooks", "webhook", []],
  ["investigations", "Investigations", "search", ["suppliers", "jobs"]],
  ["system", "System", "pulse", []],
];

let session = null;
let page = null; // the Page
let shown = null; // what its module gave: {title, view}
let failure = null; // why its module is not there
let coming = false; // another page's module is on its way

/** Show the console to `signedIn`, beginning with the page of the present address. */
export function openConsole(signedIn) {
  session = signedIn;
  onNavigation(open);
  beginUploads({ session, redraw: draw });
  setInterval(() => document.hidden || draw(), TICK_SECONDS * 1000);
  if (location.pathname === "/") navigate("/imports", { replace: true });
  else open(false);
}

async function open(focus) {
  const found = pageAt(location.pathname);
  const next = new Page(found?.params ?? {}, session, draw);
  page?.end();
  page = next;
  coming = true;
  draw();
  let module = null;
  let trouble = null;
  try {
    module = found ? await found.load() : await import("../pages/unknown.js");
  } catch {
    trouble = unreachable();
  }
  if (page !== next) return;
  coming = false;
  failure = trouble;
  shown = module ? module.open(next) : null;
  draw();
  scrollTo(0, 0);
  if (focus) document.querySelector("main h1")?.focus({ preventScroll: true });
}

function draw() {
  if (shown) document.title = `${titleOf(shown)} · Penstock`;
  render(
    document.body,
    h("a", { class: "skip", href: "#main" }, "Skip to content"),
    h("div", { class: ["shell", coming && "coming"] }, sidebar(), h("main", { id: "main", tabindex: -1, "aria-busy": coming ? "true" : null }, content())),
    uploadTray(),
  );
}

function content() {
  if (failure) return problemNotice(failure, () => open(false));
  if (!shown) return null;
  return shown.view();
}

const titleOf = ({ title }) => (typeof title === "function" ? title() : title);

function sidebar() {
  const [, first] = location.pathname.split("/");
  return h(
    "header",
    { class: "sidebar" },
    h("a", { class: "brand", href: "/imports" }, icon("brand"), h("span", null, "Penstock")),
    h(
      "nav",
      { "aria-label": "Main" },
      SECTIONS.map(([name, label, sign, also]) => {
        const here = first === name || also.includes(first);
        return h("a", { key: name, href: `/${name}`, "aria-current": here ? "page" : null }, icon(sign), h("span", null, label));
      }),
    ),
    h(
      "div",
      { class: "account" },
      h("div", { class: "who" }, h("strong", { title: session.tenant }, session.tenant), h("span", { title: session.subject }, session.subject)),
      h("a", { class: "button quiet icon-only", href: "/docs", title: "API documentation", "aria-label": "API documentation" }, icon("book")),
      h("button", { class: "quiet icon-only", title: `Appearance: ${theme()}`, "aria-label": `Appearance: ${theme()}`, onclick: changeTheme }, icon("contrast")),
      h("button", { class: "quiet icon-only", title: "Sign out", "aria-label": "Sign out", onclick: leave }, icon("leave")),
    ),
  );
}

function changeTheme() {
  say(`Appearance: ${nextTheme()}`);
  draw();
}

async function leave() {
  try {
    await signOut();
  } catch (problem) {
    sayProblem(problem);
  }
}
