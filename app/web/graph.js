/**
 * The query's neighbourhood: the query in the middle, the pictures that the graph joins it to, and their tags.
 * Lines are SVG; nodes are real buttons in lists, so that keyboards and screen readers have them too.
 */
import { neighboursOf } from "./api.js";
import { element, icon, isBrowsersOwn, percent, svgElement } from "./dom.js";
import { layOut } from "./layout.js";
import { inWords } from "./state.js";
import { thumbnailOr } from "./thumbnail.js";

const WIDE = { images: 10, tags: 14 };
const NARROW = { images: 6, tags: 8 };
const NARROW_PX = 640;
const KEPT = 200;
const NOT_THERE = 404;
const NO_EDGES = { similar: [], tags: [] };
const QUERY = "query";
const imageKey = (id) => `image:${id}`;
const tagKey = (name) => `tag:${name}`;

export class Graph {
  #section;
  #listeners;
  #parts;
  /** Key → {element, data}: a node that stays is kept, and moves. */
  #nodes = new Map();
  #links = [];
  #edgesOf = new Map();
  #turn = 0;
  /** The [query, answer] that is drawn, or will be when its edges are there. */
  #asked = null;
  #width = 0;

  /** `section`: an empty element; `listeners`: {pick(id), tag(name)}. */
  constructor(section, listeners) {
    this.#section = section;
    this.#listeners = listeners;
    this.#parts = {
      lines: svgElement("svg", { class: "lines", "aria-hidden": "true" }),
      middle: element("div", { class: "middle" }),
      images: element("ul", { "aria-label": "Pictures next to the query" }),
      tags: element("ul", { "aria-label": "Tags around the query" }),
    };
    this.#parts.stage = element("div", { class: "stage" }, ...["lines", "middle", "images", "tags"].map((name) => this.#parts[name]));
    this.#parts.note = element("p", { class: "graph-note quiet" });
    section.append(this.#parts.stage, this.#parts.note);
    const { stage } = this.#parts;
    for (const name of ["pointerover", "focusin"]) stage.addEventListener(name, (event) => this.#trace(event.target));
    for (const name of ["pointerleave", "focusout"]) stage.addEventListener(name, () => this.#trace(null));
    stage.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => {
      const width = stage.clientWidth; // 0 while another view is shown
      if (this.#asked && width && width !== this.#width) void this.show(...this.#asked);
    }).observe(stage);
  }

  clear() {
    this.#turn += 1;
    this.#asked = null;
    this.#nodes.clear();
    this.#links = [];
    this.#parts.lines.replaceChildren();
    this.#parts.images.replaceChildren();
    this.#parts.tags.replaceChildren();
    this.#parts.middle.replaceChildren();
    this.#parts.note.textContent = "";
  }

  /** `answer`: to `query`, with `explain`. */
  async show(query, answer) {
    this.#turn += 1;
    const turn = this.#turn;
    this.#asked = [query, answer];
    const most = this.#parts.stage.clientWidth < NARROW_PX ? NARROW : WIDE;
    const near = nearest(answer, most.images);
    const edges = await Promise.all(near.map(({ id }) => this.#edges(id, answer.index_version)));
    if (turn !== this.#turn) return; // a newer answer is being drawn
    this.#draw(query, answer, near, edges, most);
  }

  /** What the graph knows around a picture; pictures without edges there stand alone. */
  async #edges(id, version) {
    const key = `${version} ${id}`;
    if (!this.#edgesOf.has(key)) {
      if (this.#edgesOf.size >= KEPT) this.#edgesOf.clear();
      this.#edgesOf.set(key, neighboursOf(id));
    }
    try {
      return await this.#edgesOf.get(key);
    } catch (error) {
      // Of a picture that came after the index, the same index will know no more; other faults may pass.
      if (error.status !== NOT_THERE) this.#edgesOf.delete(key);
      return NO_EDGES;
    }
  }

  #draw(query, answer, near, edges, most) {
    const ranks = new Map(answer.hits.map(({ id }, at) => [id, at + 1]));
    const own = new Map((answer.explain?.tags ?? []).map(({ name, weight }) => [name, weight]));
    const tags = tagsAround(own, near, edges, most.tags);
    this.#links = joins(own, near, edges, tags);
    const asked = new Set(query.tags.map(({ name }) => name.toLowerCase()));
    const known = this.#nodes;
    this.#nodes = new Map();
    this.#showMiddle(query);
    near.forEach((image, at) => this.#put(known, imageKey(image.id), () => this.#imageNode(image.id), (node) =>
      describeImage(node, image, ranks.get(image.id), edges[at].tags)));
    for (const tag of tags) {
      this.#put(known, tagKey(tag.name), () => this.#tagNode(tag.name), (node) => describeTag(node, tag, asked));
    }
    const focused = document.activeElement;
    const held = this.#section.contains(focused);
    this.#list(this.#parts.images, near.map(({ id }) => imageKey(id)));
    this.#list(this.#parts.tags, tags.map(({ name }) => tagKey(name)));
    this.#parts.note.textContent = near.some(({ joined }) => joined) || !near.length
      ? "Thicker lines join more closely. A number is the picture’s place among the results. Click a picture to go there, a tag to add it."
      : "Words alone have no pictures beside them in the graph: these are the first results. Click a picture to go there, a tag to add it.";
    this.#place();
    // Moving a node in the document takes the focus away from it; one that is gone leaves it to the nearest picture.
    if (held && focused !== document.activeElement) {
      const next = focused.isConnected ? focused : this.#section.querySelector(".node button");
      next?.focus({ preventScroll: true });
    }
    this.#oneStop();
  }

  #put(known, key, make, describe) {
    const node = known.get(key) ?? make();
    describe(node);
    this.#nodes.set(key, node);
  }

  /** Children in their order, without taking those out that stay: the focus and running moves live on. */
  #list(list, keys) {
    const wanted = keys.map((key) => this.#nodes.get(key));
    for (const child of [...list.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((node, at) => {
      if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
    });
  }

  #showMiddle(query) {
    const { image } = query;
    const { middle } = this.#parts;
    const showing = image ? image.key ?? image.id : "";
    if (middle.dataset.of !== showing || !middle.hasChildNodes()) {
      middle.dataset.of = showing;
      const picture = image ? (image.bytes ? element("img", { src: image.preview, alt: "" })
        : thumbnailOr(() => icon("picture"), image.id)) : icon("search");
      middle.replaceChildren(element("span", { class: "core" }, picture), element("span", { class: "core-name" }));
    }
    middle.lastChild.textContent = image ? "Your query" : inWords(query);
    this.#nodes.set(QUERY, middle);
  }

  #imageNode(id) {
    const button = element("button", { type: "button", tabindex: "-1", title: id, onclick: () => this.#listeners.pick(id) },
      thumbnailOr(() => element("span", { class: "no-picture" }, id), id), element("span", { class: "rank" }));
    return element("li", { class: "node image", "data-key": imageKey(id) }, button);
  }

  #tagNode(name) {
    const button = element("button", {
      type: "button",
      tabindex: "-1",
      title: name,
      onclick: () => {
        // One that is in the query already would lose its sign there.
        if (button.getAttribute("aria-disabled") !== "true") this.#listeners.tag(name);
      },
    }, name);
    return element("li", { class: "node tag", "data-key": tagKey(name) }, button);
  }

  /** Measures, lays out, moves every node to its place and draws the lines. */
  #place() {
    const { stage, lines } = this.#parts;
    this.#width = stage.clientWidth;
    const height = stage.clientHeight;
    const kind = (key) => (key === QUERY ? QUERY : key.slice(0, key.indexOf(":")));
    const boxes = [...this.#nodes].map(([key, node]) => ({ key, kind: kind(key), width: node.offsetWidth, height: node.offsetHeight }));
    const places = layOut(boxes, this.#links, this.#width, height);
    for (const box of boxes) {
      const { x, y } = places.get(box.key);
      this.#nodes.get(box.key).style.transform = `translate(${Math.round(x - box.width / 2)}px, ${Math.round(y - box.height / 2)}px)`;
    }
    lines.setAttribute("viewBox", `0 0 ${this.#width} ${height}`);
    lines.replaceChildren(...this.#links.map((link) => line(link, places, this.#width / 2, height / 2)));
  }

  /** The node under the pointer or the focus, its lines and what they lead to stand out. */
  #trace(target) {
    const key = target?.closest?.(".node")?.dataset.key;
    const { stage, lines } = this.#parts;
    stage.classList.toggle("tracing", key !== undefined);
    const lit = new Set(key === undefined ? [] : [key]);
    this.#links.forEach(({ from, to }, at) => {
      const on = from === key || to === key;
      lines.children[at]?.classList.toggle("lit", on);
      if (on) lit.add(from).add(to);
    });
    for (const [name, node] of this.#nodes) node.classList.toggle("lit", lit.has(name));
  }

  /** One stop for the Tab key; arrow keys go to the nearest node in their direction. */
  #oneStop(chosen = null) {
    const buttons = [...this.#section.querySelectorAll(".node button")];
    const stop = chosen ?? buttons.find((button) => button === document.activeElement) ?? buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
    for (const button of buttons) button.tabIndex = button === stop ? 0 : -1;
  }

  #key(event) {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const at = event.target.closest(".node button");
    if (!direction || !at || isBrowsersOwn(event)) return;
    event.preventDefault();
    const from = middleOf(at);
    let best = null;
    let least = Infinity;
    for (const button of this.#section.querySelectorAll(".node button")) {
      const to = middleOf(button);
      const [dx, dy] = [to.x - from.x, to.y - from.y];
      const along = dx * direction[0] + dy * direction[1];
      const aside = Math.abs(dx * direction[1]) + Math.abs(dy * direction[0]);
      if (button === at || along <= 0) continue;
      if (along + 2 * aside < least) [best, least] = [button, along + 2 * aside];
    }
    if (!best) return;
    this.#oneStop(best);
    best.focus();
  }
}

/** The pictures around the query, the closest first: those it is joined to, or else the first results. */
function nearest(answer, most) {
  const joined = answer.explain?.images ?? [];
  if (joined.length) return joined.slice(0, most).map(({ id, weight }) => ({ id, weight, joined: true }));
  return answer.hits.slice(0, most).map(({ id, score }) => ({ id, weight: Math.max(0, score), joined: false }));
}

/** The query's own tags, then those on most of the pictures around it: [{name, own, on}]. */
function tagsAround(own, near, edges, most) {
  const on = new Map([...own.keys()].map((name) => [name, 0]));
  edges.forEach(({ tags }) => tags.forEach(({ name }) => on.set(name, (on.get(name) ?? 0) + 1)));
  // A picture's first tag counts a little for how close the picture is, so that ties fall the same way every time.
  const closeness = new Map();
  near.forEach(({ weight }, at) => edges[at].tags.forEach(({ name }) =>
    closeness.set(name, Math.max(closeness.get(name) ?? 0, weight))));
  return [...on].map(([name, count]) => ({ name, own: own.get(name), on: count }))
    .sort((a, b) => (b.own !== undefined) - (a.own !== undefined) || b.on - a.on
      || (closeness.get(b.name) ?? 0) - (closeness.get(a.name) ?? 0) || (a.name < b.name ? -1 : 1))
    .slice(0, most);
}

/** All lines: [{from, to, kind, weight}], weights as shares of the strongest of their kind. */
function joins(own, near, edges, tags) {
  const shown = new Set(near.map(({ id }) => id));
  const named = new Set(tags.map(({ name }) => name));
  const most = Math.max(...near.map(({ weight }) => weight), 1e-9);
  const links = [];
  edges.forEach((edge, at) => {
    const { id } = near[at];
    for (const { id: other, weight } of edge.similar) {
      if (shown.has(other) && !links.some(({ from, to }) => from === imageKey(other) && to === imageKey(id))) {
        links.push({ from: imageKey(id), to: imageKey(other), kind: "similar", weight });
      }
    }
    for (const { name } of edge.tags) if (named.has(name)) links.push({ from: imageKey(id), to: tagKey(name), kind: "has", weight: 1 });
  });
  const loudest = Math.max(...[...own.values()].map(Math.abs), 1e-9);
  for (const [name, weight] of own) {
    if (named.has(name)) links.push({ from: QUERY, to: tagKey(name), kind: weight < 0 ? "against" : "asked", weight: Math.abs(weight) / loudest });
  }
  for (const { id, weight, joined } of near) {
    links.push({ from: QUERY, to: imageKey(id), kind: joined ? "joined" : "found", weight: weight / most });
  }
  return links;
}

function line({ from, to, kind, weight }, places, middleX, middleY) {
  const a = places.get(from);
  const b = places.get(to);
  // Lines between others bend a little towards the middle, so that they do not run through what stands between them.
  const bend = from === QUERY ? 0 : 0.18;
  const x = (a.x + b.x) / 2 + bend * (middleX - (a.x + b.x) / 2);
  const y = (a.y + b.y) / 2 + bend * (middleY - (a.y + b.y) / 2);
  const path = svgElement("path", { class: `line ${kind}`, d: `M${a.x} ${a.y}Q${x} ${y} ${b.x} ${b.y}` });
  if (from === QUERY) path.style.strokeWidth = `${(1.2 + 5 * Math.sqrt(Math.max(0, weight))).toFixed(2)}px`;
  return path;
}

function describeImage(node, { id, weight, joined }, rank, tags) {
  const button = node.firstChild;
  const badge = button.querySelector(".rank");
  badge.textContent = rank === undefined ? "" : String(rank);
  badge.hidden = rank === undefined;
  button.setAttribute("aria-label", [
    `${id}`,
    joined ? `joined at ${percent(weight)}` : "",
    rank === undefined ? "" : `result ${rank}`,
    tags.length ? `tags ${tags.slice(0, 5).map(({ name }) => name).join(", ")}` : "",
  ].filter(Boolean).join("; ") + ". Search with it");
}

function describeTag(node, { name, own, on }, asked) {
  const button = node.firstChild;
  const there = asked.has(name.toLowerCase());
  node.classList.toggle("own", own !== undefined && own >= 0);
  node.classList.toggle("against", own !== undefined && own < 0);
  button.setAttribute("aria-disabled", String(there));
  button.setAttribute("aria-label", [
    name, on ? `on ${on} of these pictures` : "", own === undefined ? "" : "joined to the query", there ? "in the query already" : "add it",
  ].filter(Boolean).join(", "));
}

function middleOf(node) {
  const { left, top, width, height } = node.getBoundingClientRect();
  return { x: left + width / 2, y: top + height / 2 };
}
