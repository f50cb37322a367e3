/** Puts the page together: the query (state.js) goes out to the server, the answers go to the parts that show them. */
import { describeImage, describeIndex, predictTags, search } from "./api.js";
import { Dial } from "./dial.js";
import { byId, element, icon, percent } from "./dom.js";
import { Grid } from "./grid.js";
import { Latest } from "./latest.js";
import { listenForPictures, prepare } from "./picture.js";
import { SearchBox } from "./searchbox.js";
import { drawStart } from "./start.js";
import { inWords, isEmpty, MOST, PAGE, Store } from "./state.js";
import { Why } from "./why.js";

const PATIENCE_MS = 150; // an answer that comes sooner needs no sign of waiting
const SUGGESTED = 8;

const store = new Store();
let patience = 0;
const results = new Latest((busy) => {
  byId("results").setAttribute("aria-busy", String(busy));
  clearTimeout(patience);
  if (busy) patience = setTimeout(showWaiting, PATIENCE_MS);
  else byId("results").classList.remove("slow");
});
const suggestions = new Latest();
let startDrawn = false;

const fromPicture = (id) => {
  store.ask({ image: { id } });
  window.scrollTo({ top: 0 });
};
const box = new SearchBox(store, {
  box: byId("box"), slot: byId("slot"), chips: byId("chips"), entry: byId("entry"), options: byId("options"), clear: byId("clear"),
}, showProblem);
const dial = new Dial({
  row: byId("dial-row"), input: byId("dial"), concept: byId("concept-share"), visual: byId("visual-share"),
}, (weight) => store.adjust({ visualWeight: weight }));
const why = new Why(byId("why"), { pick: fromPicture, tag: (name) => box.addTag(name) });
const grid = new Grid(byId("grid"), { pick: (hit) => fromPicture(hit.id), why: (hit) => void why.open(hit, store.query) });

store.onChange(show);
listenForPictures({ button: byId("pick"), input: byId("file"), veil: byId("veil"), take: (file) => void takePicture(file) });
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  store.ask({ image: null, tags: [], text: "" });
});
byId("more").addEventListener("click", () => store.adjust({ limit: Math.min(MOST, store.query.limit + PAGE) }));
byId("share").addEventListener("click", () => void share());

show(store.query, { moved: false });
void drawFooter();

/** The whole page for a query. `moved`: only the dial or the length changed. */
function show(query, { moved }) {
  dial.show(query.visualWeight);
  if (!moved) {
    box.show(query);
    void suggestTags(query.image);
    byId("share-label").textContent = "Copy link";
  }
  const words = inWords(query);
  document.title = words ? `${words} — imsage` : "imsage";
  const empty = isEmpty(query);
  byId("start").hidden = !empty;
  byId("results").hidden = empty;
  if (empty) byId("state-row").hidden = true;
  if (empty) {
    results.cancel();
    grid.clear();
    void showStart();
  } else if (moved) void results.queue((signal) => showResults(store.query, signal));
  else void results.replace((signal) => showResults(query, signal));
}

async function showResults(query, signal) {
  try {
    const answer = await search(query, { signal });
    if (signal.aborted) return;
    hideProblem();
    byId("state-row").hidden = false;
    grid.show(answer.hits);
    showBlank(query, answer.hits);
    byId("more").hidden = answer.hits.length < query.limit || query.limit >= MOST;
    byId("legend").hidden = answer.hits.length === 0;
    const took = answer.took_ms?.total;
    byId("status").textContent = [
      `${answer.hits.length} ${answer.hits.length === 1 ? "result" : "results"} for ${inWords(query)}`,
      took === undefined ? "" : `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`,
    ].filter(Boolean).join(" · ");
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    grid.clear();
    byId("more").hidden = true;
    byId("blank").hidden = true;
    byId("legend").hidden = true;
    byId("status").textContent = "";
    byId("state-row").hidden = true;
    showProblem(error, () => show(store.query, { moved: false }));
  }
}

function showWaiting() {
  byId("results").classList.add("slow");
  grid.showWaiting(12);
}

function showBlank(query, hits) {
  const blank = byId("blank");
  blank.hidden = hits.length > 0;
  if (hits.length) return;
  const negated = query.tags.some((tag) => tag.negated);
  blank.replaceChildren(element("p", {}, element("b", {}, "No picture fits.")), element("p", { class: "quiet" },
    negated ? "Let in one of the tags that are left out, or add a picture." : "Try other words, or start from a picture."));
}

