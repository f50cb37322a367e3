/**
 * What is asked, and its address. The address holds everything but an uploaded picture, which stays in this tab:
 *   ?image=ID&tag=dog&not=people&text=on+a+beach&v=0.35&view=graph
 */

export const DEFAULT_WEIGHT = 0.5;
/** The address follows the dial when it rests: browsers refuse hundreds of changes of it in a row. */
const REST_MS = 150;

/**
 * query: {image: null | {id} | {bytes, preview, name, key}, tags: [{name, negated}], text, visualWeight,
 *   view: "grid" | "graph"}
 */
export const emptyQuery = () => ({ image: null, tags: [], text: "", visualWeight: DEFAULT_WEIGHT, view: "grid" });

/** The change that empties a query. */
export const NOTHING = { image: null, tags: [], text: "", view: "grid" };

export const isEmpty = (query) => query.image === null && query.tags.length === 0 && query.text === "";

export function toAddress(query) {
  const parts = new URLSearchParams();
  if (query.image?.id !== undefined) parts.append("image", query.image.id);
  for (const { name, negated } of query.tags) parts.append(negated ? "not" : "tag", name);
  if (query.text) parts.append("text", query.text);
  if (query.visualWeight !== DEFAULT_WEIGHT) parts.append("v", String(query.visualWeight));
  if (query.view !== "grid") parts.append("view", query.view);
  const written = parts.toString();
  return written ? `?${written}` : location.pathname;
}

export function fromAddress(address) {
  const query = emptyQuery();
  for (const [key, value] of new URLSearchParams(address)) {
    if (value === "") continue;
    if (key === "image") query.image = { id: value };
    else if (key === "tag" || key === "not") query.tags = withTag(query.tags, value, key === "not");
    else if (key === "text") query.text = value;
    else if (key === "v") query.visualWeight = readWeight(value);
    else if (key === "view" && value === "graph") query.view = value;
  }
  return query;
}

function readWeight(written) {
  const value = Number(written);
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : DEFAULT_WEIGHT;
}

/** The tags with one more; a tag that is there already (in any case) takes the new sign. */
export function withTag(tags, name, negated = false) {
  const same = (tag) => tag.name.toLowerCase() === name.toLowerCase();
  if (tags.some(same)) return tags.map((tag) => (same(tag) ? { ...tag, negated } : tag));
  return [...tags, { name, negated }];
}

/** The query in words, for the title and for screen readers. */
export function inWords(query) {
  const parts = [];
  if (query.image) parts.push(query.image.id === undefined ? "your picture" : "a picture");
  for (const { name, negated } of query.tags) parts.push(negated ? `not ${name}` : name);
  if (query.text) parts.push(`“${query.text}”`);
  return parts.join(", ");
}

/** Holds the query, tells listeners, and keeps the address and the Back button in step. */
export class Store {
  #listeners = [];
  #uploads = new Map();
  #resting = null;

  constructor() {
    this.query = this.#read();
    window.addEventListener("pagehide", () => this.settle());
    window.addEventListener("popstate", () => {
      clearTimeout(this.#resting);
      this.#resting = null;
      this.query = this.#read();
      this.#tell({ moved: false });
    });
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** A new question: a new step for the Back button. */
  ask(change) {
    this.settle();
    this.query = { ...this.query, ...change };
    history.pushState(this.#memory(), "", toAddress(this.query));
    this.#tell({ moved: false });
  }

  /** The same question with another balance: the address follows, the Back button does not. */
  adjust(change) {
    this.query = { ...this.query, ...change };
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => this.settle(), REST_MS);
    this.#tell({ moved: true });
  }

  /** Brings the address up to date at once. */
  settle() {
    if (this.#resting === null) return;
    clearTimeout(this.#resting);
    this.#resting = null;
    history.replaceState(this.#memory(), "", toAddress(this.query));
  }

  #memory() {
    const { image } = this.query;
    if (!image?.bytes) return {};
    this.#uploads.set(image.key, image);
    return { upload: image.key };
  }

  #read() {
    const query = fromAddress(location.search);
    const upload = this.#uploads.get(history.state?.upload);
    return upload ? { ...query, image: upload } : query;
  }

  #tell(event) {
    for (const listener of this.#listeners) listener(this.query, event);
  }
}
