// When the session has ended in the middle of work: a token, and the work goes on.

import { h } from "../core/vdom.js";
import { dialogFrame, openDialog } from "./dialog.js";
import { field } from "./form.js";
import { problemNotice } from "./notice.js";

/** Resolves with the new session: by `signIn(token)`, or by `elsewhere(signal)`, another tab's. */
export function askToSignInAgain({ signIn, elsewhere }) {
  return openDialog(
    (dialog) => {
      let problem = null;
      let busy = false;
      elsewhere(dialog.signal).then((session) => dialog.close(session));
      const onsubmit = async (form) => {
        if (busy) return;
        [busy, problem] = [true, null];
        dialog.update();
        try {
          dialog.close(await signIn(new FormData(form).get("token")));
        } catch (error) {
          [busy, problem] = [false, error];
          dialog.update();
        }
      };
      return () =>
        dialogFrame(dialog, {
          title: "Your session has ended",
          onsubmit,
          body: [
            problem && problemNotice(problem),
            h("p", null, "Sign in again, and what you were doing goes on; for another tenant the page begins anew."),
            field({ name: "token", id: "token-again", label: "API key or token", type: "password", required: true, autocomplete: "current-password", autofocus: true }),
          ],
          actions: [h("button", { class: "primary", disabled: busy }, busy ? "Signing in …" : "Sign in")],
        });
    },
    { closable: false },
  );
}
