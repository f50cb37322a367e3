/** The answers to a question: asks, pages by cursor, and hands the hits to the view that is chosen. */
import { MOST, PAGE, search } from "./api.js";
import { element } from "./dom.js";
import { Latest } from "./latest.js";
import { inWords } from "./state.js";

const PATIENCE_MS = 150; // an answer that comes sooner needs no sign of waiting
const SPOKEN_AFTER_MS = 700; // a screen reader hears where the dial came to rest, not every step on the way
const WAITING_CARDS = 12;
const GONE = 410;

export class Results {
  #parts;
  #views;
  #problems;
  #latest;
  #patience = 0;
  #speech = 0;
  #hits = [];
  /** What they answer: while a question fails or is on its way, another one than is asked. */
  #query = null;
  /** What was asked for last, also while it waits. */
  #wanted = null;
  /** Whether the focus goes to the answer, once it is there. */
  #landing = false;
  /** Which page each hit came with, {limit, cursor}: "why" asks for that page again. */
  #pageOf = new Map();
  #next = null;
  #answered;

  /**
   * `parts`: the elements {section, row, status, spoken, legend, blank, more}; `views`: {grid, graph};
   * `problems`: the ProblemPanel; `answered(version)` is called with the index of every answer to a question.
   */
  constructor(parts, views, problems, answered) {
    this.#parts = parts;
    this.#views = views;
    this.#problems = problems;
    this.#answered = answered;
    this.#latest = new Latest((busy) => this.#busy(busy));
  }

  /** The query that the hits which are shown answer. */
  get query() {
    return this.#query;
  }

  pageOf(id) {
    return this.#pageOf.get(id) ?? {};
  }

  /** Another question: what ran for the one before is dropped. */
  ask(query) {
    this.#problems.stopRetrying();
    this.#wanted = query;
    return this.#latest.replace((signal, answered) => this.#load(query, PAGE, signal, answered));
  }

  /** What has the focus leaves the page for the question that is asked now: the focus goes to the answer. */
  land() {
    this.#landing = true;
  }

