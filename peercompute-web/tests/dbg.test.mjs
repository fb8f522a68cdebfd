import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** Remembers the connections that the page makes, so that a test can end one as a network would. */
const remember = () => {
  window.connections = [];
  const Made = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Made {
    constructor(...args) {
      super(...args);
      window.connections.push(this);
    }
  };
};

/** Two tabs, each a browser of its own, that meet through a relay. */
async function tabs(roomId, options = {}, prepare = remember) {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [one, other] = [await scene.tab(address), await scene.tab(address)];
  for (const tab of [one, other]) {
    await tab.evaluate(prepare);
    tab.peerId = await tab.evaluate((options) => window.begin(options), { roomId, relays: [relay.ws], ...options });
  }
  await Promise.all([joins(one, other.peerId), joins(other, one.peerId)]);
  return { relay, one, other };
}

const joins = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);
const reaches = (tab, peer, path) => tab.waitForFunction(([peer, path]) => window.node.status().peers.some((it) => it.peerId === peer && it.path === path), [peer, path]);
const bothReach = ({ one, other }, path) => Promise.all([reaches(one, other.peerId, path), reaches(other, one.peerId, path)]);
/** Only the direct path is left. */
const isAlone = (tab, peer) => tab.waitForFunction((peer) => window.node.session(peer).paths.every(({ carrier }) => carrier === "webrtc"), peer);
const says = (tab, what) => tab.evaluate((what) => window.node.queueEvent("say", what, { reliable: true }).settled, what);
const hears = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "event").map(({ payload }) => new TextDecoder().decode(payload)));
/** A relay that is gone is said so in the console, which is no fault of the page's. */
const faults = (...tabs) => tabs.flatMap((tab) => tab.faults.filter((fault) => !fault.includes("ERR_CONNECTION_REFUSED")));

test("tabs that meet through a relay reach each other directly soon after, and go on without it", async () => {
  const { relay, one, other } = await tabs("direct");
  await bothReach({ one, other }, "direct");
  await Promise.all([isAlone(one, other.peerId), isAlone(other, one.peerId)]);
  await relay.kill();
  await one.waitForFunction(() => window.heard.some(({ type }) => type === "relayLost"));
  assert.deepEqual(await says(one, "a knight"), { [other.peerId]: "acked" });
  assert.deepEqual(await hears(other), ["a knight"]);
  const session = await one.evaluate((peer) => window.node.session(peer), other.peerId);
  assert.deepEqual(session.history.map(({ path, carrier }) => [path, carrier]), [["relayed", "circuit"], ["direct", "webrtc"]]);
  assert.equal(session.obstacle, undefined);
  assert.ok(!(await one.evaluate(() => window.heard.some(({ type }) => type === "left"))), "nobody has left meanwhile");
  assert.deepEqual(faults(one, other), []);
});

test("the direct path carries snapshots as datagrams, after the relay is gone too", async () => {
  const { relay, one, other } = await tabs("datagrams", { scheduler: { profile: "action", snapshotHz: 20 } });
  await bothReach({ one, other }, "direct");
  await one.evaluate(() => {
    window.sent = 0;
    const send = RTCDataChannel.prototype.send;
    RTCDataChannel.prototype.send = function (data) {
      window.sent += this.label === "datagrams" ? 1 : 0;
      return send.call(this, data);
    };
    let count = 0;
    window.node.registerStateProvider("count", () => String((count += 1)));
  });
  const comes = (more) =>
    other.waitForFunction((more) => {
      window.from ??= window.heard.filter(({ type }) => type === "snapshot").length;
      return window.heard.filter(({ type }) => type === "snapshot").length >= window.from + more;
    }, more);
  await comes(10);
  await relay.kill();
  await one.waitForFunction(() => window.heard.some(({ type }) => type === "relayLost"));
  await other.evaluate(() => (window.from = undefined));
  await comes(40);
  console.error("SENT", await one.evaluate(() => window.sent), JSON.stringify(await one.evaluate((peer) => window.node.session(peer), other.peerId)));
  assert.ok((await one.evaluate(() => window.sent)) >= 40);
  const counts = await other.evaluate(() => window.heard.filter(({ type }) => type === "snapshot").map(({ payload }) => Number(new TextDecoder().decode(payload))));
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b), "states come in order");
  assert.equal(new Set(counts).size, counts.length, "each comes once");
  assert.deepEqual(faults(one, other), []);
});

test("when the direct path breaks, the tabs go on over the relay", async () => {
  const { one, other } = await tabs("broken");
  await bothReach({ one, other }, "direct");
  await Promise.all([isAlone(one, other.peerId), isAlone(other, one.peerId)]);
  await Promise.all([one, other].map((tab) => tab.evaluate(() => {
    // The next attempts come to nothing.
    window.RTCPeerConnection.prototype.setRemoteDescription = () => Promise.reject(new Error("no network"));
    window.connections.forEach((connection) => connection.close());
  })));
  await bothReach({ one, other }, "relayed");
  await one.waitForFunction((peer) => window.heard.filter((event) => event.type === "joined" && event.peer === peer).length >= 2, other.peerId);
  assert.deepEqual(await says(one, "still here"), { [other.peerId]: "acked" });
  const obstacle = () => one.waitForFunction((peer) => window.node.session(peer).obstacle?.includes("no network"), other.peerId);
  const otherObstacle = () => other.waitForFunction((peer) => window.node.session(peer).obstacle?.includes("no network"), one.peerId);
  await Promise.race([obstacle(), otherObstacle()]);
  assert.deepEqual(faults(one, other), []);
});

for (const [how, options, prepare] of [
  ["switched off", { webrtc: false }, () => {}],
  ["missing", {}, () => delete window.RTCPeerConnection],
]) {
  test(`with WebRTC ${how} everything goes over the relay`, async () => {
    const { one, other } = await tabs("off", options, prepare);
    await bothReach({ one, other }, "relayed");
    assert.deepEqual(await says(one, "a knight"), { [other.peerId]: "acked" });
    const output = await one.evaluate(async () => {
      const inputs = Array.from({ length: 20 }, (_, index) => `input ${index}`);
      const results = await window.node.submitTasks({ operation: "xor:0", inputs });
      return results.map(({ output }) => new TextDecoder().decode(output));
    });
    assert.deepEqual(output, Array.from({ length: 20 }, (_, index) => `input ${index}`));
    const session = await one.evaluate((peer) => window.node.session(peer), other.peerId);
    assert.deepEqual(session.paths.map(({ carrier }) => carrier), ["circuit"]);
    assert.match(session.obstacle, /offers no WebRTC/);
    assert.deepEqual(faults(one, other), []);
  });
}
