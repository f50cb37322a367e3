/** The HTTP calls that the page makes. Every failure is a Problem, with the words to show. */
import { filterOf } from "./conditions.js";
import { toJson } from "./exact.js";
import { askForKey, currentKey, withKey } from "./key.js";

/** Results in one answer, unless more are asked for. */
export const PAGE = 48;
/** The API's own cap on `limit`. */
export const MOST = 1000;
const SCOPE_IS_MISSING = "urn:imsage:problem:insufficient-scope";

/** An RFC 9457 problem, or its stand-in when the server did not answer with one. */
export class Problem extends Error {
  constructor({ type = "", title, detail = "", status = 0, errors = [], retryAfter = null }) {
    super(detail || title);
    this.type = type;
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.errors = errors;
    /** Seconds, where the server said how long to wait. */
    this.retryAfter = retryAfter;
  }

  /** Whether it may be over in a moment: nobody answered, not even to a proxy, too many asked, or the server is starting. */
  get passes() {
    return [0, 429, 502, 503, 504].includes(this.status);
  }

  /** Whether another key would help; much else is forbidden whoever asks. */
  get wantsKey() {
    return this.status === 401 || (this.status === 403 && this.type === SCOPE_IS_MISSING);
  }
}

const away = () => new Problem({ title: "The server does not answer", detail: "It may be restarting, or the network is down." });

/** A connection that breaks off in the middle of an answer is a TypeError of whatever reads it. */
const brokenOff = (error) => error instanceof TypeError;

/** The response, whatever its status; asks the user for a key where the server wants one. */
export async function send(path, options = {}) {
  for (;;) {
    const used = currentKey();
    let response;
    try {
      response = await fetch(path, { ...options, headers: withKey(options.headers) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw away();
    }
    if (response.status !== 401) return response;
    if (currentKey() === used && !(await askForKey(used === null ? "" : "The server did not accept that key."))) return response;
    options.signal?.throwIfAborted();
  }
}

/** The Problem that a response with an error status carries. */
export async function problemOf(response) {
  let body = null;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Problem({
    type: body?.type,
    title: body?.title || "The server could not answer",
    detail: body?.detail || `It said: HTTP ${response.status} ${response.statusText}`.trim(),
    status: response.status,
    errors: Array.isArray(body?.errors) ? body.errors : [],
    retryAfter: Number.isFinite(wait) ? wait : null,
  });
}

export async function call(path, options = {}) {
  const response = await send(path, options);
  if (!response.ok) throw await problemOf(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (brokenOff(error)) throw away();
    throw new Problem({ title: "The server could not answer", detail: "What it sent is not JSON.", status: response.status });
  }
}

export async function fetchPicture(path) {
  const response = await send(path);
  if (!response.ok) throw await problemOf(response);
  return response.blob().catch((error) => {
    throw brokenOff(error) ? away() : error;
  });
}

export function postJson(path, body, signal) {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: toJson(body),
    signal,
  });
}

/** Results whose features agree as much as this are one picture saved twice. */
const NEAR_COPY = 0.97;

/** What `query` (see state.js) is in the API's words, without an uploaded picture that stands alone. */
async function searchBody(query, { limit = PAGE, cursor = null, explain = false }) {
  const body = { visual_weight: query.visualWeight, limit };
  if (query.also.length) {
    const first = query.image ? [await named(query.image)] : [];
    body.image = [...first, ...query.also.map(({ id, negated }) => ({ id, weight: negated ? -1 : 1 }))];
  } else if (query.image?.id !== undefined) body.image = { id: query.image.id };
  const filter = filterOf(query);
  if (filter) body.filter = filter;
  if (query.variety) body.diversity = query.variety;
  if (query.fold) body.collapse = NEAR_COPY;
  if (query.tags.length) {
    body.tags = query.tags.map(({ name, negated }) => ({ name, weight: negated ? -1 : 1 }));
  }
  if (query.text) body.text = query.text;
  if (cursor !== null) body.cursor = cursor;
  if (explain) body.explain = true;
  return body;
}

/**
 * Hits for a query; an uploaded picture travels as the bytes that picture.js made small.
 * `page`: {limit, cursor, explain}, each with a default.
 */
export async function search(query, page = {}, signal = undefined) {
  const body = await searchBody(query, page);
  if (!query.image?.bytes || body.image) return postJson("/v1/search", body, signal);
  const form = new FormData();
  form.append("image", query.image.bytes, query.image.name || "picture");
  form.append("query", toJson(body));
  return call("/v1/search/upload", { method: "POST", body: form, signal });
}

export async function predictTags(image, limit, signal) {
  return (await postJson("/v1/tags/predict", { image: await named(image), limit }, signal)).tags;
}

const written = new WeakMap(); // the dial asks with the same picture many times

async function named({ id, bytes }) {
  if (id !== undefined) return { id };
  if (!written.has(bytes)) written.set(bytes, await base64(bytes));
  return { data: written.get(bytes) };
}

export async function tagsStartingWith(prefix, limit, signal) {
  const query = new URLSearchParams({ prefix, limit: String(limit) });
  return (await call(`/v1/tags?${query}`, { signal })).tags;
}

/** Ids may hold slashes, question marks and dots: one encoded path segment. */
const imagePath = (id) => `/v1/images/${encodeURIComponent(id)}`;
export const thumbnailOf = (id) => `${imagePath(id)}/thumbnail`;
export const fileOf = (id) => `${imagePath(id)}/file`;
export const describeImage = (id, signal) => call(imagePath(id), { signal });
export const describeIndex = () => call("/v1/index");
/** The picture's edges: {similar: [{id, weight}], tags: [{name, weight}], …}. */
export const neighboursOf = (id, signal) => call(`${imagePath(id)}/neighbors`, { signal });

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Problem({ title: "The file cannot be read", detail: String(reader.error) }));
    reader.readAsDataURL(blob);
  });
}