  /**
   * The same question with the dial elsewhere: asked after what is being asked, and for as many
   * results as are there, so that the page keeps its length under the reader.
   */
  rerank(query) {
    this.#problems.stopRetrying();
    this.#wanted = query;
    const limit = () => Math.min(MOST, Math.max(PAGE, this.#hits.length));
    return this.#latest.queue((signal, answered) => this.#load(query, limit(), signal, answered));
  }

  /** The next page of what is shown; not while another question is on its way, whose pages are others. */
  more() {
    if (this.#next === null || this.#latest.busy) return Promise.resolve();
    return this.#latest.queue((signal) => this.#append(this.#query, signal));
  }

  stop() {
    this.#latest.cancel();
    this.#wanted = null;
    this.#landing = false;
    this.#forget();
    this.#views.graph.clear();
    this.#say("");
  }

  /** Shows the answer, or what went wrong. */
  async #load(query, limit, signal, answered = () => {}) {
    const graph = query.view === "graph";
    try {
      const answer = await search(query, { limit, explain: graph }, signal);
      answered();
      await frame();
      signal.throwIfAborted();
      this.#problems.hide();
      this.#pageOf.clear();
      this.#hits = [];
      this.#query = query;
      this.#take(answer, { limit });
      this.#parts.section.dataset.view = query.view;
      if (graph) void this.#views.graph.show(query, answer, signal);
      this.#describe(query, answer);
      this.#land(graph);
      this.#answered(answer.index_version);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      // A newer question waits: it tells what is wrong by itself, and asking this one again would end it.
      if (query === this.#wanted) this.#fail(error);
    }
  }

  /** To the first result; not away from where the user has gone meanwhile. */
  #land(graph) {
    const { section } = this.#parts;
    const focused = document.activeElement;
    const landing = this.#landing && (focused === document.body || section.contains(focused));
    this.#landing = false;
    if (!landing) return;
    // The graph is drawn later, and keeps a focus that is in it.
    if (graph || !this.#hits.length) {
      if (focused === document.body) section.focus({ preventScroll: true });
    } else this.#views.grid.focus(0, { preventScroll: true });
  }

  async #append(query, signal) {
    const page = { limit: PAGE, cursor: this.#next };
    const before = this.#hits.length;
    try {
      const answer = await search(query, page, signal);
      await frame();
      signal.throwIfAborted();
      this.#take(answer, page);
      this.#problems.hide();
      this.#describe(query, answer);
      if (this.#parts.more.hidden) this.#views.grid.focus(before);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      // A new index came meanwhile: its own first results, as many as were asked for by now.
      if (error.status === GONE) await this.#load(query, Math.min(MOST, before + PAGE), signal);
      else this.#problems.show(error, () => void this.more());
    }
  }

  #take(answer, page) {
    const fresh = answer.hits.filter(({ id }) => !this.#pageOf.has(id));
    for (const { id } of fresh) this.#pageOf.set(id, page);
    this.#hits = [...this.#hits, ...fresh];
    this.#next = answer.next_cursor ?? null;
    this.#views.grid.show(this.#hits);
  }

  #describe(query, answer) {
    const { row, status, legend, blank, more } = this.#parts;
    const count = this.#hits.length;
    const found = `${count} ${count === 1 ? "result" : "results"} for ${inWords(query)}`;
    const took = answer.took_ms?.total;
    const time = took === undefined ? "" : ` · ${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
    row.hidden = false;
    status.textContent = found + time;
    legend.hidden = count === 0;
    more.hidden = this.#next === null;
    blank.hidden = count > 0;
    if (count === 0) blank.replaceChildren(...nothing(query));
    this.#say(found);
  }

  #fail(error) {
    // The next page of what is there is not what is waited for.
    this.#next = null;
    this.#parts.more.hidden = true;
    // Nobody answered: what is there may still be looked at. Anything else means that it is not the answer.
    if (!error.passes || this.#hits.length === 0) {
      this.#forget();
      this.#views.graph.clear();
      this.#parts.row.hidden = true;
    }
    this.#say("");
    // By then another question may be wanted, such as after a step back while a key is asked for.
    this.#problems.show(error, () => {
      if (this.#wanted !== null) void this.ask(this.#wanted);
    });
  }

  #forget() {
    const { more, blank, status } = this.#parts;
    this.#hits = [];
    this.#query = null;
    this.#pageOf.clear();
    this.#next = null;
    this.#views.grid.clear();
    more.hidden = true;
    blank.hidden = true;
    status.textContent = "";
  }

  #say(words) {
    clearTimeout(this.#speech);
    this.#speech = setTimeout(() => {
      this.#parts.spoken.textContent = words;
    }, SPOKEN_AFTER_MS);
  }

  #busy(busy) {
    const { section } = this.#parts;
    section.setAttribute("aria-busy", String(busy));
    clearTimeout(this.#patience);
    if (!busy) section.classList.remove("slow");
    else this.#patience = setTimeout(() => {
      section.classList.add("slow");
      this.#views.grid.showWaiting(WAITING_CARDS);
    }, PATIENCE_MS);
  }
}

/** The next frame of the screen; at once where nobody looks, for there are no frames then. */
function frame() {
  return document.hidden ? Promise.resolve() : new Promise((painted) => requestAnimationFrame(painted));
}

function nothing(query) {
  const filtered = query.where.length > 0 || query.tags.some((tag) => tag.strict);
  const negated = query.tags.some((tag) => tag.negated);
  return [
    element("p", {}, element("b", {}, "No picture fits.")),
    element("p", { class: "quiet" },
      filtered ? "No picture passes all the conditions: take one away."
        : negated ? "Let in one of the tags that are left out, or add a picture." : "Try other words, or start from a picture."),
  ];
}
