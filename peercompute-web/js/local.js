// Tasks that a page runs for itself, in workers of its own. They are never sent to peers.

import { Isolate } from "./isolate.js";

/** Tasks that wait for a worker, at most. */
const MAX_WAITING = 1024;

/** How long a task may run that does not say how long, in milliseconds. */
const DEADLINE = 60_000;

export class LocalTasks {
  #nodeModule;
  #most;
  #idle = [];
  #busy = new Set();
  #waiting = [];
  #isEnded = false;

  /** With at most `most` workers, which start when they are needed. */
  constructor(nodeModule, most) {
    this.#nodeModule = nodeModule;
    this.#most = Math.max(1, most);
  }

  /** Runs `{ fn, data }` or `{ module, exportName, data }` and gives its value. `fn` sees nothing of the page but `data`. */
  async run({ fn, module, exportName, data, deadlineMs = DEADLINE }) {
    const request = fn === undefined ? { module, exportName, data } : { fn: String(fn), data };
    const isolate = await this.#take();
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(failure("Deadline", `the task ran longer than ${deadlineMs} ms`)), deadlineMs);
    });
    try {
      const answer = await Promise.race([isolate.run(request), late]);
      if (answer.kind !== "value") {
        throw failure("Trap", answer.message);
      }
      return answer.value;
    } catch (error) {
      isolate.end();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#busy.delete(isolate);
      this.#give(isolate);
    }
  }

  /** Ends what runs. */
  end() {
    this.#isEnded = true;
    for (const isolate of [...this.#idle, ...this.#busy]) {
      isolate.end();
    }
    for (const { reject } of this.#waiting) {
      reject(failure("STOPPED", "the node has stopped"));
    }
    this.#waiting = [];
  }

  async #take() {
    if (this.#isEnded) {
      throw failure("STOPPED", "the node has stopped");
    }
    // At once, so that nobody else counts on the same place.
    if (this.#idle.length > 0 || this.#busy.size < this.#most) {
      const isolate = this.#idle.pop() ?? new Isolate(this.#nodeModule);
      this.#busy.add(isolate);
      return isolate;
    }
    if (this.#waiting.length >= MAX_WAITING) {
      throw failure("QUEUE_FULL", `${MAX_WAITING} tasks wait already; wait for some of them`);
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #give(isolate) {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#busy.add(isolate);
      next.resolve(isolate);
    } else if (this.#isEnded) {
      isolate.end();
    } else {
      this.#idle.push(isolate);
    }
  }
}

function failure(code, message) {
  const error = new Error(message);
  error.name = error.code = code;
  return error;
}
