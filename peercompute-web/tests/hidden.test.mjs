import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene, finished } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** As browsers do to pages that nobody sees: while the page is hidden, timers go off at whole multiples of `unit` milliseconds alone. */
const throttle = (unit) => {
  const set = window.setTimeout;
  window.setTimeout = (handler, wait = 0, ...args) => {
    const now = performance.now();
    return set(handler, window.isHidden ? Math.ceil((now + wait) / unit) * unit - now : wait, ...args);
  };
};

const joins = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);
const snapshots = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "snapshot").length);
const gone = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "left" || type === "peerLeft"));

/** Two tabs that have met, one of which shows a state, and works. */
async function meet(unit) {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [hidden, seen] = [await scene.tab(address), await scene.tab(address)];
  for (const tab of [hidden, seen]) {
    await tab.evaluate(throttle, unit);
    const options = { roomId: "hidden", relays: [relay.ws], webrtc: false, serves: tab === hidden, scheduler: { profile: "action", snapshotHz: 20 } };
    tab.peerId = await tab.evaluate((options) => window.begin(options), options);
  }
  await Promise.all([joins(hidden, seen.peerId), joins(seen, hidden.peerId)]);
  await hidden.evaluate(() => {
    let count = 0;
    window.node.registerStateProvider("count", () => String((count += 1)));
  });
  return { relay, hidden, seen };
}

/** Whether they go on for so many snapshots. */
async function stay({ relay, hidden, seen }, count) {
  const before = await snapshots(seen);
  await seen.waitForFunction((least) => window.heard.filter(({ type }) => type === "snapshot").length >= least, before + count);
  for (const [from, to] of [[hidden, seen], [seen, hidden]]) {
    const outcomes = await from.evaluate(() => window.node.queueEvent("say", "still here", { reliable: true }).settled);
    assert.deepEqual(outcomes, { [to.peerId]: "acked" });
  }
  const job = await scene.job(slow, 30, "--room", "hidden", "--relay", relay.tcp);
  const { result, output } = await finished(job);
  assert.ok(output.equals(job.input), "each task gives back what it gets");
  assert.equal(result.by_node[hidden.peerId]?.tasks, 30, JSON.stringify(result.by_node));
  const peers = [hidden.peerId, seen.peerId];
  for (const tab of [hidden, seen]) {
    assert.deepEqual((await gone(tab)).filter(({ peer }) => peers.includes(peer)), []);
  }
  assert.deepEqual([...hidden.faults, ...seen.faults], []);
}

/** What the browser says of the page, which nobody sees anyway. */
const say = (tab, visibility) => tab.evaluate((visibility) => {
  window.isHidden = visibility === "hidden";
  Object.defineProperty(document, "visibilityState", { value: visibility, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}, visibility);

test("a tab whose timers go off once a second stays in the room, and works", async () => {
  const met = await meet(1000);
  await met.hidden.evaluate(() => {
    window.isHidden = true;
  });
  // Peers that say nothing for three seconds count as gone.
  await stay(met, 3);
});

test("a hidden tab whose timers go off once an hour goes on as if it were seen", async () => {
  const met = await meet(3_600_000);
  for (const visibility of ["hidden", "visible", "hidden"]) {
    await say(met.hidden, visibility);
    await stay(met, 40);
  }
});

test("a hidden tab for which nothing counts time is late, and whole when it is seen again", async () => {
  const met = await meet(1000);
  // Neither there nor refused.
  await met.hidden.context().route("**/ticks.js", () => {});
  await say(met.hidden, "hidden");
  await stay(met, 3);
  await say(met.hidden, "visible");
  await stay(met, 40);
});