async function showStart() {
  hideProblem();
  if (startDrawn) return;
  const section = byId("start");
  try {
    await drawStart(section, { tag: (name) => box.addTag(name), image: fromPicture });
    startDrawn = true;
  } catch (error) {
    if (isEmpty(store.query)) showProblem(error, showStart);
  }
}

async function takePicture(file) {
  try {
    store.ask({ image: await prepare(file) });
    window.scrollTo({ top: 0 });
  } catch (error) {
    showProblem(error);
  }
}

/** Tags to add: those predicted for a dropped picture, those known of a picture of the catalogue. */
async function suggestTags(image) {
  const row = byId("suggest");
  if (row.dataset.of === (image?.key ?? image?.id)) {
    markSuggestions();
    return;
  }
  row.hidden = true;
  row.dataset.of = "";
  byId("suggest-list").replaceChildren();
  suggestions.cancel();
  if (!image) return;
  await suggestions.replace(async (signal) => {
    let tags;
    try {
      tags = image.bytes ? await predictTags(image, SUGGESTED, signal) : (await describeImage(image.id, signal)).tags.slice(0, SUGGESTED);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return; // the search of the same picture tells what is wrong with it
    }
    if (signal.aborted || !tags.length) return;
    byId("suggest-title").textContent = image.bytes ? "Seen in your picture" : "Tags of this picture";
    byId("suggest-list").replaceChildren(...tags.map((tag) => suggestion(tag, Boolean(image.bytes))));
    row.dataset.of = image.key ?? image.id;
    row.hidden = false;
    markSuggestions();
  });
}

function suggestion(tag, predicted) {
  const name = typeof tag === "string" ? tag : tag.name;
  return element("li", {}, element("button", {
    type: "button",
    class: "add-tag",
    "data-tag": name,
    "aria-label": predicted ? `Add ${name}, likely at ${percent(tag.score)}` : `Add ${name}`,
    onclick: () => box.addTag(name),
  }, icon("plus"), name, predicted ? element("small", {}, percent(tag.score)) : null));
}

/** A suggestion that is in the query already has nothing to add. */
function markSuggestions() {
  const asked = new Set(store.query.tags.map(({ name }) => name.toLowerCase()));
  for (const button of byId("suggest-list").querySelectorAll("button")) {
    button.disabled = asked.has(button.dataset.tag.toLowerCase());
  }
}

function showProblem(error, again = null) {
  const panel = byId("problem");
  panel.replaceChildren(...[
    element("h2", {}, error.title || "Something went wrong"),
    element("p", {}, error.detail || error.message),
    error.errors?.length ? element("ul", {}, ...error.errors.map(({ pointer, detail }) =>
      element("li", {}, pointer ? element("code", {}, pointer) : null, pointer ? " " : null, detail))) : null,
    element("p", { class: "problem-actions" },
      again ? element("button", { type: "button", class: "primary", onclick: () => again() }, "Try again") : null,
      element("button", { type: "button", class: "tool", onclick: hideProblem }, "Dismiss")),
  ].filter(Boolean));
  panel.hidden = false;
}

function hideProblem() {
  byId("problem").hidden = true;
}

async function share() {
  const label = byId("share-label");
  try {
    await navigator.clipboard.writeText(location.href);
    label.textContent = store.query.image?.bytes ? "Copied, without your picture" : "Copied";
  } catch {
    label.textContent = "Copy the address above";
  }
}

async function drawFooter() {
  let index;
  try {
    index = await describeIndex();
  } catch {
    return; // the first search tells what is wrong
  }
  const { images, tags } = index.counts ?? {};
  if (images !== undefined) {
    byId("facts").textContent = `${images.toLocaleString("en")} pictures · ${tags.toLocaleString("en")} tags`;
  }
  byId("credits").replaceChildren(...linked(index.credits ?? ""));
  byId("version").textContent = [
    index.index_version && `index ${index.index_version}`, index.model?.preset && `model ${index.model.preset}`, index.encoder?.name, index.degraded,
  ].filter(Boolean).join(" · ");
}

/** Text with its https addresses as links. */
function linked(text) {
  return String(text).split(/(https:\/\/[^\s,;)]+)/).map((part, at) =>
    (at % 2 ? element("a", { href: part, rel: "noopener noreferrer" }, part.replace("https://", "")) : part));
}
