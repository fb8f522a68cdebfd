import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene, finished } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** Two tabs, each in a browser of its own, and two native nodes, which know a relay only. */
async function four(roomId, options = {}) {
  const relay = await scene.relay();
  const address = await scene.serve();
  const tabs = [await scene.tab(address), await scene.tab(address)];
  const natives = [];
  for (let index = 0; index < 2; index += 1) {
    natives.push(await scene.node(roomId, "--relay", relay.tcp));
  }
  for (const tab of tabs) {
    tab.peerId = await tab.evaluate((options) => window.begin(options), { roomId, relays: [relay.ws], ...options });
  }
  return { relay, tabs, natives };
}

const hears = (tab, type, peer) => tab.waitForFunction(([type, peer]) => window.heard.some((event) => event.type === type && event.peer === peer), [type, peer]);
const prints = (native, event, peer) => native.line((line) => line.event === event && line.peer_id === peer);

/** Has a tab count in its state, and another one see it count in order, each number once. */
async function shows(tab, other) {
  await tab.evaluate(() => {
    let count = 0;
    window.node.registerStateProvider("count", () => String((count += 1)));
  });
  await other.waitForFunction(() => window.heard.filter(({ type }) => type === "snapshot").length >= 40);
  const counts = await other.evaluate(() => window.heard.filter(({ type }) => type === "snapshot").map(({ payload }) => Number(new TextDecoder().decode(payload))));
  assert.deepEqual(counts, [...new Set(counts)].sort((a, b) => a - b));
}

test("two tabs and two native nodes see each other come and go, and share a job while the tabs show their states", async () => {
  const { relay, tabs, natives } = await four("mixed", { scheduler: { profile: "action", snapshotHz: 20 } });
  const all = [...tabs, ...natives];
  const others = (one) => all.filter((other) => other !== one);
  await Promise.all([
    ...tabs.flatMap((tab) => others(tab).map(({ peerId }) => hears(tab, "peerJoined", peerId))),
    ...natives.flatMap((native) => others(native).map(({ peerId }) => prints(native, "peer_joined", peerId))),
  ]);
  const job = await scene.job(slow, 200, "--room", "mixed", "--relay", relay.tcp);
  const [{ result, output }] = await Promise.all([finished(job), shows(tabs[0], tabs[1]), shows(tabs[1], tabs[0])]);
  assert.ok(output.equals(job.input), "each task gives back what it gets");
  assert.deepEqual(Object.keys(result.by_node).sort(), all.map(({ peerId }) => peerId).sort());

  const [leaving, staying] = natives;
  await leaving.end();
  await Promise.all([...tabs.map((tab) => hears(tab, "peerLeft", leaving.peerId)), prints(staying, "peer_left", leaving.peerId)]);
  await tabs[0].evaluate(() => window.node.stop());
  await Promise.all([hears(tabs[1], "peerLeft", tabs[0].peerId), prints(staying, "peer_left", tabs[0].peerId)]);
  assert.deepEqual(tabs.flatMap(({ faults }) => faults), []);
});

/** The other ends of `bench events`: they acknowledge what comes, and answer `echo` with the same. */
async function listeners(count) {
  const all = [];
  for (let index = 0; index < count; index += 1) {
    const one = await scene.run("listener", ["bench", "listener", "--listen", "/ip4/127.0.0.1/tcp/0/ws"]);
    const { peer_id: peerId, addresses } = await one.line((line) => line.event === "listening");
    all.push(Object.assign(one, { peerId, ws: addresses[0] }));
  }
  return all;
}

test("events go reliably between tabs and native nodes, both ways", async () => {
  const natives = await listeners(2);
  const address = await scene.serve();
  const tabs = [await scene.tab(address), await scene.tab(address)];
  for (const tab of tabs) {
    const options = { gameId: "peercompute-bench", roomId: "events", bootstrapPeers: natives.map(({ ws }) => ws) };
    tab.peerId = await tab.evaluate((options) => window.begin(options), options);
  }
  const joined = (tab) => natives.map(({ peerId }) => hears(tab, "joined", peerId));
  await Promise.all(tabs.flatMap(joined));
  for (const tab of tabs) {
    const outcomes = await tab.evaluate(() => window.node.queueEvent("echo", `from ${window.node.peerId}`, { reliable: true }).settled);
    for (const { peerId } of natives) {
      assert.equal(outcomes[peerId], "acked");
    }
    await tab.waitForFunction((peers) => peers.every((peer) => window.heard.some(({ type, from }) => type === "event" && from === peer)), natives.map(({ peerId }) => peerId));
    const heard = await tab.evaluate((peers) => window.heard.filter(({ type, from }) => type === "event" && peers.includes(from)).map(({ from, payload }) => [from, new TextDecoder().decode(payload)]), natives.map(({ peerId }) => peerId));
    assert.deepEqual(heard.sort(), natives.map(({ peerId }) => [peerId, `from ${tab.peerId}`]).sort(), "each comes once, as it was");
  }
  assert.deepEqual(tabs.flatMap(({ faults }) => faults), []);
});

