import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

test("a tab and a native node meet in a room, and see each other leave", async () => {
  const native = await scene.node("meet");
  const tab = await scene.tab(await scene.serve());
  const peerId = await tab.evaluate((peer) => window.begin({ roomId: "meet", bootstrapPeers: [peer] }), native.ws);
  const joined = await native.line((line) => line.event === "peer_joined");
  assert.equal(joined.peer_id, peerId);
  await tab.waitForFunction(() => window.node.status().peers.length === 1);
  const status = await tab.evaluate(() => window.node.status());
  assert.equal(status.peers[0].peerId, native.peerId);
  assert.equal(status.peers[0].path, "direct");
  await tab.evaluate(() => window.node.stop());
  await native.line((line) => line.event === "peer_left" && line.peer_id === peerId);
  assert.deepEqual(tab.faults, []);
});

test("a tab runs tasks by itself, in a worker", async () => {
  const tab = await scene.tab(await scene.serve());
  const output = await tab.evaluate(async () => {
    await window.begin({ roomId: "alone" });
    const input = new Uint8Array(1 << 20).fill(7);
    const output = await window.node.submitTask({ operation: "counteq:7", input });
    return new DataView(output.buffer, output.byteOffset).getBigUint64(0, true).toString();
  });
  assert.equal(output, String(1 << 20));
  assert.deepEqual(tab.faults, []);
});
