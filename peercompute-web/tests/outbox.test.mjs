import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

const begin = (tab, options) => tab.evaluate((options) => window.begin(options), options);

async function reload(tab, options) {
  await tab.reload();
  await tab.waitForFunction(() => window.isReady === true);
  return begin(tab, options);
}

const joined = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "joined" && event.peer === peer), peer);
const left = (tab, peer) => tab.waitForFunction((peer) => window.heard.some((event) => event.type === "left" && event.peer === peer), peer);

const payloads = (tab) => tab.evaluate(() => window.heard.filter(({ type }) => type === "event").map(({ payload }) => new TextDecoder().decode(payload)));

/** What became of the events of an earlier life, once it is known of so many. */
async function settled(tab, count) {
  await tab.waitForFunction((count) => window.heard.filter(({ type }) => type === "settled").length >= count, count);
  return tab.evaluate(() => window.heard.filter(({ type }) => type === "settled").map(({ outcome }) => outcome));
}

/** Two tabs, each a browser of its own, that have met through a relay. */
async function tabs(roomId) {
  const relay = await scene.relay();
  const address = await scene.serve();
  const [one, other] = [await scene.tab(address), await scene.tab(address)];
  // Nothing but the relay joins them, so that its end parts them; sent often enough for a relay to come back, on a machine that has other things to do.
  const options = { roomId, relays: [relay.ws], webrtc: false, scheduler: { sends: 7 } };
  one.peerId = await begin(one, options);
  other.peerId = await begin(other, options);
  await Promise.all([joined(one, other.peerId), joined(other, one.peerId)]);
  return { relay, one, other, options };
}

test("events that are queued while the relay is dead outlast a reload, and each arrives once", async () => {
  const { relay, one, other, options } = await tabs("outbox");
  assert.equal(await one.evaluate(() => window.node.status().outboxIsKept), true);
  await relay.kill();
  await left(one, other.peerId);
  await one.evaluate(async (to) => {
    for (const text of ["one", "two", "three"]) {
      window.node.queueEvent("step", text, { ordered: true, to });
    }
    await window.node.kept();
  }, other.peerId);
  assert.equal(await reload(one, options), one.peerId);
  await scene.relay(relay);
  const outcomes = await settled(one, 3);
  assert.deepEqual(outcomes, ["acked", "acked", "acked"]);
  const resumed = await one.evaluate(() => window.heard.filter(({ type }) => type === "resumed").map(({ payload }) => new TextDecoder().decode(payload)));
  assert.deepEqual(resumed, ["one", "two", "three"]);
  assert.deepEqual(await payloads(other), ["one", "two", "three"]);
  // A new one finds its way behind them.
  const last = await one.evaluate((to) => window.node.queueEvent("step", "four", { ordered: true, to }).settled, other.peerId);
  assert.deepEqual(last, { [other.peerId]: "acked" });
  assert.deepEqual(await payloads(other), ["one", "two", "three", "four"]);
});

test("a tab that is reloaded before its acknowledgement has left is given nothing twice", async () => {
  const { relay, one, other, options } = await tabs("window");
  // From the moment on that it comes, this page says nothing more to anybody.
  await other.evaluate(() => {
    window.node.addEventHandler(() => {
      WebSocket.prototype.send = () => {};
      window.localStorage.setItem("got", `${window.localStorage.getItem("got") ?? ""}x`);
    });
  });
  await one.evaluate((to) => {
    window.outcomes = window.node.queueEvent("spawn", "once", { reliable: true, to }).settled;
  }, other.peerId);
  await other.waitForFunction(() => window.heard.some(({ type }) => type === "event"));
  await relay.kill();
  await other.evaluate(() => window.node.kept());
  const again = reload(other, options);
  await scene.relay(relay);
  assert.equal(await again, other.peerId);
  await joined(other, one.peerId);
  assert.deepEqual(await one.evaluate(() => window.outcomes), { [other.peerId]: "acked" });
  const more = await one.evaluate((to) => window.node.queueEvent("spawn", "more", { reliable: true, to }).settled, other.peerId);
  assert.deepEqual(more, { [other.peerId]: "acked" });
  assert.deepEqual(await payloads(other), ["more"]);
  assert.equal(await other.evaluate(() => window.localStorage.getItem("got")), "x");
});

test("where nothing is to be kept, a reload ends what was queued", async () => {
  const { relay, one, other, options } = await tabs("ended");
  const forgetful = { ...options, keepOutbox: false };
  await reload(one, forgetful);
  await joined(one, other.peerId);
  assert.equal(await one.evaluate(() => window.node.outboxIsKept), false);
  await relay.kill();
  await left(one, other.peerId);
  await one.evaluate((to) => {
    window.node.queueEvent("step", "lost", { reliable: true, to });
    return window.node.kept();
  }, other.peerId);
  await reload(one, forgetful);
  await scene.relay(relay);
  await joined(one, other.peerId);
  const outcomes = await one.evaluate((to) => window.node.queueEvent("step", "new", { reliable: true, to }).settled, other.peerId);
  assert.deepEqual(outcomes, { [other.peerId]: "acked" });
  assert.deepEqual(await payloads(other), ["new"]);
});

test("a tab that is reloaded in the midst of a job costs no result, and works on", async () => {
  const relay = await scene.relay();
  // It may lend its machine again, so that the job waits while the tab is away.
  await scene.node("midst", "--relay", relay.tcp, "--throttle", "0");
  const tab = await scene.tab(await scene.serve());
  const options = { roomId: "midst", relays: [relay.ws] };
  const peerId = await begin(tab, options);
  await tab.evaluate(() => window.node.ready());
  const [folder, out] = [await scene.folder(), await scene.folder()];
  const [module, file] = [join(folder, "slow.wasm"), join(folder, "input")];
  const input = randomBytes(200 << 10);
  await writeFile(module, slow);
  await writeFile(file, input);
  const meet = ["--game", "test", "--room", "midst", "--relay", relay.tcp];
  const run = await scene.run("run", ["run", "--json", "--wasm", module, "--input", file, "--chunk", "1KiB", "--out", out, "--no-local", "--topology", "distributed", ...meet]);
  const works = () => tab.waitForFunction(() => window.node.status().tasks.done >= 5);
  const ends = run.exited.then((code) => assert.fail(`the job has ended with ${code}: ${JSON.stringify(run.lines)}`));
  await Promise.race([works(), ends]);
  assert.equal(await reload(tab, options), peerId);
  await Promise.race([works(), ends]);
  const result = await run.line(() => true);
  assert.equal(await run.exited, 0, JSON.stringify(result));
  const parts = (await readdir(out)).sort();
  const output = Buffer.concat(await Promise.all(parts.map((part) => readFile(join(out, part)))));
  assert.ok(output.equals(input), "each task gives back what it gets");
  // What it had done before it was reloaded counts as its own, and so does what it was given again.
  assert.equal(result.by_node[peerId]?.tasks, 200, JSON.stringify(result.by_node));
});
