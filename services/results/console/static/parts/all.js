// All that pages are put together from, at one address.

export * from "../core/api.js";
export * from "../core/format.js";
export * from "../core/router.js";
export * from "../core/vdom.js";
export * from "./dialog.js";
export * from "./form.js";
export * from "./icons.js";
export * from "./marks.js";
export * from "./notice.js";
export * from "./table.js";
export * from "./toast.js";
