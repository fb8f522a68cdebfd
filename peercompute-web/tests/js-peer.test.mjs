import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Scene } from "./harness.mjs";

const PEER = fileURLToPath(new URL("../../examples/js-peer/peer.mjs", import.meta.url));

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

test("a js-libp2p peer joins a room, has its event acknowledged, and hears one", async () => {
  // It answers an event of the type `report` with one.
  const native = await scene.run("listener", ["bench", "listener", "--listen", "/ip4/127.0.0.1/tcp/0/ws"]);
  const { addresses } = await native.line((line) => line.event === "listening");
  // Who opens the stream follows from the peer ids, which are other ones each time.
  for (let life = 0; life < 4; life += 1) {
    const peer = await scene.script(PEER, [addresses[0], "--game", "peercompute-bench", "--room", "events", "--type", "report", "--wait-for", "report"]);
    assert.equal(await peer.exited, 0, JSON.stringify(peer.lines));
    const events = peer.lines.map(({ event }) => event);
    assert.deepEqual(events.slice(0, 2), ["started", "registered"]);
    assert.deepEqual(events.slice(2).sort(), ["acked", "heard"]);
  }
});

test("a js-libp2p peer of another room is refused by the stream, and says so", async () => {
  const native = await scene.run("listener", ["bench", "listener", "--listen", "/ip4/127.0.0.1/tcp/0/ws"]);
  const { addresses } = await native.line((line) => line.event === "listening");
  const peer = await scene.script(PEER, [addresses[0], "--game", "peercompute-bench", "--room", "another"]);
  assert.notEqual(await peer.exited, 0);
  assert.ok(!peer.lines.some(({ event }) => event === "acked"));
});
