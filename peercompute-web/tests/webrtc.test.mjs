import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

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
  for (const tab of [one, other]) {
    tab.peerId = await tab.evaluate((options) => window.begin(options), { roomId, relays: [relay.ws], ...options });
  }
  await Promise.all([joins(one, other.peerId), joins(other, one.peerId)]);
  return { relay, one, other };
}

const joins = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);
const reaches = (tab, peer, path) => tab.waitForFunction(([peer, path]) => window.node.status().peers.some((it) => it.peerId === peer && it.path === path), [peer, path]);

test("tabs that meet through a relay reach each other directly soon after, and go on without it", async () => {
  const { relay, one, other } = await tabs("direct");
  await Promise.all([reaches(one, other.peerId, "direct"), reaches(other, one.peerId, "direct")]);
  await relay.kill();
  await one.waitForFunction(() => window.heard.some(({ type }) => type === "relayLost"));
  const outcomes = await one.evaluate(() => window.node.queueEvent("spawn", "a knight", { reliable: true }).settled);
  assert.deepEqual(outcomes, { [other.peerId]: "acked" });
  assert.deepEqual([...one.faults, ...other.faults], []);
});
