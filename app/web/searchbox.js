/** The search box: the query's picture, its tags and words as chips, and an entry with suggestions (ARIA combobox). */
import { tagsStartingWith } from "./api.js";
import { element, icon, isBrowsersOwn } from "./dom.js";
import { CONTROLS, pictureChips } from "./query_pictures.js";
import { keepFocus } from "./refocus.js";
import { isEmpty, withTag } from "./state.js";

const SHOWN = 8;
/** More than are shown: the very tag that was typed may stand behind many more frequent ones. */
const FETCHED = 50;
const PAUSE_MS = 80;
/** The classes of what can have the focus in a chip. */
const IN_A_CHIP = ["chip-name", "chip-strict", "chip-x"];

export class SearchBox {
  #store;
  #parts;
  #options = [];
  #active = -1;
  #lookup = null;
  /** Ends the look-ups of what was typed and sent with Enter: those outlive the focus and the suggestions. */
  #sent = new AbortController();
  #timer = 0;

  /** `parts`: the elements {box, slot, chips, entry, options, clear, pick}; `fail(error)` shows a failed look-up. */
  constructor(store, parts, fail) {
    this.#store = store;
    this.#parts = parts;
    this.fail = fail;
    const { box, chips, entry, options, clear } = parts;
    entry.addEventListener("input", () => this.#typed());
    entry.addEventListener("keydown", (event) => this.#key(event));
    entry.addEventListener("focus", () => {
      if (entry.value.trim()) this.#typed();
    });
    entry.addEventListener("blur", () => this.#close());
    options.addEventListener("mousedown", (event) => event.preventDefault()); // the entry keeps the focus
    chips.addEventListener("keydown", (event) => this.#chipKey(event));
    box.addEventListener("click", (event) => {
      if (event.target === box || event.target === chips) entry.focus();
    });
    clear.addEventListener("click", () => {
      store.clear();
      entry.value = "";
      entry.focus();
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input[type=text], dialog");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        entry.focus();
      }
    });
  }

  addTag(name, negated = false) {
    this.#store.ask({ tags: withTag(this.#store.query.tags, name, negated) });
  }

  /** What was sent with Enter and is still being looked up belongs to a query that is left behind. */
  drop() {
    this.#sent.abort();
    this.#sent = new AbortController();
  }

  show(query) {
    const { slot, chips, clear, entry, pick } = this.#parts;
    // Without a picture the focus goes to the button for one: in the entry it would open a phone's keyboard.
    keepFocus(slot, CONTROLS, () =>
      slot.replaceChildren(...pictureChips(query, (change) => this.#store.ask(change))), () => pick.focus());
    keepFocus(chips, IN_A_CHIP, () => chips.replaceChildren(
      ...query.tags.map((tag) => this.#tagChip(tag)),
      ...(query.text ? [this.#wordsChip(query.text)] : []),
      ...query.where.map((written) => this.#conditionChip(written)),
    ), () => entry.focus());
    clear.hidden = isEmpty(query) && !query.where.length;
    entry.placeholder = clear.hidden ? "Type a tag or a few words" : "Add a tag or words";
  }

  #tagChip({ name, negated, strict }) {
    const { tags } = this.#store.query;
    const only = element("button", {
      type: "button",
      class: "chip-strict",
      "aria-pressed": String(strict),
      "aria-label": negated ? `Never show ${name}` : `Show only ${name}`,
      title: negated ? "Show no picture that has this tag" : "Show only pictures that have this tag",
      onclick: () => this.#store.ask({ tags: withTag(tags, name, negated, !strict) }),
    }, icon("only"));
    const turn = element("button", {
      type: "button",
      class: "chip-name",
      "aria-pressed": String(negated),
      "aria-label": `Leave out ${name}`,
      title: negated ? "Left out. Click to ask for it" : "Asked for. Click to leave it out",
      onclick: () => this.addTag(name, !negated),
    }, negated ? element("span", { class: "not" }, "not ") : null, element("span", { class: "word" }, name));
    const remove = element("button", {
      type: "button",
      class: "chip-x",
      "aria-label": `Remove ${name}`,
      onclick: () => this.#store.ask({ tags: tags.filter((tag) => tag.name !== name) }),
    }, icon("close"));
    const kind = `chip${negated ? " negated" : ""}${strict ? " strict" : ""}`;
    return element("li", { class: kind, "data-of": `tag ${name}` }, turn, only, remove);
  }

  #conditionChip(written) {
    const { where } = this.#store.query;
    const remove = element("button", {
      type: "button",
      class: "chip-x",
      "aria-label": `Remove the condition ${written}`,
      onclick: () => this.#store.ask({ where: where.filter((other) => other !== written) }),
    }, icon("close"));
    const name = element("span", { class: "chip-name", tabindex: "-1" }, icon("only"), element("span", { class: "word" }, written));
    return element("li", { class: "chip condition", "data-of": `where ${written}` }, name, remove);
  }

  #wordsChip(text) {
    const { entry } = this.#parts;
    const edit = element("button", {
      type: "button",
      class: "chip-name",
      "aria-label": `Change the words ${text}`,
      title: "Words. Click to change them",
      onclick: () => {
        this.#store.ask({ text: "" });
        entry.value = text;
        entry.focus();
      },
    }, element("span", { class: "word" }, `“${text}”`));
    const remove = element("button", {
      type: "button",
      class: "chip-x",
      "aria-label": `Remove the words ${text}`,
      onclick: () => this.#store.ask({ text: "" }),
    }, icon("close"));
    return element("li", { class: "chip words", "data-of": "words" }, edit, remove);
  }

  #focusChip(index) {
    this.#parts.chips.children[index].querySelector(".chip-name").focus();
  }

  #chipKey(event) {
    if (isBrowsersOwn(event)) return;
    const { chips, entry } = this.#parts;
    const all = [...chips.children];
    const at = all.findIndex((chip) => chip.contains(event.target));
    if (event.key === "ArrowLeft") this.#focusChip(Math.max(0, at - 1));
    else if (event.key === "ArrowRight") at + 1 < all.length ? this.#focusChip(at + 1) : entry.focus();
    else if (event.key === "Delete" || event.key === "Backspace") all[at].querySelector(".chip-x").click();
    else return;
    event.preventDefault();
  }

  #key(event) {
    // Enter and arrows belong to an input method while it composes; Safari says so by the code alone.
    if (event.isComposing || event.keyCode === 229) return;
    const { entry, chips } = this.#parts;
    const open = this.#options.length > 0;
    if (event.key === "Enter") {
      event.preventDefault();
      void this.#commit();
    } else if (isBrowsersOwn(event)) {
      return;
    } else if (event.key === "ArrowDown" && open) {
      event.preventDefault();
      this.#activate((this.#active + 1) % this.#options.length);
    } else if (event.key === "ArrowUp" && open) {
      event.preventDefault();
      this.#activate((this.#active <= 0 ? this.#options.length : this.#active) - 1);
    } else if (event.key === "Escape") {
      if (open) this.#close();
      else entry.value = "";
    } else if (entry.selectionEnd === 0 && chips.children.length) {
      if (event.key !== "Backspace" && event.key !== "ArrowLeft") return;
      event.preventDefault();
      this.#focusChip(chips.children.length - 1);
    }
  }

  /** What stands in the entry: the words, and whether a minus sign asks to leave them out. */
  #typedWords() {
    const written = this.#parts.entry.value.trim();
    const negated = written.startsWith("-");
    return { words: negated ? written.slice(1).trim() : written, negated };
  }

  #typed() {
    clearTimeout(this.#timer);
    const { words } = this.#typedWords();
    if (!words) {
      this.#close();
      return;
    }
    this.#timer = setTimeout(() => void this.#suggest(words), PAUSE_MS);
  }

  async #find(words, signal) {
    const found = await tagsStartingWith(words, FETCHED, signal);
    const exact = (tag) => tag.name.toLowerCase() === words.toLowerCase();
    return { tags: [...found.filter(exact), ...found.filter((tag) => !exact(tag))], exact: found.find(exact) };
  }

  async #suggest(words) {
    this.#lookup?.abort();
    this.#lookup = new AbortController();
    let tags;
    try {
      ({ tags } = await this.#find(words, this.#lookup.signal));
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
      return;
    }
    if (this.#typedWords().words !== words || document.activeElement !== this.#parts.entry) return;
    this.#open(tags.slice(0, SHOWN), words);
  }

  #open(tags, words) {
    const { options, entry } = this.#parts;
    const { negated } = this.#typedWords();
    this.#options = tags.map(({ name, count }) => ({
      take: () => this.addTag(name, negated),
      node: element("li", { role: "option", "aria-selected": "false" },
        element("span", { class: "option-name" },
          negated ? element("span", { class: "not" }, "not ") : null,
          ...withMatch(name, words)),
        element("span", { class: "option-count", "aria-label": `on ${count} pictures` }, count.toLocaleString("en"))),
    }));
    if (!negated) {
      this.#options.push({
        take: () => this.#store.ask({ text: words }),
        node: element("li", { role: "option", "aria-selected": "false", class: "as-words" },
          icon("search"), element("span", { class: "option-name" }, "Search for the words ", element("b", {}, `“${words}”`))),
      });
    }
    this.#options.forEach((option, index) => {
      option.node.id = `option-${index}`;
      option.node.addEventListener("click", () => this.#take(option));
    });
    options.replaceChildren(...this.#options.map((option) => option.node));
    options.hidden = this.#options.length === 0;
    entry.setAttribute("aria-expanded", String(!options.hidden));
    this.#active = -1;
    entry.removeAttribute("aria-activedescendant");
  }

  #activate(index) {
    this.#options.forEach(({ node }, at) => node.setAttribute("aria-selected", String(at === index)));
    this.#active = index;
    this.#options[index].node.scrollIntoView({ block: "nearest" });
    this.#parts.entry.setAttribute("aria-activedescendant", `option-${index}`);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#lookup?.abort();
    this.#options = [];
    this.#active = -1;
    this.#parts.options.hidden = true;
    this.#parts.entry.setAttribute("aria-expanded", "false");
    this.#parts.entry.removeAttribute("aria-activedescendant");
  }

  #take(option) {
    this.#parts.entry.value = "";
    this.#close();
    option.take();
  }

  /** Enter: the suggestion that is marked, else the tag of that very name, else the words as free text. */
  async #commit() {
    const marked = this.#options[this.#active];
    if (marked) {
      this.#take(marked);
      return;
    }
    const { words, negated } = this.#typedWords();
    if (!words) return;
    // Read and cleared at once: what takes the focus away before the answer comes takes no words with it.
    this.#parts.entry.value = "";
    this.#close();
    const { signal } = this.#sent;
    const exact = await this.#tagCalled(words, signal);
    if (signal.aborted) return;
    if (exact || negated) this.addTag(exact?.name ?? words, negated);
    else this.#store.ask({ text: words });
  }

  /** The tag of that very name; none where it cannot be looked up, for the search itself says what is wrong. */
  async #tagCalled(words, signal) {
    try {
      return (await this.#find(words, signal)).exact;
    } catch {
      return undefined;
    }
  }
}

/** The name with the typed part of it, at the beginning of a word, in bold. */
function withMatch(name, words) {
  const at = ` ${name.toLowerCase()}`.indexOf(` ${words.toLowerCase()}`);
  if (at < 0) return [name];
  const end = at + words.length;
  return [name.slice(0, at), element("b", {}, name.slice(at, end)), name.slice(end)];
}
