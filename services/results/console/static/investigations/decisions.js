// What can be decided about investigations, one or many.

import { api } from "../core/api.js";
import { plural, words } from "../core/format.js";
import { h } from "../core/vdom.js";
import { confirm } from "../parts/dialog.js";
import { field, valuesOf } from "../parts/form.js";
import { say } from "../parts/toast.js";
import { note } from "./kit.js";

// What it is called when it is done, and in which states there is nothing to do by it.
const ACTIONS = {
  acknowledge: ["acknowledged", ["acknowledged", "resolved"]],
  resolve: ["resolved", ["resolved"]],
  mute: ["muted", []],
  reopen: ["reopened", ["open", "reopened"]],
  note: ["noted", []],
};

/** Buttons for what may be done with `found`; `after()` follows. */
export const decisions = (found, after) =>
  Object.entries(ACTIONS).map(([action, [, idle]]) => found.some(({ state }) => !idle.includes(state)) && h("button", { key: action, onclick: () => decide(found, action, after) }, words(action), " …"));

const decide = (found, action, after) =>
  confirm({
    title: `${words(action)} ${plural(found.length, "investigation")}`,
    action: words(action),
    body: (errors) => [
      action === "mute" && [
        h("p", null, "Errors are counted, but nobody is told of them until the mute ends. With neither of these, it is for good."),
        field({ name: "until", label: "Until", type: "datetime-local", optional: true, error: errors.until }),
        field({ name: "events", label: "Until so many more errors", type: "number", min: 1, optional: true, error: errors.events }),
      ],
      note(errors),
    ],
    async act(form) {
      const { until, events, note: said } = valuesOf(form);
      const { done, items } = await api.post("/investigations/actions", { ids: found.map(({ id }) => id), action, note: said || null, until: until ? new Date(until).toISOString() : null, events: Number(events) || null });
      if (done) say(`${plural(done, "investigation")} ${ACTIONS[action][0]}`);
      for (const { status, detail, hint } of items) if (status !== 200) say(detail, { kind: "bad", hint });
      await after();
    },
  });
