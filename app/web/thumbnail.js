/**
 * Small pictures of the catalogue. Where a key is needed an `<img>` cannot fetch them by itself, for it sends no
 * header: then each is fetched when it comes near the window, and shown from memory.
 */
import { fetchPicture, thumbnailOf } from "./api.js";
import { element } from "./dom.js";
import { currentKey } from "./key.js";

const KEPT = 600;
const NEAR = "300px";

/** Id → promise of a blob: address; the one used longest ago first. */
const fetched = new Map();
const wanted = new WeakMap();
const nearing = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    nearing.unobserve(target);
    void show(target, wanted.get(target));
  }
}, { rootMargin: NEAR });

/** An `img` with the thumbnail of `id`. It fires `error` where there is none. */
export function thumbnail(id, attributes = {}) {
  const image = element("img", { alt: "", draggable: "false", decoding: "async", ...attributes });
  if (currentKey() === null) {
    image.src = thumbnailOf(id);
  } else {
    wanted.set(image, id);
    nearing.observe(image);
  }
  return image;
}

async function show(image, id) {
  try {
    image.src = await blobOf(id);
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}

function blobOf(id) {
  const address = fetched.get(id) ?? fetchPicture(thumbnailOf(id)).then((blob) => URL.createObjectURL(blob));
  fetched.delete(id);
  fetched.set(id, address);
  address.catch(() => fetched.delete(id));
  if (fetched.size > KEPT) {
    const [oldest, old] = fetched.entries().next().value;
    fetched.delete(oldest);
    old.then((url) => URL.revokeObjectURL(url), () => {}); // one that failed left nothing behind
  }
  return address;
}
