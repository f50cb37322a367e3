/** The HTTP calls that the page makes. Every failure is a Problem, with the words to show. */

/** An RFC 9457 problem, or its stand-in when the server did not answer with one. */
export class Problem extends Error {
  constructor({ title, detail = "", status = 0, errors = [] }) {
    super(detail || title);
    this.title = title;
    this.detail = detail;
    this.status = status;
    this.errors = errors;
  }
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The server does not answer", detail: "It may be restarting, or the network is down." });
  }
  let body = null;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (response.ok && body !== null) return body;
  throw new Problem({
    title: body?.title || "The server could not answer",
    detail: body?.detail || `It said: HTTP ${response.status} ${response.statusText}`.trim(),
    status: response.status,
    errors: Array.isArray(body?.errors) ? body.errors : [],
  });
}

function postJson(path, body, signal) {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

/** What `query` (see state.js) is in the API's words, without an uploaded picture. */
export function searchBody(query, { explain = false } = {}) {
  const body = { visual_weight: query.visualWeight, limit: query.limit };
  if (query.image?.id !== undefined) body.image = { id: query.image.id };
  if (query.tags.length) {
    body.tags = query.tags.map(({ name, negated }) => ({ name, weight: negated ? -1 : 1 }));
  }
  if (query.text) body.text = query.text;
  if (explain) body.explain = true;
  return body;
}

/** Hits for a query; an uploaded picture travels as the bytes that picture.js made small. */
export function search(query, { signal, explain } = {}) {
  const body = searchBody(query, { explain });
  if (!query.image?.bytes) return postJson("/v1/search", body, signal);
  const form = new FormData();
  form.append("image", query.image.bytes, query.image.name || "picture");
  form.append("query", JSON.stringify(body));
  return call("/v1/search/upload", { method: "POST", body: form, signal });
}

export async function predictTags(image, limit, signal) {
  const asked = image.id === undefined ? { data: await base64(image.bytes) } : { id: image.id };
  return (await postJson("/v1/tags/predict", { image: asked, limit }, signal)).tags;
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

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Problem({ title: "The file cannot be read", detail: String(reader.error) }));
    reader.readAsDataURL(blob);
  });
}
