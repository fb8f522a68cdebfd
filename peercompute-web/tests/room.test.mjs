import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene, finished } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** Two tabs, each a browser of its own, that meet through a relay. */
async function tabs(roomId, options = {}) {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [one, other] = [await scene.tab(address), await scene.tab(address)];
  const begin = (tab, relays) => tab.evaluate((options) => window.begin(options), { roomId, relays, ...options });
  one.peerId = await begin(one, [relay.ws]);
  other.peerId = await begin(other, [relay.ws]);
  return { relay, one, other, begin };
}

const joins = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);

test("tabs see each other through a relay, and a reliable event is acknowledged", async () => {
  const { one, other } = await tabs("events");
  await Promise.all([joins(one, other.peerId), joins(other, one.peerId)]);
  const outcomes = await one.evaluate(() => window.node.queueEvent("spawn", "a knight", { reliable: true }).settled);
  assert.deepEqual(outcomes, { [other.peerId]: "acked" });
  const heard = await other.evaluate(() => window.heard.filter(({ type }) => type === "event").map((event) => ({ ...event, payload: new TextDecoder().decode(event.payload) })));
  assert.deepEqual(heard, [{ type: "event", from: one.peerId, eventType: "spawn", payload: "a knight" }]);
  assert.deepEqual([...one.faults, ...other.faults], []);
});

test("a tab shows its state to the other, in order", async () => {
  const { one, other } = await tabs("snapshots", { scheduler: { profile: "action", snapshotHz: 20 } });
  await Promise.all([joins(one, other.peerId), joins(other, one.peerId)]);
  await one.evaluate(() => {
    let count = 0;
    window.node.registerStateProvider("count", () => String((count += 1)));
  });
  await other.waitForFunction(() => window.heard.filter(({ type }) => type === "snapshot").length >= 40);
  const counts = await other.evaluate(() => {
    const states = window.heard.filter(({ type }) => type === "snapshot");
    return states.map(({ payload }) => Number(new TextDecoder().decode(payload)));
  });
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b), "states come in order");
  assert.equal(new Set(counts).size, counts.length, "each comes once");
});

test("two tabs and two native nodes share one job, and the result is that of one machine", async () => {
  const { relay, one, other } = await tabs("work");
  for (let index = 0; index < 2; index += 1) {
    await scene.node("work", "--relay", relay.tcp);
  }
  const job = await scene.job(slow, 200, "--room", "work", "--relay", relay.tcp);
  const { result, output } = await finished(job);
  assert.ok(output.equals(job.input), "each task gives back what it gets");
  const share = (peer) => result.by_node[peer]?.tasks ?? 0;
  assert.ok(share(one.peerId) > 0 && share(other.peerId) > 0, JSON.stringify(result.by_node));
  assert.equal(Object.keys(result.by_node).length, 4, JSON.stringify(result.by_node));
  assert.deepEqual([...one.faults, ...other.faults], []);
});
