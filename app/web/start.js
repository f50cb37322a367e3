/** The first view: popular tags with a few of their pictures, and pictures to start from. */
import { search, tagsStartingWith } from "./api.js";
import { element } from "./dom.js";
import { emptyQuery } from "./state.js";
import { thumbnailOr } from "./thumbnail.js";

const TILES = 6;
const CHIPS = 18;
const PICTURES = 4;
const MORE_PICTURES = 8;

/** Draws into `section`; `listeners`: {tag(name), image(id)}. Rejects with a Problem when there is nothing to serve. */
export async function drawStart(section, listeners) {
  const popular = await tagsStartingWith("", TILES + CHIPS);
  const tried = varied(popular, TILES);
  const asked = await Promise.allSettled(tried.map(({ name }) =>
    search({ ...emptyQuery(), tags: [{ name, negated: false }] }, { limit: PICTURES + MORE_PICTURES })));
  const answered = (at) => asked[at].status === "fulfilled";
  if (asked.length && !asked.some((_, at) => answered(at))) throw asked[0].reason;
  // One tag that cannot be searched for is no reason to show nothing.
  const leading = tried.filter((_, at) => answered(at));
  const hitsOf = asked.filter((_, at) => answered(at)).map(({ value }) => value.hits.map((hit) => hit.id));
  // Every picture once where there are enough of them: popular tags often share their pictures.
  const seen = new Set();
  const collages = hitsOf.map((ids) => {
    const fresh = ids.filter((id) => !seen.has(id));
    const chosen = (fresh.length < PICTURES ? ids : fresh).slice(0, PICTURES);
    chosen.forEach((id) => seen.add(id));
    return chosen;
  });
  const rest = [];
  for (let at = 0; at < PICTURES + MORE_PICTURES; at += 1) {
    for (const ids of hitsOf) {
      if (ids[at] === undefined || seen.has(ids[at])) continue;
      seen.add(ids[at]);
      rest.push(ids[at]);
    }
  }

  section.replaceChildren(...[
    element("h1", { id: "start-title" }, "By what it shows, by how it looks, or by both"),
    element("p", { class: "lead" },
      "Drop a picture, type what it is about, and turn the dial between the two. The results follow."),
    leading.length ? tiles(leading, collages, listeners) : null,
    popular.length > tried.length ? tagList(popular.filter((tag) => !tried.includes(tag)), listeners) : null,
    rest.length ? pictures(rest.slice(0, TILES * 2), listeners) : null,
  ].filter(Boolean));
}

/** The first `count` tags of which none begins as another does: "flag" beside "flags" would show the same twice. */
function varied(tags, count) {
  const chosen = [];
  for (const tag of tags) {
    const name = tag.name.toLowerCase();
    const alike = chosen.some(({ name: other }) => name.startsWith(other.toLowerCase()) || other.toLowerCase().startsWith(name));
    if (!alike && chosen.length < count) chosen.push(tag);
  }
  return chosen;
}

function tiles(tags, collages, listeners) {
  return element("ul", { class: "tiles", "aria-label": "Popular tags" }, ...tags.map(({ name, count }, at) =>
    element("li", {}, element("button", { type: "button", class: "tile-tag", onclick: () => listeners.tag(name) },
      element("span", { class: "collage" },
        ...collages[at].map(picture)),
      element("span", { class: "tile-name" }, element("b", {}, name),
        element("span", { class: "option-count", "aria-label": `${count} pictures` }, count.toLocaleString("en")))))));
}

function tagList(tags, listeners) {
  return element("ul", { class: "plain-tags", "aria-label": "More tags" }, ...tags.map(({ name, count }) =>
    element("li", {}, element("button", { type: "button", class: "add-tag", title: `${count} pictures`, onclick: () => listeners.tag(name) }, name))));
}

function pictures(ids, listeners) {
  return element("div", { class: "from-picture" },
    element("h2", {}, "Or start from a picture"),
    element("ul", {}, ...ids.map((id) => element("li", {},
      element("button", { type: "button", "aria-label": `Search with picture ${id}`, title: id, onclick: () => listeners.image(id) },
        picture(id))))));
}

const picture = (id) => thumbnailOr(() => element("span"), id);
