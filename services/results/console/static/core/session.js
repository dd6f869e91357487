// Who is signed in. The session's cookie is not for scripts to see; what the API tells of it is.

import { keep, kept } from "./kept.js";
import { api, onSessionEnd, pageIsOf, request, startOver } from "./api.js";
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
  keep(MARK, true);
  others.postMessage("in");
  return session;
}

export const mayBeSignedIn = () => kept(MARK, false);

export async function signOut() {
  await api.delete("/session", { session: false });
  keep(MARK, null);
  others.postMessage("out");
  location.assign("/sign-in");
}

/** When the session is over in the middle of work, ask for a token over the page and let the work go on. */
export function keepSignedIn(session) {
  pageIsOf(session.tenant);
  onSessionEnd(() => {
    renewing ??= renewed(session).finally(() => (renewing = null));
    return renewing;
  });
  others.addEventListener("message", async ({ data }) => {
    if (data === "out") return location.assign("/sign-in");
    const now = await currentSession().catch(() => null);
    if (now) await goOnAs(now, session);
  });
}

/** What is shown stays right for another token of the tenant that may do the same; for any other it is shown anew. */
async function goOnAs(now, session) {
  if (now.tenant !== session.tenant || String(now.scopes) !== String(session.scopes)) await startOver();
  Object.assign(session, now);
}

async function renewed(session) {
  await goOnAs(await askToSignInAgain({ signIn, elsewhere: signedInElsewhere }), session);
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
