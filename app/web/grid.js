/**
 * The results. Cards are kept by id, so that a re-ranking moves them instead of loading them again; each move is
 * animated from where the card was (measured before, played back after), unless the user asked for less motion or
 * orders follow each other faster than cards can glide: under a dial that is being dragged they go straight there.
 */
import { isolated } from "./bidi.js";
import { decimal, element, fillBar, isBrowsersOwn, prefersStillness, splitBar } from "./dom.js";
import { thumbnailOr } from "./thumbnail.js";

const GLIDE = { duration: 240, easing: "cubic-bezier(.2, .7, .2, 1)" };

export class Grid {
  #list;
  #cards = new Map();
  #listeners;
  #glides = [];
  #shownAt = -Infinity;

  /** `list`: the ul; `listeners`: {pick(hit), why(hit), lean(hit, negated)}. */
  constructor(list, listeners) {
    this.#list = list;
    this.#listeners = listeners;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => this.#mark(event.target.closest("li")));
  }

  clear() {
    this.#cards.clear();
    this.#list.replaceChildren();
  }

  get isEmpty() {
    return this.#cards.size === 0;
  }

  /** Puts the focus on the result at `index`; `options` as an element's own focus() has them. */
  focus(index, options = {}) {
    this.#list.children[index]?.querySelector(".pick").focus(options);
  }

