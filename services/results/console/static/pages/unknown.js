// An address without a page.

import { h } from "../core/vdom.js";
import { emptyState, pageHead } from "../parts/notice.js";

export function open() {
  return {
    title: "Not found",
    view: () => [pageHead("Not found"), emptyState({ title: "There is no such page", text: "The address may have been cut or mistyped.", action: h("a", { class: "button", href: "/imports" }, "To the imports") })],
  };
}
