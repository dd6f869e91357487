// To add a supplier, or to change the one at `path`.

import { api } from "../core/api.js";
import { plural } from "../core/format.js";
import { confirm } from "../parts/dialog.js";
import { checkbox, differing, field, valuesOf } from "../parts/form.js";
import { say } from "../parts/toast.js";

/** Resolves with the supplier. `given`: what is known of it. */
export const supplierForm = (given, path = null) =>
  confirm({
    title: path ? "Edit supplier" : "Add a supplier",
    action: path ? "Save" : "Add",
    body: (errors) => [
      !path && field({ name: "id", label: "Id", value: given.id, error: errors.id, hint: "What its files name as source, and events as supplier." }),
      field({ name: "name", label: "Name", value: given.name, error: errors.name }),
      field({ name: "partner", label: "Partner", value: given.partner, optional: true, error: errors.partner }),
      checkbox({ name: "enabled", label: "Files are expected", checked: given.enabled ?? true, hint: "If not, its silence is no error." }),
    ],
    async act(form) {
      const { partner, enabled, ...values } = valuesOf(form);
      const body = { ...values, partner: partner || null, enabled: Boolean(enabled) };
      const made = await (path ? api.patch(path, differing(body, given)) : api.post("/suppliers", body));
      say(made.released ? `Added, and ${plural(made.released, "event")} that waited logged` : "Saved");
      return made;
    },
  });
