// Timers of the node that go on when nobody sees the page: browsers hold up those of hidden pages, to one a minute in the end, and not those of workers.
// The script of the module has them in the place of the browser's.

const WORKER = new URL("./ticks.js", import.meta.url);

/** What waits, by its number: what is to be done, when, the browser's timer for it, and whether the worker counts for it too. */
const waiting = new Map();
let last = 0;
/** There while the page is hidden; none once it has failed, until the page is seen again. */
let worker = null;
let isBroken = false;

export function setTimeout(handler, wait = 0) {
  last += 1;
  const timer = { handler, due: performance.now() + wait, own: undefined, isCounted: false };
  waiting.set(last, timer);
  arm(last, timer);
  return last;
}

export function clearTimeout(id) {
  const timer = waiting.get(id);
  if (timer !== undefined) {
    waiting.delete(id);
    globalThis.clearTimeout(timer.own);
    if (timer.isCounted) {
      worker?.postMessage({ id });
    }
  }
}

/** Workers have no document; nobody holds up their timers. */
const isHidden = () => globalThis.document?.visibilityState === "hidden";

/** Whichever counts to the end first rings: a worker may never come to it. */
function arm(id, timer) {
  const wait = Math.max(0, timer.due - performance.now());
  timer.own = globalThis.setTimeout(ring, wait, id);
  timer.isCounted = isHidden() && counts();
  if (timer.isCounted) {
    worker.postMessage({ id, wait });
  }
}

function ring(id) {
  const timer = waiting.get(id);
  if (timer !== undefined) {
    clearTimeout(id);
    timer.handler();
  }
}

/** Whether there is a worker that counts. */
function counts() {
  try {
    worker ??= isBroken ? null : open();
  } catch {
    isBroken = true;
  }
  return worker !== null;
}

function open() {
  const worker = new Worker(WORKER, { name: "peercompute-timers" });
  worker.onmessage = ({ data }) => ring(data);
  worker.onerror = (event) => {
    event.preventDefault();
    isBroken = true;
    close();
  };
  return worker;
}

function close() {
  worker?.terminate();
  worker = null;
}

globalThis.document?.addEventListener("visibilitychange", () => {
  close();
  isBroken = false;
  for (const [id, timer] of waiting) {
    globalThis.clearTimeout(timer.own);
    arm(id, timer);
  }
});
