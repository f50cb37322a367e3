/**
 * The latest question wins. While the dial moves, questions come faster than answers: one is asked at a time, the
 * newest one waits, those between are dropped. So the results keep up with the hand instead of resting until it stops.
 */
export class Latest {
  #controller = null;
  #waiting = null;
  #busy;

  /** `busy(yes)` is told when work begins and when there is none left. */
  constructor(busy = () => {}) {
    this.#busy = busy;
  }

  /** Drops what runs and what waits, and runs `task(signal)` now: the question itself has changed. */
  replace(task) {
    this.#waiting = null;
    this.#controller?.abort();
    return this.#run(task);
  }

  /** Runs `task(signal)` after what runs, unless a newer task comes first. */
  queue(task) {
    if (this.#controller === null) return this.#run(task);
    this.#waiting = task;
    return Promise.resolve();
  }

  cancel() {
    this.#waiting = null;
    this.#controller?.abort();
    this.#controller = null;
    this.#busy(false);
  }

  async #run(task) {
    const controller = new AbortController();
    this.#controller = controller;
    this.#busy(true);
    try {
      await task(controller.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.#controller === controller) {
        this.#controller = null;
        const next = this.#waiting;
        this.#waiting = null;
        if (next) void this.#run(next);
        else this.#busy(false);
      }
    }
  }
}
