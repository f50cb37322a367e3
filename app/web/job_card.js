/** One job as a card: what it does, how far it is, how it ended, and what can be done about it. */
import { element, percent } from "./dom.js";
import { hasEnded } from "./job_calls.js";

const KINDS = { reindex: "Reindex", train: "Train" };
const STATES = { enqueued: "Waiting", processing: "Running", succeeded: "Done", failed: "Failed", canceled: "Canceled" };
const PHASES = {
  start: "Starting",
  search: "Choosing the parameters",
  solve: "Fitting the model",
  train: "Training",
  "query views": "Asking as searches will",
  similar: "Joining similar pictures",
  embed: "Embedding pictures and tags",
  write: "Writing the snapshot",
};
const CODES = /^(\d+)-bit codes$/;

/** Whether a button does something. Disabled for the browser it would lose the focus, often that of the very click. */
export const enable = (button, yes) => button.setAttribute("aria-disabled", String(!yes));
export const isEnabled = (button) => button.getAttribute("aria-disabled") !== "true";

export class JobCard {
  #listeners;
  #parts;
  #job = null;

  /** `listeners`: {cancel(job), resume(job)}. */
  constructor(listeners) {
    this.#listeners = listeners;
    const part = (name, attributes) => element(name, attributes);
    this.#parts = {
      title: part("h3", {}),
      state: part("span", { class: "job-state" }),
      phase: part("p", { class: "job-phase" }),
      bar: element("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, element("i", {})),
      counts: part("p", { class: "job-counts quiet" }),
      words: part("p", { class: "job-words" }),
      when: part("p", { class: "job-when quiet" }),
      cancel: this.#button("Cancel", (job) => this.#listeners.cancel(job)),
      resume: this.#button("Resume", (job) => this.#listeners.resume(job)),
    };
    const { title, state, phase, bar, counts, words, when, cancel, resume } = this.#parts;
    this.node = element("li", { class: "job" },
      element("div", { class: "job-head" }, title, state, element("span", { class: "job-actions" }, cancel, resume)),
      element("div", { class: "job-running" }, phase, counts, bar), words, when);
  }

  #button(words, act) {
    const button = element("button", {
      type: "button",
      class: "tool strong",
      onclick: () => {
        if (isEnabled(button)) act(this.#job);
      },
    }, words);
    return button;
  }

  show(job) {
    this.#job = job;
    const { title, state, words, when, cancel, resume } = this.#parts;
    const called = titleOf(job);
    const over = hasEnded(job);
    const focused = [cancel, resume].find((button) => button === document.activeElement);
    this.node.dataset.state = job.interrupted ? "interrupted" : job.state;
    this.node.classList.toggle("active", !over);
    title.textContent = called;
    state.textContent = stateOf(job);
    this.#showProgress(job, over, called);
    words.textContent = outcomeOf(job);
    words.hidden = words.textContent === "";
    when.textContent = whenOf(job);
    cancel.hidden = over;
    enable(cancel, !job.cancel_requested);
    cancel.setAttribute("aria-label", `Cancel ${called}`);
    resume.hidden = !job.resumable;
    resume.setAttribute("aria-label", `Resume ${called}`);
    // A button that goes leaves the focus to the other one, or to the list.
    if (focused?.hidden) ([cancel, resume].find((button) => !button.hidden) ?? this.node.parentElement).focus();
  }

  /** Whether another job may be started now. */
  mayResume(yes) {
    enable(this.#parts.resume, yes);
  }

  #showProgress(job, over, called) {
    const { phase, bar, counts } = this.#parts;
    phase.parentElement.hidden = over;
    const { phase: name, done, total, skipped, failed, seconds_left: left } = job.progress;
    phase.textContent = job.state === "enqueued" ? "Waiting for its turn" : phaseOf(name);
    counts.textContent = [
      total ? `${number(done)} of ${number(total)}` : done ? number(done) : "",
      left === null || left === undefined ? "" : `about ${duration(left)} left`,
      skipped ? `${number(skipped)} skipped` : "",
      failed ? `${number(failed)} failed` : "",
    ].filter(Boolean).join(" · ");
    const share = total ? Math.min(1, done / total) : null;
    bar.classList.toggle("unsure", share === null);
    bar.firstChild.style.width = share === null ? "" : `${share * 100}%`;
    bar.setAttribute("aria-label", `${called}: ${phase.textContent}`);
    if (share === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    bar.setAttribute("aria-valuetext", [share === null ? "" : percent(share), counts.textContent].filter(Boolean).join(", ") || "under way");
  }
}

function phaseOf(name) {
  const bits = CODES.exec(name)?.[1];
  return bits ? `Learning codes of ${bits} bits` : PHASES[name] ?? name;
}

export function titleOf({ kind, parameters }) {
  const preset = parameters?.preset;
  return [KINDS[kind] ?? kind, kind === "train" && preset ? preset : ""].filter(Boolean).join(" ");
}

export function stateOf(job) {
  if (job.interrupted) return "Interrupted";
  if (job.cancel_requested && !hasEnded(job)) return "Stopping";
  return STATES[job.state] ?? job.state;
}

/** How it ended, in words. */
function outcomeOf({ error, result }) {
  if (error) return error.detail || error.type || "";
  if (!result) return "";
  const { images, tags } = result.counts ?? {};
  return [
    result.index_version ? `index ${result.index_version}` : "",
    images === undefined ? "" : `${number(images)} pictures`,
    tags === undefined ? "" : `${number(tags)} tags`,
    result.preset ? `model ${result.preset}` : "",
    result.epochs ? `${number(result.epochs)} ${result.epochs === 1 ? "epoch" : "epochs"}` : "",
  ].filter(Boolean).join(" · ");
}

function whenOf({ created, started, ended, trigger, resumed_from: before }) {
  const took = started && ended ? `took ${duration(Math.max(0, Date.parse(ended) - Date.parse(started)) / 1000)}` : "";
  return [
    new Date(started ?? created).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
    took,
    trigger === "schedule" ? "by the schedule" : "",
    before ? "resumed" : "",
  ].filter(Boolean).join(" · ");
}

const number = (value) => value.toLocaleString("en");

/** Seconds in the two largest units that say something. */
export function duration(seconds) {
  if (seconds < 1) return "a second";
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes) return rest && minutes < 10 ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${rest} s`;
}
