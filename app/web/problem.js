/** The panel that says what went wrong, in the server's own words where it gave some, with the way out. */
import { element } from "./dom.js";
import { askForKey, currentKey } from "./key.js";

const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 30;

export class ProblemPanel {
  #section;
  #pause = FIRST_PAUSE;
  #timer = 0;
  /** What the button tries, and what is tried without it. */
  #retry = null;
  #again = null;
  #told = "";

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
    this.#retry = again;
    this.#again = error.passes ? again : null;
    this.#draw(error);
    if (!this.#again) return;
    const seconds = Math.min(LONGEST_PAUSE, error.retryAfter ?? this.#pause);
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
    this.#timer = setTimeout(again, seconds * 1000);
  }

  #draw(error) {
    const keyed = this.#retry !== null && error.wantsKey;
    const told = JSON.stringify([
      error.title, error.detail || error.message, error.errors, this.#retry !== null, this.#again !== null, keyed, currentKey() !== null,
    ]);
    // The same once more: what is there stays, with the focus in it, and is not read out again.
    if (!this.#section.hidden && told === this.#told) return;
    this.#told = told;
    this.#section.replaceChildren(...[
      element("h2", {}, error.title || "Something went wrong"),
      element("p", {}, error.detail || error.message),
      error.errors?.length ? element("ul", {}, ...error.errors.map(({ pointer, detail }) =>
        element("li", {}, pointer ? element("code", {}, pointer) : null, pointer ? " " : null, detail))) : null,
      this.#again ? element("p", { class: "quiet" }, "This page tries again by itself.") : null,
      element("p", { class: "problem-actions" },
        keyed ? element("button", { type: "button", class: "primary", onclick: () => void this.#giveKey() },
          currentKey() === null ? "Give a key" : "Use another key") : null,
        this.#retry && !keyed ? element("button", { type: "button", class: "primary", onclick: () => this.#retry() }, "Try again") : null,
        element("button", { type: "button", class: "tool", onclick: () => this.hide() }, "Dismiss")),
    ].filter(Boolean));
    this.#section.hidden = false;
  }

  /** The key at hand is kept until there is another: it may be good for all else. */
  async #giveKey() {
    const retry = this.#retry;
    if (await askForKey()) retry();
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
