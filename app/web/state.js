/**
 * What is asked, and its address. The address holds everything but an uploaded picture, which stays in this tab:
 *   ?image=ID&tag=dog&not=people&text=on+a+beach&v=0.35
 */

export const DEFAULT_WEIGHT = 0.5;
export const PAGE = 48;
/** The API's own cap on `limit`. */
export const MOST = 1000;

/**
 * query: {image: null | {id} | {bytes, preview, name, key}, tags: [{name, negated}], text, visualWeight, limit}
 */
export const emptyQuery = () => ({ image: null, tags: [], text: "", visualWeight: DEFAULT_WEIGHT, limit: PAGE });

export const isEmpty = (query) => query.image === null && query.tags.length === 0 && query.text === "";

export function toAddress(query) {
  const parts = new URLSearchParams();
  if (query.image?.id !== undefined) parts.append("image", query.image.id);
  for (const { name, negated } of query.tags) parts.append(negated ? "not" : "tag", name);
  if (query.text) parts.append("text", query.text);
  if (query.visualWeight !== DEFAULT_WEIGHT) parts.append("v", String(query.visualWeight));
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

  constructor() {
    this.query = this.#read();
    window.addEventListener("popstate", () => {
      this.query = this.#read();
      this.#tell({ moved: false });
    });
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** A new question: a new step for the Back button. The result list starts from its first page. */
  ask(change) {
    this.query = { ...this.query, limit: PAGE, ...change };
    history.pushState(this.#memory(), "", toAddress(this.query));
    this.#tell({ moved: false });
  }

  /** The same question with another balance or length: the address follows, the Back button does not. */
  adjust(change) {
    this.query = { ...this.query, ...change };
    history.replaceState(this.#memory(), "", toAddress(this.query));
    this.#tell({ moved: true });
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
