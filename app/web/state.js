/**
 * What is asked, and its address. The address holds everything but an uploaded picture, which stays in this tab:
 *   ?image=ID&also=ID&unlike=ID&tag=dog&not=people&only=sea&never=city&text=on+a+beach&where=year+>=+2019
 *   &variety=0.3&copies=fold&v=0.35&view=graph
 */
import { isolated } from "./bidi.js";
import { conditionOf } from "./conditions.js";

export const DEFAULT_WEIGHT = 0.5;
/** The address follows the dial when it rests: browsers refuse hundreds of changes of it in a row. */
const REST_MS = 150;

/**
 * query: {image: null | {id} | {bytes, preview, name, key}, also: [{id, negated}], tags: [{name, negated, strict}],
 *   text, where: ["year >= 2019"], variety: 0 … 1, fold, visualWeight, view: "grid" | "graph"}
 * A strict tag filters as well: every result has it or, negated, none has. `where`: see conditions.js.
 */
export const emptyQuery = () => ({ ...NOTHING, visualWeight: DEFAULT_WEIGHT });

/** The change that empties a query. */
const NOTHING = {
  image: null, also: [], tags: [], text: "", where: [], variety: 0, fold: false, view: "grid",
};

export const isEmpty = ({ image, also, tags, text }) => image === null && !also.length && !tags.length && text === "";

/** The change that makes a picture of the catalogue the one to search with. */
export const from = (id) => ({ image: { id }, also: [] });

/** The change that adds a picture to be like, or unlike. */
export function leaning({ image, also }, id, negated) {
  if (image === null && !negated) return { image: { id } };
  return { also: [...also.filter((one) => one.id !== id), { id, negated }] };
}

/** What a tag is called in the address: [asked, left out], and the same where it is strict. */
const SIGNS = [["tag", "not"], ["only", "never"]];

export function toAddress(query) {
  const parts = new URLSearchParams();
  if (query.image?.id !== undefined) parts.append("image", query.image.id);
  for (const { id, negated } of query.also) parts.append(negated ? "unlike" : "also", id);
  for (const { name, negated, strict } of query.tags) parts.append(SIGNS[Number(strict)][Number(negated)], name);
  if (query.text) parts.append("text", query.text);
  for (const written of query.where) parts.append("where", written);
  if (query.variety) parts.append("variety", String(query.variety));
  if (query.fold) parts.append("copies", "fold");
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
    else if (key === "also" || key === "unlike") query.also = [...query.also, { id: value, negated: key === "unlike" }];
    else if (SIGNS.flat().includes(key)) {
      query.tags = withTag(query.tags, value, key === "not" || key === "never", SIGNS[1].includes(key));
    } else if (key === "text") query.text = value;
    else if (key === "where" && conditionOf(value)) query.where = [...query.where, conditionOf(value).written];
    else if (key === "variety") query.variety = readShare(value, 0);
    else if (key === "copies") query.fold = value === "fold";
    else if (key === "v") query.visualWeight = readShare(value, DEFAULT_WEIGHT);
    else if (key === "view" && value === "graph") query.view = value;
  }
  return query;
}

function readShare(written, otherwise) {
  const value = Number(written);
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : otherwise;
}

/** The tags with one more; a tag that is there already (in any case) takes the new sign. */
export function withTag(tags, name, negated = false, strict = undefined) {
  const same = (tag) => tag.name.toLowerCase() === name.toLowerCase();
  if (tags.some(same)) return tags.map((tag) => (same(tag) ? { ...tag, negated, strict: strict ?? tag.strict } : tag));
  return [...tags, { name, negated, strict: strict ?? false }];
}

const WORDS = [["", "not "], ["only ", "never "]];

/** The query in words, for the title and for screen readers. */
export function inWords(query) {
  const parts = [];
  if (query.image) parts.push(query.image.id === undefined ? "your picture" : "a picture");
  for (const { negated } of query.also) parts.push(negated ? "not like another" : "and like another");
  for (const { name, negated, strict } of query.tags) parts.push(WORDS[Number(strict)][Number(negated)] + isolated(name));
  if (query.text) parts.push(`“${isolated(query.text)}”`);
  parts.push(...query.where.map(isolated));
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
      this.#tell({ moved: false, whole: true });
    });
  }

  /**
   * `listener(query, {moved, whole})`. `moved`: only the dial was turned. `whole`: this is another query, not the one
   * before with a change, so what was still being made ready for that one is not wanted any more.
   */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** A new question: a new step for the Back button. */
  ask(change) {
    this.#step(change, { moved: false, whole: false });
  }

  /** Nothing is asked any more; the dial stays where it is. */
  clear() {
    this.#step(NOTHING, { moved: false, whole: true });
  }

  /** The same question with another balance: the address follows, the Back button does not. */
  adjust(change) {
    this.query = { ...this.query, ...change };
    clearTimeout(this.#resting);
    this.#resting = setTimeout(() => this.settle(), REST_MS);
    this.#tell({ moved: true, whole: false });
  }

  /** Brings the address up to date at once. */
  settle() {
    if (this.#resting === null) return;
    clearTimeout(this.#resting);
    this.#resting = null;
    history.replaceState(this.#memory(), "", toAddress(this.query));
  }

  #step(change, event) {
    this.settle();
    this.query = { ...this.query, ...change };
    history.pushState(this.#memory(), "", toAddress(this.query));
    this.#tell(event);
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
