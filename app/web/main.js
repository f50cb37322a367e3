/** Puts the page together: the query (state.js) goes out to the server, the answers go to the parts that show them. */
import { listenForNetwork, tellAbout } from "./about.js";
import { Dial } from "./dial.js";
import { byId } from "./dom.js";
import { Graph } from "./graph.js";
import { Grid } from "./grid.js";
import { listenForForgetting } from "./key.js";
import { listenForPictures } from "./picture.js";
import { ProblemPanel } from "./problem.js";
import { Refine } from "./refine.js";
import { Results } from "./results.js";
import { SearchBox } from "./searchbox.js";
import { Share } from "./share.js";
import { drawStart } from "./start.js";
import { from, inWords, isEmpty, leaning, Store } from "./state.js";
import { Suggestions } from "./suggest.js";
import { Taking } from "./taking.js";
import { Why } from "./why.js";

const store = new Store();
const problems = new ProblemPanel(byId("problem"));
let startDrawn = false;

const fromPicture = (id) => {
  results.land();
  store.ask(from(id));
  window.scrollTo({ top: 0 });
};
const addTag = (name) => box.addTag(name);
const startWithTag = (name) => {
  results.land();
  addTag(name);
};
const box = new SearchBox(store, {
  box: byId("box"), slot: byId("slot"), chips: byId("chips"), entry: byId("entry"), options: byId("options"),
  clear: byId("clear"), pick: byId("pick"),
}, (error) => problems.aside(error));
const dial = new Dial({
  row: byId("dial-row"), input: byId("dial"), concept: byId("concept-share"), visual: byId("visual-share"),
}, (weight) => store.adjust({ visualWeight: weight }));
const refine = new Refine(store, {
  panel: byId("refine"), form: byId("where-form"), where: byId("where"), wrong: byId("where-wrong"),
  variety: byId("variety"), share: byId("variety-share"), fold: byId("fold"),
});
const suggestions = new Suggestions({ row: byId("suggest"), title: byId("suggest-title"), list: byId("suggest-list") }, addTag);
const why = new Why(byId("why"), { pick: fromPicture, tag: addTag });
const grid = new Grid(byId("grid"), {
  pick: (hit) => fromPicture(hit.id),
  why: (hit) => void why.open(hit, results.query, results.pageOf(hit.id)),
  lean: (hit, negated) => store.ask(leaning(store.query, hit.id, negated)),
});
const graph = new Graph(byId("graph"), { pick: fromPicture, tag: addTag });
const results = new Results({
  section: byId("results"), row: byId("state-row"), status: byId("status"), spoken: byId("spoken"), legend: byId("legend"),
  blank: byId("blank"), more: byId("more"),
}, { grid, graph }, problems, (version) => void tellAbout(version));
const taking = new Taking(store, {
  taken: (image) => {
    store.ask({ image });
    window.scrollTo({ top: 0 });
  },
  failed: (error) => problems.show(error),
  busy: (yes) => document.body.classList.toggle("taking", yes),
});
const share = new Share(store, { button: byId("share"), label: byId("share-label"), spoken: byId("spoken") });

store.onChange(show);
listenForPictures({ button: byId("pick"), input: byId("file"), veil: byId("veil"), take: (file) => void taking.take(file) });
listenForForgetting();
listenForNetwork();
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  store.clear();
});
// Without the address's part behind #: following it would be a step back into a query without its own picture.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  const target = byId(byId("results").hidden ? "start" : "results");
  target.tabIndex = -1;
  target.focus();
});
byId("more").addEventListener("click", () => void results.more());
for (const view of ["grid", "graph"]) {
  byId(`view-${view}`).addEventListener("click", () => {
    if (store.query.view !== view) store.ask({ view });
  });
}

// What gets the focus is not to stand below the question, which stays at the top and grows.
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--question", `${target.offsetHeight}px`);
}).observe(document.querySelector(".ask"));

show(store.query, { moved: false, whole: true });
void tellAbout();

/** The whole page for a query; see Store.onChange for `moved` and `whole`. */
function show(query, { moved, whole }) {
  dial.show(query.visualWeight);
  share.reset();
  if (moved) {
    if (!isEmpty(query)) void results.rerank(query);
    return;
  }
  if (whole) {
    taking.drop();
    box.drop();
  }
  why.close();
  box.show(query);
  refine.show(query, whole);
  void suggestions.show(query);
  for (const view of ["grid", "graph"]) byId(`view-${view}`).setAttribute("aria-pressed", String(query.view === view));
  const words = inWords(query);
  document.title = words ? `${words} — imsage` : "imsage";
  const empty = isEmpty(query);
  byId("start").hidden = !empty;
  byId("results").hidden = empty;
  if (empty) {
    byId("state-row").hidden = true;
    results.stop();
    problems.hide();
    void showStart();
  } else void results.ask(query);
}

/** `again`: it has failed before, and the problem stays until that is over. */
async function showStart({ again = false } = {}) {
  try {
    if (!startDrawn) await drawStart(byId("start"), { tag: startWithTag, image: fromPicture });
    startDrawn = true;
    if (again && isEmpty(store.query)) problems.hide();
    void tellAbout();
  } catch (error) {
    if (isEmpty(store.query)) problems.show(error, () => void showStart({ again: true }));
  }
}
