/** Tags to add with a click: those predicted for a dropped picture, those known of a picture of the catalogue. */
import { describeImage, predictTags } from "./api.js";
import { element, icon, percent } from "./dom.js";
import { Latest } from "./latest.js";

const SHOWN = 8;

export class Suggestions {
  #parts;
  #add;
  #latest = new Latest();

  /** `parts`: the elements {row, title, list}; `add(name)` adds a tag to the query. */
  constructor(parts, add) {
    this.#parts = parts;
    this.#add = add;
  }

  async show({ image, tags: asked }) {
    const { row, title, list } = this.#parts;
    if (row.dataset.of === (image?.key ?? image?.id)) {
      this.#mark(asked);
      return;
    }
    row.hidden = true;
    row.dataset.of = "";
    list.replaceChildren();
    this.#latest.cancel();
    if (!image) return;
    await this.#latest.replace(async (signal) => {
      let tags;
      try {
        tags = image.bytes ? await predictTags(image, SHOWN, signal) : (await describeImage(image.id, signal)).tags.slice(0, SHOWN);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        return; // the search of the same picture tells what is wrong with it
      }
      if (signal.aborted || !tags.length) return;
      title.textContent = image.bytes ? "Seen in your picture" : "Tags of this picture";
      list.replaceChildren(...tags.map((tag) => this.#button(tag, Boolean(image.bytes))));
      row.dataset.of = image.key ?? image.id;
      row.hidden = false;
      this.#mark(asked);
    });
  }

  #button(tag, predicted) {
    const { name } = tag;
    const button = element("button", {
      type: "button",
      class: "add-tag",
      "data-tag": name,
      "aria-label": predicted ? `Add ${name}, likely at ${percent(tag.score)}` : `Add ${name}`,
      onclick: () => {
        if (button.getAttribute("aria-disabled") !== "true") this.#add(name);
      },
    }, icon("plus"), name, predicted ? element("small", {}, percent(tag.score)) : null);
    return element("li", {}, button);
  }

  /** A suggestion that is in the query already has nothing to add. Disabled it would lose the focus that added it. */
  #mark(tags) {
    const asked = new Set(tags.map(({ name }) => name.toLowerCase()));
    for (const button of this.#parts.list.querySelectorAll("button")) {
      button.setAttribute("aria-disabled", String(asked.has(button.dataset.tag.toLowerCase())));
    }
  }
}
