// The page to sign in, by hand or by a link with the token behind `#`, which a browser keeps to itself. Who is signed in
// already is asked first: whoever sends the link may be anybody.

import { h, render } from "./vdom.js";
import { currentSession, mayBeSignedIn, signIn } from "./session.js";
import { field } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { problemNotice } from "../parts/notice.js";

let problem = null;
let busy = false;
let asked = null; // `{session, token}`: signed in already, and a link to sign in with another token

export function openSignIn() {
  document.title = "Sign in · Penstock";
  addEventListener("hashchange", () => location.hash && follow());
  follow();
}

/** Sign in by the link that the address is, if it is one. */
async function follow() {
  const token = location.hash.slice(1);
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (!token) return draw();
  const session = mayBeSignedIn() ? await currentSession().catch(() => null) : null;
  if (!session) return submit(token);
  asked = { session, token };
  draw();
}

async function submit(token) {
  if (busy) return;
  busy = true;
  problem = asked = null;
  draw();
  try {
    await signIn(token);
    location.replace(nextPage());
  } catch (error) {
    problem = error;
    busy = false;
    draw();
    document.querySelector("#token")?.focus();
  }
}

/** Where to go on: an address of this console and of nobody else. */
function nextPage() {
  const given = new URLSearchParams(location.search).get("next") ?? "/";
  const next = URL.canParse(given, location.origin) ? new URL(given, location.origin) : location;
  // A path that begins with two slashes would name a host.
  const isOurs = next.href.startsWith(`${location.origin}/`) && !next.pathname.startsWith("//");
  return isOurs && next.pathname !== "/sign-in" ? next.href : "/";
}

function draw() {
  render(
    document.body,
    h(
      "main",
      { class: "sign-in" },
      h("div", { class: "brand" }, icon("brand"), h("span", null, "Penstock")),
      h("h1", null, "Sign in"),
      asked ? choice(asked) : form(),
    ),
  );
}

function choice({ session, token }) {
  return [
    h("p", null, "You are signed in to ", h("strong", null, session.tenant), " already. This link signs in with a token of its own."),
    h("a", { class: "button primary wide", href: nextPage() }, `Stay in ${session.tenant}`),
    h("button", { class: "wide", onclick: () => submit(token) }, "Sign in with the link"),
  ];
}

function form() {
  const onsubmit = (event) => {
    event.preventDefault();
    submit(new FormData(event.target).get("token"));
  };
  return [
    h("p", { class: "muted" }, "With an API key, or a JWT of your organisation. ", h("code", null, "penstock up"), " prints a link that signs in."),
    h(
      "form",
      { onsubmit },
      problem && problemNotice(problem),
      field({ name: "token", label: "API key or token", type: "password", required: true, autocomplete: "current-password", autofocus: true }),
      h("button", { class: "primary wide", disabled: busy }, busy ? "Signing in …" : "Sign in"),
    ),
  ];
}
