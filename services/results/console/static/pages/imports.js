// The list of imports.

import { pageHead } from "../parts/notice.js";

export function open() {
  return { title: "Imports", view: () => [pageHead("Imports")] };
}
