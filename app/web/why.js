/** "Why this result": the score in its two parts, the tags that spoke for it, and what the query was joined to. */
import { fetchPicture, fileOf, search } from "./api.js";
import { decimal, element, fillBar, icon, splitBar } from "./dom.js";
import { currentKey } from "./key.js";
import { thumbnail } from "./thumbnail.js";

const NEIGHBOURS = 12;
const GONE = 410;

export class Why {
  #dialog;
  #listeners;
  #controller = null;

  /** `listeners`: {pick(id), tag(name)}. */
  constructor(dialog, listeners) {
    this.#dialog = dialog;
    this.#listeners = listeners;
    dialog.addEventListener("close", () => this.#controller?.abort());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // the backdrop
    });
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** Opens with what is known, then asks for the same `page` of the answer again with `explain` on. */
  async open(hit, query, page) {
    this.#controller?.abort();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const evidence = element("div", { class: "evidence", "aria-busy": "true" },
      element("p", { class: "quiet" }, "Asking the graph …"));
    this.#dialog.replaceChildren(this.#frame(hit, evidence));
    this.#dialog.scrollTop = 0;
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      const answer = await search(query, { ...page, explain: true }, signal);
      if (signal.aborted) return;
      const explained = answer.hits.find(({ id }) => id === hit.id);
      evidence.replaceChildren(...(explained ? this.#evidence(explained, answer) : [alert(CHANGED)]));
    } catch (error) {
      if (error.name === "AbortError") return;
      evidence.replaceChildren(alert(error.status === GONE ? CHANGED : error.detail || error.message));
    }
    evidence.removeAttribute("aria-busy");
  }

  #frame(hit, evidence) {
    const close = () => this.#dialog.close();
    const full = Math.max(Math.abs(hit.visual) + Math.abs(hit.conceptual), 0.05);
    const bar = splitBar();
    fillBar(bar, hit.visual, hit.conceptual, full);
    const picture = thumbnail(hit.id, { class: "why-picture", alt: `Picture ${hit.id}` });
    return element("div", { class: "why-inside" },
      element("header", {},
        element("h2", { id: "why-title" }, "Why this result"),
        element("button", { type: "button", class: "round", "aria-label": "Close", onclick: close }, icon("close"))),
      element("div", { class: "why-top" }, picture,
        element("div", {},
          element("p", { class: "why-score" }, element("b", {}, decimal(hit.score)),
            element("span", {}, ` = ${decimal(hit.conceptual)} concept + ${decimal(hit.visual)} visual`)),
          bar,
          element("p", { class: "quiet" }, sentence(hit)),
          this.#tagButtons(hit.tags),
          element("p", { class: "why-actions" },
            element("button", {
              type: "button",
              class: "primary",
              onclick: () => {
                close();
                this.#listeners.pick(hit.id);
              },
            }, "Search with this picture"),
            original(hit.id)),
          element("p", { class: "why-id" }, hit.id))),
      evidence);
  }

  #tagButtons(tags) {
    if (!tags.length) return null;
    return element("ul", { class: "plain-tags", "aria-label": "Its tags" }, ...tags.map((tag) => {
      const name = typeof tag === "string" ? tag : tag.name;
      return element("li", {}, element("button", {
        type: "button",
        class: "add-tag",
        "aria-label": `Add ${name} to the query`,
        onclick: () => {
          this.#dialog.close();
          this.#listeners.tag(name);
        },
      }, icon("plus"), name));
    }));
  }

  #evidence(hit, answer) {
    const spoke = hit.explain?.tags ?? [];
    const images = answer.explain?.images ?? [];
    const tags = answer.explain?.tags ?? [];
    return [
      element("section", {}, element("h3", {}, "Tags that spoke for it"), spoke.length
        ? contributions(spoke)
        : element("p", { class: "quiet" }, hit.conceptual > 0 ? "No single tag: the pictures around it decided." : "None: its look decided.")),
      images.length ? element("section", {}, element("h3", {}, "Your query stands next to"),
        element("ul", { class: "neighbours" }, ...images.slice(0, NEIGHBOURS).map(({ id, weight }) =>
          element("li", {}, element("button", {
            type: "button",
            title: id,
            "aria-label": `Search with neighbour ${id}, likeness ${decimal(weight)}`,
            onclick: () => {
              this.#dialog.close();
              this.#listeners.pick(id);
            },
          }, thumbnail(id, { loading: "lazy" })), element("small", {}, decimal(weight)))))) : null,
      tags.length ? element("section", {}, element("h3", {}, "Your query is joined to the tags"),
        element("ul", { class: "joined" }, ...tags.map(({ name, weight, asked_as: asked }) => element("li", {},
          element("b", {}, element("bdi", {}, name)),
          ...(asked && asked !== name ? [" for “", element("bdi", {}, asked), "”"] : []),
          element("small", {}, decimal(weight)))))) : null,
    ].filter(Boolean);
  }
}

const CHANGED = "The index has changed since this result came, so what spoke for it cannot be told. Search again to see what is there now.";

const alert = (words) => element("p", { class: "quiet", role: "alert" }, words);

/** A link to the picture itself; where a key is needed, which a link cannot send, a button that saves it. */
function original(id) {
  if (currentKey() === null) return element("a", { class: "quiet", href: fileOf(id), target: "_blank", rel: "noopener" }, "Open the picture");
  const save = element("button", {
    type: "button",
    class: "link quiet",
    onclick: async () => {
      try {
        // Saved, not opened: in an address of this page a picture file could act for it.
        const address = URL.createObjectURL(await fetchPicture(fileOf(id)));
        element("a", { href: address, download: id.split("/").pop() }).click();
        setTimeout(() => URL.revokeObjectURL(address), 60_000);
      } catch (error) {
        save.textContent = error.detail || error.message;
      }
    },
  }, "Save the picture");
  return save;
}

/** Tags with bars as long as what each added to the score. */
function contributions(tags) {
  const most = Math.max(...tags.map((tag) => Math.abs(tag.contribution)), 1e-9);
  return element("ul", { class: "spoke" }, ...tags.map(({ name, contribution }) => {
    const bar = element("i", { class: contribution < 0 ? "against" : "" });
    bar.style.width = `${(Math.abs(contribution) / most) * 100}%`;
    return element("li", {}, element("span", { class: "spoke-name" }, name),
      element("span", { class: "spoke-bar", "aria-hidden": "true" }, bar), element("small", {}, decimal(contribution)));
  }));
}

function sentence({ visual, conceptual }) {
  if (conceptual <= 0 && visual <= 0) return "Nothing speaks for it: it is here because nothing is nearer.";
  if (conceptual > visual * 2) return "It is here above all for what it is about.";
  if (visual > conceptual * 2) return "It is here above all for how it looks.";
  return "It is here for what it is about and for how it looks.";
}
