// Who is signed in. The session's cookie is not for scripts to see; what the API tells of it is.

import { api, onSessionEnd, request } from "./api.js";
import { askToSignInAgain } from "../parts/sign_in_again.js";

const others = new BroadcastChannel("penstock-session");
const MARK = "penstock-signed-in"; // a script cannot see the cookie; this says that there may be one
let renewing = null;

/** The session, or null. Throws a Problem where the API cannot say. */
export async function currentSession() {
  try {
    return await request("GET", "/session", { session: false });
  } catch (problem) {
    if (problem.status === 401) return null;
    throw problem;
  }
}

/** A session by a token: a JWT or an API key. Throws a Problem. */
export async function signIn(token) {
  const session = await request("POST", "/session", { body: { token: token.trim() }, session: false });
  localStorage.setItem(MARK, "yes");
  others.postMessage("in");
  return session;
}

export const mayBeSignedIn = () => localStorage.getItem(MARK) !== null;

export async function signOut() {
  await api.delete("/session", { session: false });
  localStorage.removeItem(MARK);
  others.postMessage("out");
  location.assign("/sign-in");
}

/** When the session is over in the middle of work, ask for a token over the page and let the work go on. */
export function keepSignedIn(session) {
  onSessionEnd(() => {
    renewing ??= renewed(session).finally(() => (renewing = null));
    return renewing;
  });
  others.addEventListener("message", ({ data }) => {
    if (data === "out") location.assign("/sign-in");
  });
}

async function renewed(before) {
  const again = await askToSignInAgain({ signIn, elsewhere: signedInElsewhere });
  // What is shown is another's.
  if (again.tenant !== before.tenant) location.reload();
}

/** Resolves with the session once another tab has signed in. */
function signedInElsewhere(signal) {
  return new Promise((resolve) => {
    const heard = async ({ data }) => {
      const session = data === "in" ? await currentSession().catch(() => null) : null;
      if (session) resolve(session);
    };
    others.addEventListener("message", heard, { signal });
  });
}