  /** Grey tiles until the first answer comes. */
  showWaiting(count) {
    if (!this.isEmpty) return;
    this.#list.replaceChildren(...Array.from({ length: count }, () =>
      element("li", { class: "card waiting", "aria-hidden": "true" }, element("span", { class: "tile" }))));
  }

  show(hits) {
    const straight = prefersStillness() || performance.now() - this.#shownAt < GLIDE.duration;
    const before = straight ? null : this.#places();
    // The longest bar is the best score; bars never show more than a score of one.
    const full = Math.max(0.05, ...hits.map((hit) => Math.max(0, hit.visual) + Math.max(0, hit.conceptual)));
    const cards = new Map();
    hits.forEach((hit, rank) => {
      const card = this.#cards.get(hit.id) ?? this.#card(hit.id);
      this.#fill(card, hit, rank, full);
      cards.set(hit.id, card);
    });
    const focused = document.activeElement;
    const place = [...this.#list.children].findIndex((card) => card.contains(focused));
    this.#cards = cards;
    this.#arrange([...cards.values()].map((card) => card.node));
    if (place >= 0 && focused !== document.activeElement) this.#refocus(focused, place);
    const marked = this.#list.querySelector("li.marked") ?? this.#list.firstElementChild;
    if (marked) this.#mark(marked);
    for (const glide of this.#glides) glide.cancel();
    this.#glides = straight ? [] : this.#glide(before);
    this.#shownAt = performance.now();
  }

  /** Moving a node takes the focus away from it; a card that is gone leaves it to the one that stands there now. */
  #refocus(focused, place) {
    if (this.#list.contains(focused)) {
      focused.focus({ preventScroll: true });
      return;
    }
    const control = [...focused.closest("li").querySelectorAll("button")].indexOf(focused);
    const card = this.#list.children[Math.min(place, this.#list.children.length - 1)];
    card?.querySelectorAll("button")[control]?.focus({ preventScroll: true });
  }

  /** The cards in their order; those that stand right already are not touched. */
  #arrange(nodes) {
    const kept = new Set(nodes);
    for (const child of [...this.#list.children]) if (!kept.has(child)) child.remove();
    let next = this.#list.firstElementChild;
    for (const node of nodes) {
      if (node === next) next = next.nextElementSibling;
      else this.#list.insertBefore(node, next);
    }
  }

  #card(id) {
    const pick = element("button", { type: "button", class: "pick", tabindex: "-1" },
      thumbnailOr(() => element("span", { class: "no-picture" }, id), id, { loading: "lazy" }));
    const bar = splitBar();
    const score = element("span", { class: "score", "aria-hidden": "true" });
    const scores = element("span", { class: "scores" }, bar, score);
    const words = element("span", { class: "card-tags" });
    const why = element("button", { type: "button", class: "why-button", tabindex: "-1" }, "Why?");
    const lean = (sign, negated) => element("button", {
      type: "button",
      tabindex: "-1",
      title: negated ? "Unlike this" : "Like this, too",
      onclick: () => this.#listeners.lean(card.hit, negated),
    }, sign);
    const like = lean("+", false);
    const unlike = lean("−", true);
    const node = element("li", { class: "card" }, pick, element("span", { class: "leans" }, like, unlike), scores,
      element("span", { class: "card-foot" }, words, why));
    const card = { node, pick, bar, score, words, why, like, unlike, hit: null };
    pick.addEventListener("click", () => this.#listeners.pick(card.hit));
    why.addEventListener("click", () => this.#listeners.why(card.hit));
    return card;
  }

  #fill(card, hit, rank, full) {
    card.hit = hit;
    const tags = hit.tags.map((tag) => (typeof tag === "string" ? tag : tag.name));
    const called = tags.length ? tags.slice(0, 5).join(", ") : hit.id;
    card.pick.setAttribute("aria-label",
      `Result ${rank + 1}: ${called}. Score ${decimal(hit.score)}. Search with this picture`);
    card.pick.title = hit.id;
    card.why.setAttribute("aria-label", `Why result ${rank + 1}`);
    card.like.setAttribute("aria-label", `Like result ${rank + 1}, too`);
    card.unlike.setAttribute("aria-label", `Unlike result ${rank + 1}`);
    fillBar(card.bar, hit.visual, hit.conceptual, full);
    card.score.textContent = decimal(hit.score);
    const copies = hit.near_copies?.length ?? 0;
    const words = [copies ? `+${copies} alike` : "", tags.map(isolated).join(", ")].filter(Boolean).join(" · ");
    if (card.words.textContent !== words) card.words.textContent = words;
  }

  /** One stop for the Tab key; the arrow keys walk. */
  #mark(node) {
    if (!node || node.classList.contains("waiting")) return;
    for (const button of this.#list.querySelectorAll("button[tabindex='0']")) button.tabIndex = -1;
    this.#list.querySelector("li.marked")?.classList.remove("marked");
    node.classList.add("marked");
    for (const button of node.querySelectorAll("button")) button.tabIndex = 0;
  }

  #key(event) {
    if (isBrowsersOwn(event)) return;
    const cards = [...this.#list.children];
    const at = cards.findIndex((card) => card.contains(event.target));
    const columns = getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: cards.length - 1 - at };
    const step = steps[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    const goal = cards[at + step];
    goal?.querySelector(".pick").focus();
    goal?.scrollIntoView({ block: "nearest", behavior: prefersStillness() ? "auto" : "smooth" });
  }

  #places() {
    const places = new Map();
    for (const [id, { node }] of this.#cards) {
      const { left, top, bottom } = node.getBoundingClientRect();
      if (bottom > 0 && top < window.innerHeight) places.set(id, { left, top });
    }
    return places;
  }

  /** Sets each card off from where it was, and returns the animations. */
  #glide(before) {
    const moves = [];
    for (const [id, { node }] of this.#cards) {
      const { left, top, bottom } = node.getBoundingClientRect();
      const was = before.get(id);
      if (was && (was.left !== left || was.top !== top)) {
        moves.push([node, [{ transform: `translate(${was.left - left}px, ${was.top - top}px)` }, { transform: "none" }]]);
      } else if (!was && top < window.innerHeight && bottom > 0) {
        moves.push([node, [{ opacity: 0 }, { opacity: 1 }]]);
      }
    }
    return moves.map(([node, frames]) => node.animate(frames, GLIDE));
  }
}
