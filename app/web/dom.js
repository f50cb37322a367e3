/**
 * Making elements without markup. Tags, ids and file names come from strangers, so nothing here (or anywhere on
 * the page) parses a string as HTML: children are nodes or plain text.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with attributes and children.
 * `attributes`: a `class`, `on*` functions as listeners, `false`/`null` left out, `true` as an empty attribute.
 */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svgElement(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  node.append(...children);
  return node;
}

/** One of the icons that the page holds, hidden from screen readers: the button around it has the name. */
export function icon(name) {
  return svgElement("svg", { "aria-hidden": "true" }, svgElement("use", { href: `#icon-${name}` }));
}

export const byId = (id) => document.getElementById(id);

export const percent = (share) => `${Math.round(share * 100)} %`;

/** Two decimals, and no "-0.00". */
export const decimal = (value) => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2);

export const prefersStillness = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Whether a key press is the browser's own: Alt and Left go a page back, Cmd and Left to the beginning of a line. */
export const isBrowsersOwn = ({ altKey, ctrlKey, metaKey }) => altKey || ctrlKey || metaKey;

/** A bar of two colours for a score; `fillBar` says how long they are. */
export function splitBar() {
  return element("span", { class: "split", role: "img" }, element("i", { class: "concept" }), element("i", { class: "visual" }));
}

/** `visual` and `conceptual` against `full`, the score of a full bar. */
export function fillBar(bar, visual, conceptual, full) {
  bar.setAttribute("aria-label", `Concept ${decimal(conceptual)}, visual ${decimal(visual)}`);
  const width = (value) => `${Math.min(100, (Math.max(0, value) / full) * 100).toFixed(1)}%`;
  bar.firstChild.style.width = width(conceptual);
  bar.lastChild.style.width = width(visual);
}
