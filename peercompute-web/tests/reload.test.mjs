import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

const begin = (tab, options) => tab.evaluate((options) => window.begin(options), options);

test("a tab is the same peer after a reload, and goes on in its room", async () => {
  const native = await scene.node("reload");
  const tab = await scene.tab(await scene.serve());
  const options = { roomId: "reload", bootstrapPeers: [native.ws] };
  const before = await begin(tab, options);
  await native.line((line) => line.event === "peer_joined");
  await tab.reload();
  await tab.waitForFunction(() => window.isReady === true);
  const after = await begin(tab, options);
  assert.equal(after, before);
  assert.equal(await tab.evaluate(() => window.node.status().identityIsKept), true);
  await tab.waitForFunction(() => window.node.status().peers.some(({ path }) => path === "direct"));
  const output = await tab.evaluate(async () => new TextDecoder().decode(await window.node.submitTask({ operation: "xor:0", input: "still here" })));
  assert.equal(output, "still here");
});

test("tabs of one browser are different peers", async () => {
  const address = await scene.serve();
  const one = await scene.tab(address);
  const other = await one.context().newPage();
  await other.goto(`${address}/tab.html`);
  await other.waitForFunction(() => window.isReady === true);
  const ids = [await begin(one, { roomId: "tabs" }), await begin(other, { roomId: "tabs" })];
  assert.notEqual(ids[0], ids[1]);
  // Whoever comes back first gets the first key again.
  await one.close();
  await other.reload();
  await other.waitForFunction(() => window.isReady === true);
  assert.equal(await begin(other, { roomId: "tabs" }), ids[0]);
});

test("without a database a tab works, and says that it will be another peer", async () => {
  const address = await scene.serve();
  const tab = await scene.tab(address);
  await tab.context().addInitScript(() => {
    Object.defineProperty(window, "indexedDB", { value: undefined });
  });
  await tab.reload();
  await tab.waitForFunction(() => window.isReady === true);
  const before = await begin(tab, { roomId: "forgetful" });
  assert.equal(await tab.evaluate(() => window.node.identityIsKept), false);
  assert.equal(await tab.evaluate(() => window.node.status().outboxIsKept), false);
  await tab.evaluate(() => window.node.kept());
  await tab.reload();
  await tab.waitForFunction(() => window.isReady === true);
  assert.notEqual(await begin(tab, { roomId: "forgetful" }), before);
});

test("tabs find each other again after the relay was killed and has come back", async () => {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [one, other] = [await scene.tab(address), await scene.tab(address)];
  // Nothing but the relay joins them, so that its end parts them.
  const options = { roomId: "again", relays: [relay.ws], webrtc: false };
  one.peerId = await begin(one, options);
  other.peerId = await begin(other, options);
  const joined = (tab, peer, times) =>
    tab.waitForFunction(([peer, times]) => window.heard.filter((event) => event.type === "joined" && event.peer === peer).length >= times, [peer, times]);
  await Promise.all([joined(one, other.peerId, 1), joined(other, one.peerId, 1)]);
  await relay.kill();
  await one.waitForFunction(() => window.heard.some(({ type }) => type === "relayLost"));
  await scene.relay(relay);
  await Promise.all([joined(one, other.peerId, 2), joined(other, one.peerId, 2)]);
  const outcomes = await one.evaluate(() => window.node.queueEvent("spawn", "again", { reliable: true }).settled);
  assert.deepEqual(outcomes, { [other.peerId]: "acked" });
});
