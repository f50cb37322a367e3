/**
 * Small pictures of the catalogue. Where a key is needed an `<img>` cannot fetch them by itself, for it sends no
 * header: then each is fetched when it comes near the window, and shown from memory.
 */
import { fetchPicture, thumbnailOf } from "./api.js";
import { element } from "./dom.js";
import { currentKey, whenKeyIsGiven } from "./key.js";

const KEPT = 600;
const NEAR = "300px";
/** How long a picture that did not come is left alone before it is asked for again; every try that fails doubles it. */
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 60_000;

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

/** Stand-in → a function that puts another try in its place. */
const missing = new WeakMap();

/** The thumbnail of `id`; what `standIn()` makes takes its place while it cannot be had. */
export function thumbnailOr(standIn, id, attributes = {}, rest = FIRST_REST_MS) {
  const image = thumbnail(id, attributes);
  const keyed = currentKey() !== null;
  const again = (longer) => thumbnailOr(standIn, id, attributes, longer);
  image.addEventListener("error", ({ detail: problem }) => {
    if (!keyed && currentKey() !== null) {
      image.replaceWith(again(rest)); // the key came while this one was on its way without it
      return;
    }
    const instead = standIn();
    instead.classList.add("missing");
    missing.set(instead, () => instead.replaceWith(again(Math.min(LONGEST_REST_MS, rest * 2))));
    image.replaceWith(instead);
    // An <img> does not say why; where it is known, only what may pass is tried: each try could ask for another key.
    if (problem?.passes ?? true) askInTime(instead, rest);
  });
  return image;
}

/** Another try after a rest, while `node` still stands in for the picture; in a tab that nobody looks at, later. */
function askInTime(node, rest) {
  setTimeout(() => {
    if (!node.isConnected) return;
    if (document.hidden) askInTime(node, rest);
    else missing.get(node)();
  }, rest);
}

/** What kept pictures away is over. */
function askForAll() {
  for (const node of document.querySelectorAll(".missing")) missing.get(node)?.();
}
window.addEventListener("online", askForAll);
whenKeyIsGiven(askForAll);

async function show(image, id) {
  try {
    image.src = await blobOf(id);
  } catch (problem) {
    image.dispatchEvent(new CustomEvent("error", { detail: problem }));
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
