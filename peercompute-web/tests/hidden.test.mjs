import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene, finished } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** As browsers do to pages that nobody sees: from `window.hide()` on, timers go off at whole seconds alone. */
const throttle = () => {
  let isHidden = false;
  const set = window.setTimeout;
  window.setTimeout = (handler, wait = 0, ...args) => {
    const now = performance.now();
    return set(handler, isHidden ? Math.ceil((now + wait) / 1000) * 1000 - now : wait, ...args);
  };
  window.hide = () => (isHidden = true);
};

const joins = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);
const snapshots = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "snapshot").length);
const gone = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "left" || type === "peerLeft"));

test("a tab whose timers go off once a second stays in the room, and works", async () => {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [hidden, seen] = [await scene.tab(address), await scene.tab(address)];
  for (const tab of [hidden, seen]) {
    await tab.evaluate(throttle);
    const options = { roomId: "hidden", relays: [relay.ws], webrtc: false, serves: tab === hidden, scheduler: { profile: "action", snapshotHz: 20 } };
    tab.peerId = await tab.evaluate((options) => window.begin(options), options);
  }
  await Promise.all([joins(hidden, seen.peerId), joins(seen, hidden.peerId)]);
  await hidden.evaluate(() => {
    let count = 0;
    window.node.registerStateProvider("count", () => String((count += 1)));
    window.hide();
  });
  // Peers that say nothing for three seconds count as gone.
  const before = await snapshots(seen);
  await seen.waitForFunction((least) => window.heard.filter(({ type }) => type === "snapshot").length >= least, before + 3);
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
});
