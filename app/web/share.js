/** "Copy link": the address goes to the clipboard, and what came of it is told on the button and to screen readers. */

/** On a phone the button has no words but for so long. */
const TOLD_MS = 4000;

export class Share {
  #parts;
  #store;
  #timer = 0;

  /** `parts`: the elements {button, label, spoken}. */
  constructor(store, parts) {
    this.#store = store;
    this.#parts = parts;
    parts.button.addEventListener("click", () => void this.#copy());
  }

  /** The query is another one now than what was copied. */
  reset() {
    this.#parts.label.textContent = "Copy link";
  }

  async #copy() {
    this.#store.settle();
    try {
      await navigator.clipboard.writeText(location.href);
      this.#tell(this.#store.query.image?.bytes ? "Copied, without your picture" : "Copied");
    } catch {
      this.#tell("Copy the address above");
    }
  }

  #tell(words) {
    const { button, label, spoken } = this.#parts;
    label.textContent = words;
    spoken.textContent = words;
    button.classList.add("told");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => button.classList.remove("told"), TOLD_MS);
  }
}
