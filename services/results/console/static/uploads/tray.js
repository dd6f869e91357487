// Uploads under way, at the edge of every page.

import { h } from "../core/vdom.js";

export function beginUploads() {}

export function uploadTray() {
  return h("div", { class: "tray" });
}
