/** The query's pictures in the search box: the one that it is about, and those to be like or unlike as well. */
import { element, icon } from "./dom.js";
import { thumbnailOr } from "./thumbnail.js";

/** The classes of what can have the focus in one. */
export const CONTROLS = ["chip-x", "picture-sign"];

/** Nodes for the pictures of `query`; `ask(change)` changes it. */
export function pictureChips({ image, also }, ask) {
  const first = image ? [chip(image, {
    label: "Remove the picture from the query",
    remove: () => ask(withoutFirst(also)),
  })] : [];
  return [...first, ...also.map((one) => alsoChip(one, also, ask))];
}

/** The next picture to be like takes the place of the first. */
function withoutFirst(also) {
  const next = also.find(({ negated }) => !negated);
  return next ? { image: { id: next.id }, also: also.filter((one) => one !== next) } : { image: null };
}

function alsoChip(one, also, ask) {
  const { id, negated } = one;
  const turn = element("button", {
    type: "button",
    class: "picture-sign",
    "aria-pressed": String(negated),
    "aria-label": `Unlike picture ${id}`,
    title: negated ? "Unlike this. Click to be like it" : "Like this, too. Click to be unlike it",
    onclick: () => ask({ also: also.map((other) => (other === one ? { id, negated: !negated } : other)) }),
  }, negated ? "−" : "+");
  return chip(one, {
    label: `Remove picture ${id} from the query`,
    remove: () => ask({ also: also.filter((other) => other !== one) }),
    negated,
  }, turn);
}

function chip(image, { label, remove, negated = false }, ...more) {
  const placeholder = () => element("span", { class: "placeholder" }, icon("picture"));
  const onerror = () => picture.replaceWith(placeholder());
  const picture = image.id === undefined
    ? element("img", { src: image.preview, alt: `Your picture ${image.name}`, draggable: "false", onerror })
    : thumbnailOr(placeholder, image.id, { alt: `Picture ${image.id}` });
  const away = element("button", { type: "button", class: "chip-x", "aria-label": label, onclick: remove }, icon("close"));
  const kind = negated ? "query-picture negated" : "query-picture";
  return element("span", { class: kind, "data-of": image.key ?? image.id }, picture, ...more, away);
}
