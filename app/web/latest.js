/**
 * The latest question wins. While the dial moves, questions come faster than answers: one is asked at a time, the
 * newest one waits, those between are dropped. So the results keep up with the hand instead of resting until it stops.
 *
 * A task is called with `(signal, answered)`. One that still waits for the screen when its answer is there calls
 * `answered()`: the next question is asked meanwhile, and an answer that comes before the older one was shown
 * takes its place.
 */
export class Latest {
  #asking = null;
  #unshown = null;
  #waiting = null;
  #busy;

  /** `busy(yes)` is told when work begins and when there is none left. */
  constructor(busy = () => {}) {
    this.#busy = busy;
  }

  /** Drops what runs and what waits, and runs `task` now: the question itself has changed. */
  replace(task) {
    this.#drop();
    return this.#run(task);
  }

  /** Runs `task` after what is being asked, unless a newer task comes first. */
  queue(task) {
    if (this.#asking === null) return this.#run(task);
    this.#waiting = task;
    return Promise.resolve();
  }

  /** Whether a question is being asked, or its answer not shown yet. */
  get busy() {
    return this.#asking !== null || this.#unshown !== null;
  }

  cancel() {
    this.#drop();
    this.#busy(false);
  }

  async #run(task) {
    const controller = new AbortController();
    this.#asking = controller;
    this.#busy(true);
    try {
      await task(controller.signal, () => this.#answered(controller));
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.#unshown === controller) this.#unshown = null;
      if (this.#asking === controller) this.#goOn();
      this.#rest();
    }
  }

  #answered(controller) {
    if (this.#asking !== controller) return;
    this.#unshown?.abort();
    this.#unshown = controller;
    this.#goOn();
  }

  #goOn() {
    const next = this.#waiting;
    this.#asking = null;
    this.#waiting = null;
    if (next) void this.#run(next);
  }

  #rest() {
    if (this.#asking === null && this.#unshown === null) this.#busy(false);
  }

  #drop() {
    this.#asking?.abort();
    this.#unshown?.abort();
    this.#asking = null;
    this.#unshown = null;
    this.#waiting = null;
  }
}
