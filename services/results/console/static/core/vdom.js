// A page is a function from its state to nodes; what differs from what is shown is changed, the rest is left alone, so
// that focus, selection, scrolling and half-typed text stay. Text is text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";
const AS_PROPERTY = new Set(["value", "checked", "selected", "indeterminate", "muted"]);

/**
 * A node to be shown. `props`: attributes; `on…` handlers; `class` (falsy parts of an array are left out); `style` and
 * `dataset` as objects; `key` tells a node from its neighbours; `ref(element)` is called once it is in the document, and
 * may return what is to be called when it has gone. Children: nodes, text, numbers, arrays; null and false keep a place.
 */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: children.flat(Infinity), element: null, gone: null };
}

/** Show `nodes` in `container`, in place of what was rendered there before. */
export function render(container, ...nodes) {
  const next = nodes.flat(Infinity).map(asNode);
  const born = [];
  change(container, container.rendered ?? [], next, container.namespaceURI === SVG, born);
  container.rendered = next;
  for (const node of born) node.gone = node.props.ref(node.element) ?? null;
}

function asNode(child) {
  if (child !== null && typeof child === "object") return child;
  const text = child === null || child === undefined || child === false || child === true ? "" : String(child);
  return { tag: null, text, props: {}, children: [], element: null };
}

function change(parent, before, next, inSvg, born) {
  const keyed = new Map(before.filter((node) => node.key !== undefined).map((node) => [node.key, node]));
  const placed = before.filter((node) => node.key === undefined);
  const kept = new Set();
  const pairs = next.map((node) => {
    const old = node.key === undefined ? placed.shift() : keyed.get(node.key);
    if (!old || old.tag !== node.tag || kept.has(old)) return [node, null];
    kept.add(old);
    return [node, old];
  });
  for (const node of before) if (!kept.has(node)) remove(node);
  let place = parent.firstChild;
  for (const [node, old] of pairs) {
    if (old) update(node, old, inSvg, born);
    else create(node, inSvg, born);
    if (node.element === place) place = place.nextSibling;
    else parent.insertBefore(node.element, place);
  }
}

function create(node, inSvg, born) {
  if (node.tag === null) {
    node.element = document.createTextNode(node.text);
    return;
  }
  const svg = inSvg || node.tag === "svg";
  node.element = svg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  node.children = node.children.map(asNode);
  // Children first: a select takes a value only once it has the option.
  change(node.element, [], node.children, svg, born);
  for (const [name, value] of Object.entries(node.props)) set(node.element, name, value, undefined);
  if (node.props.ref) born.push(node);
}

function update(node, old, inSvg, born) {
  node.element = old.element;
  node.gone = old.gone;
  if (node.tag === null) {
    if (node.text !== old.text) node.element.data = node.text;
    return;
  }
  node.children = node.children.map(asNode);
  change(node.element, old.children, node.children, inSvg || node.tag === "svg", born);
  for (const name of Object.keys(old.props)) if (!(name in node.props)) set(node.element, name, undefined, old.props[name]);
  for (const [name, value] of Object.entries(node.props)) {
    if (value !== old.props[name]) set(node.element, name, value, old.props[name]);
  }
}

function remove(node) {
  forget(node);
  node.element.remove();
}

function forget(node) {
  node.gone?.();
  node.children.forEach(forget);
}

function set(element, name, value, old) {
  if (name === "key" || name === "ref") return;
  if (name.startsWith("on")) element[name] = value ?? null;
  else if (name === "class") setAttribute(element, "class", [value].flat().filter(Boolean).join(" ") || null);
  else if (name === "style") setStyle(element, value ?? {}, old ?? {});
  else if (name === "dataset") for (const [key, each] of Object.entries(value ?? {})) element.dataset[key] = each;
  // What is typed keeps the blank at its end: another word may follow.
  else if (name === "value" && String(element.value).trim() === value) return;
  else if (AS_PROPERTY.has(name)) element[name] = value ?? "";
  else setAttribute(element, name, value);
}

// Through the object model: a style attribute would need `unsafe-inline`.
function setStyle(element, value, old) {
  for (const name of Object.keys(old)) if (!(name in value)) element.style.removeProperty(name);
  for (const [name, each] of Object.entries(value)) element.style.setProperty(name, String(each));
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}
