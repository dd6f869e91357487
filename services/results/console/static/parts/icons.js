// Icons, 20 by 20, drawn with strokes of the text's colour. They say nothing that the text beside them does not.

import { h } from "../core/vdom.js";

const PATHS = {
  brand: "M5 4v12M15 4v12M5 5.5h10M7.5 5.5v5h5v-5M7 14.5q1.5-1.5 3 0t3 0",
  import: "M10 3v9m0 0-3.5-3.5M10 12l3.5-3.5M4 14v2.5h12V14",
  table: "M3.5 4.5h13v11h-13zM3.5 8.5h13M8 8.5v7",
  webhook: "M4 10h7m0 0L8 7m3 3-3 3M13 5h3v10h-3",
  search: "M9 14A5 5 0 1 0 9 4a5 5 0 0 0 0 10zM12.7 12.7 16.5 16.5",
  pulse: "M3 10h3.2l2-5 3.2 10 2-5H17",
  book: "M4 4.5h5a1.5 1.5 0 0 1 1 1.3V16a1.6 1.6 0 0 0-1.2-1H4zM16 4.5h-5a1.5 1.5 0 0 0-1 1.3V16a1.6 1.6 0 0 1 1.2-1H16z",
  contrast: "M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM10 3.5v13M12 5.5v9M14 7v6",
  leave: "M8 4H4v12h4M8.5 10H16m0 0-3-3m3 3-3 3",
  plus: "M10 4.5v11M4.5 10h11",
  close: "M5.5 5.5l9 9m0-9-9 9",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  warning: "M10 4 3.5 15.5h13zM10 8.5v3.2M10 13.6v.2",
  info: "M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM10 9.3v4M10 6.8v.2",
  copy: "M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3",
  download: "M10 3.5v8.5m0 0L6.5 8.5M10 12l3.5-3.5M4.5 16h11",
  up: "M10 15.5v-11m0 0L6 8.5m4-4 4 4",
  down: "M10 4.5v11m0 0 4-4m-4 4-4-4",
  left: "M12 4.5 6.5 10l5.5 5.5",
  right: "M8 4.5 13.5 10 8 15.5",
  pause: "M7.5 5v10M12.5 5v10",
  retry: "M15.5 8A6 6 0 1 0 16 11M16 4v4h-4",
  bin: "M4.5 6h11M8 6V4h4v2M6 6l.7 10h6.6L14 6",
  key: "M12.5 11a3.5 3.5 0 1 0-3.3-2.3L4 14v2.5h2.5v-2H9l1.3-3.7a3.5 3.5 0 0 0 2.2.2z",
  mute: "M4 8v4h2.5L10 15V5L6.5 8zM13 8l4 4m0-4-4 4",
};

export const icon = (name) =>
  h("svg", { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true" }, h("path", { d: PATHS[name] }));
