import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene, finished } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** Has a browser say where it is: without, it hides its addresses from pages, and does not use this machine's own. */
const OPEN = ["--disable-features=WebRtcHideLocalIpsWithMdns", "--allow-loopback-in-peer-connection"];

/** A tab that knows a relay only, and a native node that nobody can dial. */
async function met(roomId, args) {
  const relay = await scene.relay();
  const native = await scene.run("node", ["node", "--json", "--game", "test", "--room", roomId, "--listen", "none", "--relay", relay.tcp]);
  const tab = await scene.tab(await scene.serve(), { args });
  tab.peerId = await tab.evaluate((options) => window.begin(options), { roomId, relays: [relay.ws] });
  return { relay, native, tab };
}

const isDirect = (tab) => tab.waitForFunction(() => window.node.status().peers.some(({ path }) => path === "direct"), null, { polling: 100 });

test("a tab reaches a native node behind a relay directly, and keeps it when the relay goes", async () => {
  const { relay, native, tab } = await met("reach", OPEN);
  const joined = await native.line((line) => line.event === "peer_joined");
  assert.equal(joined.peer_id, tab.peerId);
  await isDirect(tab);
  await relay.kill();
  await tab.waitForFunction(() => window.heard.some(({ type }) => type === "relayLost"));
  const peers = await tab.evaluate(() => window.node.status().peers);
  assert.deepEqual(peers.map(({ path }) => path), ["direct"]);
  assert.deepEqual(tab.faults.filter((fault) => !fault.includes("WebSocket")), []);
});

test("a tab that hides its addresses reaches a native node all the same", async () => {
  const { tab } = await met("hidden", ["--allow-loopback-in-peer-connection"]);
  await isDirect(tab);
});

test("a tab works for a native node that nobody can dial", async () => {
  const { relay, tab } = await met("work", OPEN);
  await isDirect(tab);
  const job = await scene.job(slow, 100, "--room", "work", "--relay", relay.tcp);
  const { result, output } = await finished(job);
  assert.ok(output.equals(job.input), "each task gives back what it gets");
  assert.ok((result.by_node[tab.peerId]?.tasks ?? 0) > 0, JSON.stringify(result.by_node));
  const { paths, history } = await tab.evaluate(() => window.node.session(window.node.status().peers[0].peerId));
  assert.equal(paths[0].carrier, "webrtc", JSON.stringify(paths));
  assert.ok(paths[0].streams.some(({ received }) => received > 0), JSON.stringify(paths));
  assert.deepEqual(history.map(({ path, carrier }) => [path, carrier]), [["relayed", "circuit"], ["direct", "webrtc"]]);
});