/** What somebody has been shown of a peer's counter so far. */
const shownBy = (heard, peer) => heard.filter(({ from }) => from === peer).map(({ payload }) => Number(payload));

/** The same as in a native program, of what a tab has heard of one type. */
const heardBy = (tab, type) => tab.evaluate((type) => window.heard.filter((event) => event.type === type).map(({ from, payload }) => ({ from, payload: new TextDecoder().decode(payload) })), type);
const printedBy = (native, event) => native.lines.filter((line) => line.event === event);

test("two tabs and two native programs see each other count at 20 Hz, and tell each other events reliably", async () => {
  const relay = await scene.relay();
  const address = await scene.serve();
  const natives = [];
  for (let index = 0; index < 2; index += 1) {
    const native = await scene.example("live_room", ["--game", "test", "--room", "counting", "--relay", relay.tcp]);
    const { peer_id: peerId } = await native.line((line) => line.event === "listening");
    natives.push(Object.assign(native, { peerId }));
  }
  const tabs = [await scene.tab(address), await scene.tab(address)];
  for (const tab of tabs) {
    tab.peerId = await tab.evaluate((options) => window.begin(options), { roomId: "counting", relays: [relay.ws], scheduler: { profile: "action", snapshotHz: 20 } });
    await tab.evaluate(() => {
      let count = 0;
      window.node.registerStateProvider("count", () => String((count += 1)));
    });
  }
  const all = [...tabs, ...natives];
  const others = (one) => all.filter((other) => other !== one).map(({ peerId }) => peerId);
  await Promise.all([
    ...tabs.flatMap((tab) => others(tab).map((peer) => hears(tab, "joined", peer))),
    ...natives.flatMap((native) => others(native).map((peer) => prints(native, "joined", peer))),
  ]);

  const counts = 40;
  await Promise.all([
    ...tabs.map((tab) => tab.waitForFunction(([peers, counts]) => peers.every((peer) => window.heard.filter(({ type, from }) => type === "snapshot" && from === peer).length >= counts), [others(tab), counts])),
    ...natives.flatMap((native) => others(native).map((peer) => native.line(() => shownBy(printedBy(native, "snapshot"), peer).length >= counts))),
  ]);
  for (const one of all) {
    const heard = await (tabs.includes(one) ? heardBy(one, "snapshot") : printedBy(one, "snapshot"));
    for (const peer of others(one)) {
      const shown = shownBy(heard, peer);
      assert.deepEqual(shown, [...new Set(shown)].sort((a, b) => a - b), `${one.peerId} sees ${peer} count in order, each number once`);
    }
  }

  for (const tab of tabs) {
    const outcomes = await tab.evaluate(() => window.node.queueEvent("line", `from ${window.node.peerId}`, { reliable: true }).settled);
    assert.deepEqual(outcomes, Object.fromEntries(others(tab).map((peer) => [peer, "acked"])));
  }
  for (const native of natives) {
    native.type(`from ${native.peerId}`);
    await Promise.all(others(native).map((peer) => prints(native, "settled", peer)));
    assert.deepEqual(printedBy(native, "settled").map(({ acked }) => acked), [true, true, true]);
  }
  for (const one of all) {
    const heard = await (tabs.includes(one) ? heardBy(one, "event") : printedBy(one, "heard"));
    assert.deepEqual(heard.map(({ from, payload }) => [from, payload]).sort(), others(one).map((peer) => [peer, `from ${peer}`]).sort(), "each comes once, as it was");
  }

  for (const native of natives) {
    await native.end();
    assert.equal(await native.exited, 0);
    await Promise.all(tabs.map((tab) => hears(tab, "left", native.peerId)));
  }
  assert.deepEqual(tabs.flatMap(({ faults }) => faults), []);
});
