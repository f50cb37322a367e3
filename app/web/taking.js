/**
 * A picture of the user's own on its way into the query. Making it ready takes a while, in which another one may be
 * chosen or the query left behind: the newest wins, and what nobody waits for any more is dropped.
 */
import { prepare } from "./picture.js";

const PATIENCE_MS = 150; // one that is ready sooner needs no sign of waiting

export class Taking {
  #store;
  #listeners;
  #turn = 0;
  #patience = 0;

  /** `listeners`: {taken(image), failed(error), busy(yes)}. */
  constructor(store, listeners) {
    this.#store = store;
    this.#listeners = listeners;
  }

  async take(file) {
    this.drop();
    const turn = this.#turn;
    const { image: before } = this.#store.query;
    const wanted = () => turn === this.#turn && this.#store.query.image === before;
    this.#patience = setTimeout(() => this.#listeners.busy(true), PATIENCE_MS);
    try {
      const image = await prepare(file);
      if (wanted()) this.#listeners.taken(image);
      else URL.revokeObjectURL(image.preview);
    } catch (error) {
      if (wanted()) this.#listeners.failed(error);
    } finally {
      if (turn === this.#turn) this.#rest();
    }
  }

  /** Nobody waits for it any more. */
  drop() {
    this.#turn += 1;
    this.#rest();
  }

  #rest() {
    clearTimeout(this.#patience);
    this.#listeners.busy(false);
  }
}
