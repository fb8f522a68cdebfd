// Timers of the node that go on when nobody sees the page: browsers hold up those of hidden pages, to one a minute in the end, and not those of workers.
// The script of the module has them in the place of the browser's.

const WORKER = new URL("./ticks.js", import.meta.url);

/** What waits, by its number: what is to be done, when, and the browser's timer for it if a worker does not count. */
const waiting = new Map();
let last = 0;
let worker = null;
let isBroken = false;

export function setTimeout(handler, wait = 0) {
  last += 1;
  const timer = { handler, due: performance.now() + wait, own: undefined };
  waiting.set(last, timer);
  arm(last, timer);
  return last;
}

export function clearTimeout(id) {
  const timer = waiting.get(id);
  if (timer !== undefined) {
    waiting.delete(id);
    globalThis.clearTimeout(timer.own);
    worker?.postMessage({ id });
  }
}

/** Workers have no document; nobody holds up their timers. */
const isHidden = () => globalThis.document?.visibilityState === "hidden";

function arm(id, timer) {
  const wait = Math.max(0, timer.due - performance.now());
  if (isHidden() && counts()) {
    worker.postMessage({ id, wait });
  } else {
    timer.own = globalThis.setTimeout(ring, wait, id);
  }
}

/** Whether a worker counts; where the page may start none, timers go off late, as the browser has it. */
function counts() {
  try {
    worker ??= isBroken ? null : open();
  } catch {
    isBroken = true;
  }
  return !isBroken;
}

function ring(id) {
  const timer = waiting.get(id);
  if (timer !== undefined) {
    waiting.delete(id);
    globalThis.clearTimeout(timer.own);
    timer.handler();
  }
}

function armAll() {
  for (const [id, timer] of waiting) {
    globalThis.clearTimeout(timer.own);
    arm(id, timer);
  }
}

function open() {
  const worker = new Worker(WORKER, { name: "peercompute-timers" });
  worker.onmessage = ({ data }) => ring(data);
  worker.onerror = (event) => {
    event.preventDefault();
    isBroken = true;
    armAll();
  };
  return worker;
}

globalThis.document?.addEventListener("visibilitychange", () => {
  if (isHidden()) {
    armAll();
  }
});
