// Links to files of the API. The browser asks for them by itself and says nothing of what was refused, so ask before whether
// the session still is: if not, it is renewed as for any request.

import { api } from "./api.js";
import { sayProblem } from "../parts/toast.js";

export function watchDownloads() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[download]");
    if (!link?.pathname.startsWith("/api/") || event.defaultPrevented) return;
    event.preventDefault();
    const { href, download } = link; // it may be another's once the answer is there
    try {
      await api.get("/session");
    } catch (problem) {
      return sayProblem(problem);
    }
    const again = Object.assign(document.createElement("a"), { href, download });
    again.toggleAttribute("download", true);
    again.click();
  });
}
