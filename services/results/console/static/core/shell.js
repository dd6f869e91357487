// What is around every page: navigation, who is signed in, uploads under way, messages.

import { h, render } from "./vdom.js";
import { navigate, onNavigation, pageAt } from "./router.js";
import { watchDownloads } from "./downloads.js";
import { Loading } from "./loading.js";
import { allows, Page } from "./page.js";
import { comeBack, keepScrolling, settle } from "./places.js";
import { signOut } from "./session.js";
import { closeDialogs } from "../parts/dialog.js";
import { icon } from "../parts/icons.js";
import { problemNotice } from "../parts/notice.js";
import { say, sayProblem } from "../parts/toast.js";
import { nextTheme, theme } from "../parts/theme.js";
import { beginUploads, uploadTray } from "../uploads/tray.js";
import { unreachable } from "./api.js";

const TICK_SECONDS = 20; // relative times go on
// Each with the scopes of which one is needed to do anything there.
const SECTIONS = [
  ["imports", "Imports", "import", ["imports:read", "imports:write"]],
  ["records", "Records", "table", ["records:read", "imports:read", "imports:write"]],
  ["webhooks", "Webhooks", "webhook", ["webhooks:admin"]],
  ["investigations", "Investigations", "search", ["investigations:read"], ["suppliers", "jobs"]],
  ["system", "System", "pulse"],
];

let session = null;
let page = null; // the Page
let shown = null; // what its module gave, or that of the page before: {title, view}
let coming = null; // the Loading of its module, until that is there

/** Show the console to `signedIn`, beginning with the page of the present address. */
export function openConsole(signedIn) {
  session = signedIn;
  onNavigation(open);
  watchDownloads();
  keepScrolling();
  beginUploads({ session, redraw: draw });
  setInterval(() => document.hidden || draw(), TICK_SECONDS * 1000);
  open(false);
}

const sections = () => SECTIONS.filter(([, , , scopes]) => !scopes || allows(session, ...scopes));

function open(focus) {
  if (location.pathname === "/") return navigate(`/${sections()[0][0]}`, { replace: true });
  const found = pageAt(location.pathname);
  const next = new Page(found?.params ?? {}, session, draw);
  page?.end();
  closeDialogs();
  page = next;
  comeBack();
  const module = async () => {
    try {
      return await (found ? found.load() : import("../pages/unknown.js"));
    } catch {
      throw unreachable();
    }
  };
  const update = () => {
    if (coming.data) show(coming.data, focus);
    else draw();
  };
  coming = new Loading(module, { update, signal: next.signal });
  coming.load();
}

function show(module, focus) {
  coming = null;
  try {
    shown = module.open(page);
  } catch (error) {
    shown = wrong(error);
  }
  draw();
  if (focus) document.querySelector("main h1")?.focus({ preventScroll: true });
}

/** What is shown in place of a page that went wrong; the error is told as one that nobody caught. */
function wrong(error) {
  reportError(error);
  return { title: "Something went wrong", view: () => problemNotice(error) };
}

function draw() {
  if (shown) document.title = `${titleOf(shown)} · Penstock`;
  render(
    document.body,
    h("a", { class: "skip", href: "#main" }, "Skip to content"),
    h("div", { class: ["shell", coming && "coming"] }, sidebar(), h("main", { id: "main", tabindex: -1, "aria-busy": coming ? "true" : null }, content())),
    uploadTray(),
  );
  if (!coming) settle();
}

function content() {
  if (coming?.problem) return problemNotice(coming.problem, () => coming.load());
  if (!shown) return null;
  try {
    return shown.view();
  } catch (error) {
    shown = wrong(error);
    return shown.view();
  }
}

const titleOf = ({ title }) => (typeof title === "function" ? title() : title);

function sidebar() {
  const [, first] = location.pathname.split("/");
  return h(
    "header",
    { class: "sidebar" },
    h("a", { class: "brand", href: "/" }, icon("brand"), h("span", null, "Penstock")),
    h(
      "nav",
      { "aria-label": "Main" },
      sections().map(([name, label, sign, , also = []]) => {
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
