/** The dial: 0 is all concept, 1 is all visual. */
import { isBrowsersOwn, percent } from "./dom.js";

/** An arrow key moves further than the smallest drag, so that the results visibly follow. */
const KEY_STEP = 0.05;

export class Dial {
  #parts;

  /** `parts`: the elements {row, input, concept, visual}; `moved(weight)` is called at every step. */
  constructor(parts, moved) {
    this.#parts = parts;
    const { input } = parts;
    const turn = () => {
      const weight = Math.round(input.valueAsNumber * 100) / 100;
      this.show(weight);
      moved(weight);
    };
    input.addEventListener("input", turn);
    input.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -KEY_STEP, ArrowDown: -KEY_STEP, ArrowRight: KEY_STEP, ArrowUp: KEY_STEP }[event.key];
      if (step === undefined || isBrowsersOwn(event)) return;
      event.preventDefault();
      input.value = String(Math.round((input.valueAsNumber + step) / KEY_STEP) * KEY_STEP);
      turn();
    });
  }

  show(weight) {
    const { row, input, concept, visual } = this.#parts;
    if (input.valueAsNumber !== weight) input.value = String(weight);
    row.style.setProperty("--weight", String(weight));
    concept.textContent = percent(1 - weight);
    visual.textContent = percent(weight);
    input.setAttribute("aria-valuetext", `${percent(1 - weight)} concept, ${percent(weight)} visual`);
  }
}
