import assert from "node:assert/strict";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

import { frame, line, pour, stranger } from "./hostile.mjs";
import { Scene, within } from "./harness.mjs";

const STRANGER = fileURLToPath(new URL("./stranger.mjs", import.meta.url));

/** What a node in a page may hold at most, in bytes, whoever pours what onto it. */
const MOST_MEMORY = 64 << 20;

/** A server that says nothing is given up after more than so long, in milliseconds. */
const SILENCE = 10_000;

let scene;
let native;
let tab;
beforeEach(async () => {
  scene = new Scene();
  native = await scene.node("strangers");
  tab = await scene.tab(await scene.serve());
  await tab.evaluate(() => {
    const instantiate = WebAssembly.instantiate;
    WebAssembly.instantiate = async (...args) => {
      const made = await instantiate.apply(WebAssembly, args);
      window.memory ??= (made.instance ?? made).exports.memory;
      return made;
    };
  });
});
afterEach(() => scene.end());

/** Starts the tab's node with these peers before the honest one. */
const begin = (strangers, options = {}) => tab.evaluate((options) => window.begin(options), { roomId: "strangers", bootstrapPeers: [...strangers, native.ws], ...options });

/** The reason of the first event of this type that says `about` this. */
async function reason(type, about) {
  const found = await tab.waitForFunction(([type, about]) => window.heard.find((event) => event.type === type && Object.values(event).some((value) => value.includes?.(about))), [type, about]);
  return (await found.jsonValue()).reason;
}

/** The honest node is there, and tasks run. */
async function goesOn() {
  await tab.waitForFunction((peer) => window.node.status().peers.some(({ peerId, path }) => peerId === peer && path === "direct"), native.peerId);
  const output = await tab.evaluate(async () => new TextDecoder().decode(await window.node.submitTask({ operation: "xor:0", input: "still here" })));
  assert.equal(output, "still here");
  assert.ok(!(await tab.evaluate((peer) => window.heard.some((event) => event.type === "peerLeft" && event.peer === peer), native.peerId)), "the honest node stays");
}

/** Bytes that the page holds after all garbage is collected. */
async function held() {
  const session = await tab.context().newCDPSession(tab);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize = 0 } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  return usedSize + backingStorageSize + (await tab.evaluate(() => window.memory.buffer.byteLength));
}

test("a server that is no node is named with what it does, each in its time, and the node goes on", async () => {
  const header = line("/multistream/1.0.0");
  const cases = [
    [(socket) => socket.end(), /refuses the connection|the WebSocket does not open/],
    [(socket) => socket.write(frame(Buffer.alloc(64, 0xff))), /breaks the protocol/],
    [(socket) => socket.write(frame(line("/multistream/2.0.0"))), /breaks the protocol.*negotiation failed/],
    [(socket) => socket.write(frame(Buffer.concat([header, line("na")]))), /breaks the protocol.*negotiation failed/],
    [() => {}, /no answer from .* in time/],
  ];
  const addresses = [];
  for (const [treat] of cases) {
    addresses.push(await stranger(scene, treat));
  }
  await begin(addresses);
  for (const [at, [, expected]] of cases.entries()) {
    assert.match(await reason("unreachable", addresses[at]), expected);
  }
  await goesOn();
  assert.deepEqual(tab.faults, []);
});

test("where nobody listens is told at once, and whoever listens there later is reached", async () => {
  const key = join(await scene.folder(), "late.key");
  const late = async (port) => {
    const node = await scene.run("node", ["node", "--json", "--game", "test", "--room", "strangers", "--listen", `/ip4/127.0.0.1/tcp/${port}/ws`, "--identity", key]);
    return Object.assign(node, await node.line(({ event }) => event === "listening"));
  };
  const earlier = await late(0);
  const [address] = earlier.addresses;
  await earlier.end();
  const begun = Date.now();
  await begin([address]);
  assert.match(await reason("unreachable", address), /^nobody answers at .* the WebSocket does not open/);
  assert.ok(Date.now() - begun < SILENCE, "sooner than a server that says nothing");
  await late(address.match(/\/tcp\/(\d+)/)[1]);
  await tab.waitForFunction((peer) => window.node.status().peers.some(({ peerId }) => peerId === peer), earlier.peer_id);
  await goesOn();
});

