/** The panel that says what went wrong, in the server's own words where it gave some, with the way out. */
import { element } from "./dom.js";
import { askForKey, currentKey, forgetKey } from "./key.js";

const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 30;

export class ProblemPanel {
  #section;
  #pause = FIRST_PAUSE;
  #timer = 0;
  #again = null;

  constructor(section) {
    this.#section = section;
    window.addEventListener("online", () => {
      if (this.#again) this.#again();
    });
  }

  /**
   * `again()` tries what failed once more: on a click, and by itself where the server was away or busy
   * (`error.passes`), after the pause it asked for or one that doubles.
   */
  show(error, again = null) {
    clearTimeout(this.#timer);
    this.#again = error.passes ? again : null;
    const keyed = again && (error.status === 401 || error.status === 403);
    this.#section.replaceChildren(...[
      element("h2", {}, error.title || "Something went wrong"),
      element("p", {}, error.detail || error.message),
      error.errors?.length ? element("ul", {}, ...error.errors.map(({ pointer, detail }) =>
        element("li", {}, pointer ? element("code", {}, pointer) : null, pointer ? " " : null, detail))) : null,
      this.#again ? element("p", { class: "quiet" }, "This page tries again by itself.") : null,
      element("p", { class: "problem-actions" },
        keyed ? element("button", { type: "button", class: "primary", onclick: () => void otherKey(again) },
          currentKey() === null ? "Give a key" : "Use another key") : null,
        again && !keyed ? element("button", { type: "button", class: "primary", onclick: () => again() }, "Try again") : null,
        element("button", { type: "button", class: "tool", onclick: () => this.hide() }, "Dismiss")),
    ].filter(Boolean));
    this.#section.hidden = false;
    if (!this.#again) return;
    const seconds = Math.min(LONGEST_PAUSE, error.retryAfter ?? this.#pause);
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
    this.#timer = setTimeout(again, seconds * 1000);
  }

  /** What failed beside the search, such as looking up a tag: no news where the search itself is tried again. */
  aside(error) {
    if (!this.#again) this.show(error);
  }

  /** Something else is asked now: what failed is not asked again by itself. */
  stopRetrying() {
    clearTimeout(this.#timer);
    this.#again = null;
  }

  hide() {
    this.stopRetrying();
    this.#pause = FIRST_PAUSE;
    this.#section.hidden = true;
  }
}

async function otherKey(again) {
  forgetKey();
  if (await askForKey()) again();
}
