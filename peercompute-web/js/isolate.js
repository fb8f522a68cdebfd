// A Web Worker in which one task at a time runs, and which is ended whatever the task does.

const WORKER = new URL("./worker.js", import.meta.url);

/** How long a worker may take to start, in milliseconds, before it counts as lost. */
const START_LIMIT = 30_000;

export class Isolate {
  #nodeModule;
  #worker = null;
  #waiting = null;
  /** What the last input was in, which the worker has given back: memory that is new costs more than to copy into it. */
  #spare = null;
  /** Until the worker has started. */
  #timer = undefined;
  /** Kept when the worker's GPU is open. */
  #gpu = null;

  /** @param {WebAssembly.Module} nodeModule The compiled module of the node, which workers share. */
  constructor(nodeModule) {
    this.#nodeModule = nodeModule;
  }

  /**
   * Runs a task: `{ program, state, input }` for an operation, `{ check: true, memory, input }` to look at a module, `{ module, memory, input }` for a WebAssembly module,
   * `{ shader, entryPoint, workgroups, uniforms, outputBytes, input }` for a shader when the GPU is open, `{ fn, data }` or `{ module, exportName, data }` for what only this page asks for.
   * The promise is kept with the worker's answer, and broken if the worker itself fails.
   */
  run(request) {
    if (this.#waiting !== null) {
      throw new Error("an isolate runs one task at a time");
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      try {
        this.#worker ??= this.#start();
        this.#worker.postMessage(request, request.input === undefined ? [] : [request.input.buffer]);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  /** Where the next input of so many bytes goes. */
  room(size) {
    const spare = this.#spare;
    this.#spare = null;
    return new Uint8Array(spare?.byteLength >= size ? spare : new ArrayBuffer(size), 0, size);
  }

  /** Opens the browser's GPU for shaders, once for a worker. It may go on when nobody waits for it any more. */
  openGpu() {
    this.#gpu ??= this.#openGpu();
    return this.#gpu;
  }

  async #openGpu() {
    const late = setTimeout(() => this.#fail(new Error(`the browser's GPU did not open within ${START_LIMIT / 1000} s`)), START_LIMIT);
    try {
      const answer = await this.run({ openGpu: true });
      if (answer.kind !== "output") {
        this.end();
      }
      return answer;
    } finally {
      clearTimeout(late);
    }
  }

  /** Ends what runs. The next task has a new worker. */
  end() {
    this.#gpu = this.#spare = null;
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
    this.#waiting = null;
  }

  #start() {
    const worker = new Worker(WORKER, { type: "module", name: "peercompute" });
    // A worker whose script cannot be loaded says nothing but this.
    this.#timer = setTimeout(() => this.#fail(new Error(`${WORKER} did not start within ${START_LIMIT / 1000} s`)), START_LIMIT);
    worker.onmessage = ({ data }) => {
      if (data === "ready") {
        clearTimeout(this.#timer);
        return;
      }
      const waiting = this.#waiting;
      this.#waiting = null;
      this.#spare = data.spare ?? null;
      waiting?.resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(event.message || `${WORKER} cannot be loaded`));
    };
    worker.onmessageerror = () => this.#fail(new Error("the worker's answer cannot be read"));
    worker.postMessage(this.#nodeModule);
    return worker;
  }

  #fail(error) {
    const waiting = this.#waiting;
    this.end();
    waiting?.reject(error);
  }
}
