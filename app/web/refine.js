/** What narrows a question: conditions on attributes, variety among the results, near copies folded. */
import { conditionOf } from "./conditions.js";
import { percent } from "./dom.js";

export class Refine {
  #parts;

  /** `parts`: the elements {panel, form, where, wrong, variety, share, fold}. */
  constructor(store, parts) {
    this.#parts = parts;
    const { form, where, wrong, variety, share, fold } = parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const condition = conditionOf(where.value);
      wrong.hidden = condition !== null || !where.value.trim();
      where.setAttribute("aria-invalid", String(!wrong.hidden));
      if (condition === null) return;
      where.value = "";
      const { where: known } = store.query;
      if (!known.includes(condition.written)) store.ask({ where: [...known, condition.written] });
    });
    where.addEventListener("input", () => {
      wrong.hidden = true;
      where.removeAttribute("aria-invalid");
    });
    variety.addEventListener("input", () => {
      share.textContent = percent(variety.valueAsNumber);
    });
    // When it rests: the order of all results depends on it, so it takes longer than the dial.
    variety.addEventListener("change", () => store.ask({ variety: variety.valueAsNumber }));
    fold.addEventListener("change", () => store.ask({ fold: fold.checked }));
  }

  /** `whole`: the query is another one than before; only then does the panel open by itself, so that it can be closed. */
  show({ variety, fold, where }, whole) {
    const { panel, variety: range, share, fold: box } = this.#parts;
    range.value = String(variety);
    share.textContent = percent(variety);
    box.checked = fold;
    if (whole && (variety || fold || where.length)) panel.open = true;
  }
}
