/** The page of jobs: what runs, what ran, and the buttons that start more. */
import { listenForNetwork, showAbout } from "./about.js";
import { describeIndex, Problem } from "./api.js";
import { byId } from "./dom.js";
import { cancelJob, followJob, hasEnded, listJobs, newKey, resumeJob, startJob } from "./job_calls.js";
import { enable, isEnabled, JobCard, stateOf, titleOf } from "./job_card.js";
import { listenForForgetting } from "./key.js";
import { ProblemPanel } from "./problem.js";

/** Jobs that others start (the schedule, another user) show up after so long at the latest. */
const LOOK_EVERY_MS = 15_000;
/** A server notices an index soon after the job that made it has ended, and then opens it. */
const NOTICED_AFTER_MS = [1000, 2000, 4000];
const NOT_HERE = 404;
const ORDERS = [byId("reindex"), byId("train")];

const problems = new ProblemPanel(byId("problem"));
const cards = new Map();
const known = new Map();
const followed = new Set();
let older = null;
/** What GET /v1/index told last. */
let index = null;
let numAsked = 0;

listenForForgetting();
listenForNetwork();
for (const button of ORDERS) {
  button.addEventListener("click", () => {
    if (isEnabled(button)) order((key) => startJob({ kind: button.id }, key));
  });
}
byId("more").addEventListener("click", () => void attempt(showOlder));
setInterval(() => {
  if (!document.hidden && byId("problem").hidden) void attempt(look);
}, LOOK_EVERY_MS);
void attempt(look);
void about();

/** The newest jobs. Whatever runs is followed. */
async function look() {
  const { jobs, next_cursor: cursor } = await listJobs();
  const apart = jobs.length > 0 && !jobs.some(({ id }) => known.has(id));
  if (apart) {
    // At first; or so many ran while nobody looked that there are others between these and those that are shown.
    known.clear();
    cards.clear();
    byId("jobs").replaceChildren();
  }
  if (apart || jobs.length === 0) older = cursor;
  for (const job of [...jobs].reverse()) take(job, true);
  byId("jobs").setAttribute("aria-busy", "false");
  byId("none").hidden = cards.size > 0;
  byId("more").hidden = older === null;
  may(true);
  // It has not come yet, or another index may be served by now, made where this page sees no job.
  if (index === null || byId("hint").textContent || isBehind()) void about();
}

async function showOlder() {
  const { jobs, next_cursor: cursor } = await listJobs(older);
  for (const job of jobs) take(job, false);
  older = cursor;
  byId("more").hidden = older === null;
}

/** Shows a job, new ones on top or at the end, and follows it while it runs. */
function take(job, onTop) {
  const before = known.get(job.id);
  known.set(job.id, job);
  if (!cards.has(job.id)) {
    const card = new JobCard({
      cancel: ({ id }) => void attempt(async () => take(await cancelJob(id), true)),
      resume: ({ id }) => order((key) => resumeJob(id, key)),
    });
    cards.set(job.id, card);
    byId("jobs")[onTop ? "prepend" : "append"](card.node);
    byId("none").hidden = true;
  }
  cards.get(job.id).show(job);
  // One runs at a time: while it does, another would be refused.
  const running = [...known.values()].some((other) => !hasEnded(other));
  for (const button of ORDERS) enable(button, !running);
  for (const card of cards.values()) card.mayResume(!running);
  hint();
  if (before && before.state !== job.state) {
    byId("spoken").textContent = `${titleOf(job)}: ${stateOf(job)}`;
    if (job.state === "succeeded") {
      void about();
      for (const pause of NOTICED_AFTER_MS) setTimeout(() => isBehind() && void about(), pause);
    }
  }
  if (!hasEnded(job) && !followed.has(job.id)) void follow(job.id);
}

/** The newest of the jobs that succeeded. */
function newestOf(jobs) {
  return jobs.filter(({ state }) => state === "succeeded").sort((a, b) => numberOf(b) - numberOf(a))[0];
}

/** Whether the index that was told last is older than the one that the newest reindexing has made. */
function isBehind() {
  const made = newestOf([...known.values()].filter(({ kind }) => kind === "reindex"));
  const version = made?.result?.index_version;
  return Boolean(version) && index !== null && version !== index.index_version && !(Date.parse(index.created) > Date.parse(made.ended));
}

function hint() {
  const newest = newestOf([...known.values()]);
  const waits = newest?.kind === "train" && index !== null && !isServed(newest);
  byId("hint").textContent = waits ? "The newest model is not served yet: reindex." : "";
}

/** Whether the index was made after the training, by whatever made it. It tells its time in whole seconds. */
function isServed({ ended }) {
  return Math.floor(Date.parse(ended) / 1000) * 1000 <= Date.parse(index.created);
}

/** Jobs are numbered in order, whatever the clock said. */
function numberOf({ id }) {
  return Number.parseInt(id, 10);
}

async function follow(id) {
  followed.add(id);
  try {
    await followJob(id, (job) => take(job, true));
  } catch (error) {
    problems.show(error, () => void attempt(look));
  } finally {
    followed.delete(id);
  }
}

/** Starts something, once however often the same click is tried. */
function order(start) {
  const key = newKey();
  void attempt(async () => {
    take(await start(key), true);
    byId("none").hidden = true;
  });
}

/** Runs `task`; what goes wrong is shown, with the way to try the same again. */
async function attempt(task) {
  try {
    await task();
    problems.hide();
  } catch (error) {
    if (task === look) may(false);
    byId("jobs").setAttribute("aria-busy", "false");
    problems.show(task === look && error.status === NOT_HERE ? withoutJobs() : error, () => void attempt(task));
    if (error.status === 409) void look().catch(() => {}); // what runs instead is shown below the problem
  }
}

/** Whether anything can be started at all. */
function may(yes) {
  const running = [...known.values()].some((job) => !hasEnded(job));
  for (const button of ORDERS) enable(button, yes && !running);
}

function withoutJobs() {
  return new Problem({
    title: "This server runs no jobs",
    detail: "Use the command line instead: imsage reindex --data DIR, imsage train --data DIR.",
    status: NOT_HERE,
  });
}

async function about() {
  numAsked += 1;
  const turn = numAsked;
  try {
    const told = await describeIndex();
    if (turn !== numAsked) return; // an answer that comes late may be older
    index = told;
    showAbout(index);
    hint();
    byId("serving").textContent = index.index_version ? `Serving index ${index.index_version}.` : "";
  } catch {
    if (turn === numAsked) byId("serving").textContent = ""; // the list of jobs tells what is wrong
  }
}
