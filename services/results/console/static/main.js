// Where the console begins: signed in, its pages; not signed in, the page to sign in.

import { render } from "./core/vdom.js";
import { currentSession, keepSignedIn } from "./core/session.js";
import { openConsole } from "./core/shell.js";
import { openSignIn } from "./core/sign_in.js";
import { problemNotice } from "./parts/notice.js";

async function begin() {
  if (location.pathname === "/sign-in") return openSignIn();
  try {
    const session = await currentSession();
    if (!session) return location.replace(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
    keepSignedIn(session);
    return openConsole(session);
  } catch (problem) {
    return render(document.body, problemNotice(problem, () => location.reload()));
  }
}

begin();