test("a server that pours garbage is left, and nothing of it is kept", async () => {
  const sockets = [];
  let enough;
  const met = new Promise((resolve) => (enough = resolve));
  const pours = (byte) => (socket) => {
    pour(socket, frame(Buffer.alloc(60_000, byte)));
    if (sockets.push(socket) === 4) {
      enough();
    }
  };
  const addresses = [await stranger(scene, pours(0x41)), await stranger(scene, pours(0))];
  await begin(addresses);
  for (const address of addresses) {
    assert.match(await reason("unreachable", address), /breaks the protocol|refuses the connection/);
  }
  await within(met, "it is not asked again");
  await goesOn();
  const bytes = await held();
  const poured = sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
  assert.ok(bytes < MOST_MEMORY, `${bytes} bytes are held after ${poured} were poured`);
  assert.deepEqual(tab.faults, []);
});

/** A peer of js-libp2p that does this. */
async function peer(what) {
  const script = await scene.script(STRANGER, [what]);
  const { address } = await script.line(({ event }) => event === "listening");
  return { script, address, peerId: address.split("/").at(-1) };
}

test("a member that pours garbage into the room is cut off with what is wrong with it, and the room goes on", async () => {
  const { script, address, peerId } = await peer("flood");
  await begin([address]);
  await script.line(({ event }) => event === "stopped");
  assert.match(await reason("cutOff", peerId), /the length before a \w+Frame/);
  await reason("peerLeft", peerId);
  await reason("unreachable", peerId);
  await goesOn();
  assert.equal(await tab.evaluate(() => window.heard.filter(({ type }) => type === "cutOff").length), 1, "it is told once, although two streams were poured into");
  assert.ok((await held()) < MOST_MEMORY);
  assert.deepEqual(tab.faults, []);
});

test("a native node says the same of a member that pours garbage", async () => {
  const { address, peerId } = await peer("flood");
  const other = await scene.node("strangers", "--peer", address);
  const { reason } = await other.line(({ event, peer_id }) => event === "peer_cut_off" && peer_id === peerId);
  assert.match(reason, /the length before a \w+Frame/);
  await other.line(({ event, peer_id }) => event === "peer_left" && peer_id === peerId);
  assert.equal(other.lines.filter(({ event }) => event === "peer_cut_off").length, 1);
});

test("a member that opens streams without end is cut off by name", async () => {
  const { address, peerId } = await peer("streams");
  await begin([address]);
  assert.match(await reason("cutOff", peerId), /more than 100 streams a second/);
  await reason("peerLeft", peerId);
  await goesOn();
  assert.ok((await held()) < MOST_MEMORY);
  assert.deepEqual(tab.faults, []);
});

test("whoever keeps the room's list and sends none breaks the protocol", async () => {
  const { address, peerId } = await peer("garbage");
  await begin([address]);
  assert.match(await reason("unreachable", peerId), /^the other end breaks the protocol: the length before a RendezvousFrame/);
  await goesOn();
});

test("a relay of another version is named with the protocol that it lacks, and another relay serves", async () => {
  const { address, peerId } = await peer("newer");
  const relay = await scene.relay();
  const hidden = await scene.run("node", ["node", "--json", "--game", "test", "--room", "strangers", "--listen", "none", "--relay", relay.tcp]);
  await begin([address], { relays: [address, relay.ws] });
  for (const type of ["relayLost", "unreachable"]) {
    assert.match(await reason(type, peerId), /does not speak \/peercompute\/rendezvous\/1; .* older version/);
  }
  assert.match(await reason("reservationFailed", peerId), /circuit\/relay/);
  await hidden.line(({ event }) => event === "peer_joined");
  await goesOn();
  assert.deepEqual(tab.faults, []);
});
