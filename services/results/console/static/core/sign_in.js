// The page to sign in, by hand or by a link with the token behind `#`, which a browser keeps to itself.

import { h, render } from "./vdom.js";
import { signIn } from "./session.js";
import { field } from "../parts/form.js";
import { icon } from "../parts/icons.js";
import { problemNotice } from "../parts/notice.js";

let problem = null;
let busy = false;

export function openSignIn() {
  document.title = "Sign in · Penstock";
  const token = decodeURIComponent(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  draw();
  if (token) submit(token);
}

async function submit(token) {
  if (busy) return;
  busy = true;
  problem = null;
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
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  return next.origin === location.origin && next.pathname !== "/sign-in" ? next.pathname + next.search : "/";
}

function draw() {
  const onsubmit = (event) => {
    event.preventDefault();
    submit(new FormData(event.target).get("token"));
  };
  render(
    document.body,
    h(
      "main",
      { class: "sign-in" },
      h("div", { class: "brand" }, icon("brand"), h("span", null, "Penstock")),
      h("h1", null, "Sign in"),
      h("p", { class: "muted" }, "With an API key, or a JWT of your organisation. ", h("code", null, "penstock up"), " prints a link that signs in."),
      h(
        "form",
        { onsubmit },
        problem && problemNotice(problem),
        field({ name: "token", label: "API key or token", type: "password", required: true, autocomplete: "current-password", autofocus: true }),
        h("button", { class: "primary wide", disabled: busy }, busy ? "Signing in …" : "Sign in"),
      ),
    ),
  );
}
