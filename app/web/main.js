/** Puts the page together: the query (state.js) goes out to the server, the answers go to the parts that show them. */
import { listenForNetwork, showAbout } from "./about.js";
import { describeIndex } from "./api.js";
import { Dial } from "./dial.js";
import { byId } from "./dom.js";
import { Graph } from "./graph.js";
import { Grid } from "./grid.js";
import { listenForForgetting } from "./key.js";
import { listenForPictures, prepare } from "./picture.js";
import { ProblemPanel } from "./problem.js";
import { Refine } from "./refine.js";
import { Results } from "./results.js";
import { SearchBox } from "./searchbox.js";
import { drawStart } from "./start.js";
import { from, inWords, isEmpty, leaning, NOTHING, Store } from "./state.js";
import { Suggestions } from "./suggest.js";
import { Why } from "./why.js";

const store = new Store();
const problems = new ProblemPanel(byId("problem"));
let startDrawn = false;

const fromPicture = (id) => {
  store.ask(from(id));
  window.scrollTo({ top: 0 });
};
const addTag = (name) => box.addTag(name);
const box = new SearchBox(store, {
  box: byId("box"), slot: byId("slot"), chips: byId("chips"), entry: byId("entry"), options: byId("options"), clear: byId("clear"),
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
  why: (hit) => void why.open(hit, store.query, results.pageOf(hit.id)),
  lean: (hit, negated) => store.ask(leaning(store.query, hit.id, negated)),
});
const graph = new Graph(byId("graph"), { pick: fromPicture, tag: addTag });
const results = new Results({
  section: byId("results"), row: byId("state-row"), status: byId("status"), spoken: byId("spoken"), legend: byId("legend"),
  blank: byId("blank"), more: byId("more"),
}, { grid, graph }, problems);

store.onChange(show);
listenForPictures({ button: byId("pick"), input: byId("file"), veil: byId("veil"), take: (file) => void takePicture(file) });
listenForForgetting();
listenForNetwork();
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  store.ask(NOTHING);
});
// Without the address's part behind #: following it would be a step back into a query without its own picture.
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  const target = byId(byId("results").hidden ? "start" : "results");
  target.tabIndex = -1;
  target.focus();
});
byId("more").addEventListener("click", () => void results.more(store.query));
byId("share").addEventListener("click", () => void share());
for (const view of ["grid", "graph"]) {
  byId(`view-${view}`).addEventListener("click", () => {
    if (store.query.view !== view) store.ask({ view });
  });
}

show(store.query, { moved: false });
describeIndex().then(showAbout, () => {}); // the first search tells what is wrong

/** The whole page for a query. `moved`: only the dial was turned. */
function show(query, { moved }) {
  dial.show(query.visualWeight);
  byId("share-label").textContent = "Copy link";
  if (moved && !isEmpty(query)) {
    void results.rerank(query);
    return;
  }
  box.show(query);
  refine.show(query);
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
    void showStart();
  } else void results.ask(query);
}

async function showStart() {
  problems.hide();
  if (startDrawn) return;
  try {
    await drawStart(byId("start"), { tag: addTag, image: fromPicture });
    startDrawn = true;
    if (isEmpty(store.query)) problems.hide();
  } catch (error) {
    if (isEmpty(store.query)) problems.show(error, () => void showStart());
  }
}

async function takePicture(file) {
  try {
    store.ask({ image: await prepare(file) });
    window.scrollTo({ top: 0 });
  } catch (error) {
    problems.show(error);
  }
}

async function share() {
  const label = byId("share-label");
  store.settle();
  try {
    await navigator.clipboard.writeText(location.href);
    label.textContent = store.query.image?.bytes ? "Copied, without your picture" : "Copied";
  } catch {
    label.textContent = "Copy the address above";
  }
}
