import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Scene } from "./harness.mjs";

const PEER = "12D3KooWLfPCZtr2TX7iTXkok6gRi43RDDfV5ndBBxrq16o8tkSB";
const HERE = `/ip4/127.0.0.1/tcp/9/ws/p2p/${PEER}`;

const scene = new Scene();
let tab;
before(async () => {
  tab = await scene.tab(await scene.serve());
});
after(() => scene.end());

const text = ["5", "true", "{}", "[]", "Symbol.iterator", "() => 'x'"];
const flag = ["5", "'no'", "{}", "[]"];
const count = ["'5'", "-1", "1.5", "NaN", "Infinity", "{}", "[]"];
const rate = ["'5'", "-1", "0.5", "121", "NaN", "Infinity", "{}"];
const addresses = ["5", `'${HERE}'`, "{}", "[5]", "[null]", "['']", "['nonsense']", "['ws://127.0.0.1:9']", "['/ip4/127.0.0.1/tcp/9/ws']", "['/ip4/127.0.0.1/tcp/9/ws/p2p/nobody']"];

/** What each option must not be, as JavaScript. */
const OPTIONS = {
  gameId: [...text, "'x'.repeat(65)"],
  roomId: [...text, "'x'.repeat(65)"],
  password: [...text, "''", "'x'.repeat(257)"],
  bootstrapPeers: addresses,
  relays: addresses,
  webrtc: flag,
  iceServers: ["5", "'stun:stun.example'", "{}", "[5]", "['']", "['nonsense']", "['http://stun.example']", "[{ urls: 'stun:stun.example' }]", "Array(17).fill('stun:stun.example')"],
  name: [...text, "'x'.repeat(257)"],
  cores: count,
  throttle: ["'50'", "-1", "101", "NaN", "Infinity", "{}"],
  serves: flag,
  scheduler: ["5", "'action'", "[]", "null", "() => ({})"],
  identity: ["5", "'key'", "[1, 2]", "{}", "new Uint8Array(0)", "new Uint8Array(5)", "new ArrayBuffer(68)"],
  keepIdentity: flag,
  keepOutbox: flag,
  pauseWhenHidden: flag,
  pauseOnLowBattery: flag,
  gpu: flag,
  identityName: [...text, "'x'.repeat(257)"],
};
const SCHEDULER = {
  profile: [...text, "'fast'", "''"],
  snapshotHz: rate,
  leastSnapshotHz: rate,
  commandHz: rate,
  eventHz: rate,
  firstRetryMs: count,
  sends: count,
};
/** Where the error speaks of what it is, not of its name here. */
const NAMED = { gameId: /gameId|game's name/, roomId: /roomId|room's name/ };

/** What `NodeKernel.create` makes of these options, which are JavaScript. */
const refusals = (all) =>
  tab.evaluate(async (all) => {
    const said = [];
    for (const options of all) {
      try {
        const node = await window.NodeKernel.create(new Function(`return (${options})`)());
        await node.stop();
        said.push({ code: "none" });
      } catch (error) {
        said.push({ code: error.code, message: String(error.message), isError: error instanceof Error });
      }
    }
    return said;
  }, all);

for (const [where, table] of [["{ NAME: VALUE }", OPTIONS], ["{ scheduler: { NAME: VALUE } }", SCHEDULER]]) {
  for (const [name, values] of Object.entries(table)) {
    test(`what ${name} must not be is refused by its name, with what it may be`, async () => {
      const all = values.map((value) => where.replace("NAME", name).replace("VALUE", () => value));
      for (const [at, { code, message, isError }] of (await refusals(all)).entries()) {
        assert.equal(code, "INVALID_ARGUMENT", all[at]);
        assert.ok(isError, all[at]);
        assert.match(message, NAMED[name] ?? new RegExp(name), all[at]);
        assert.match(message, /give |at most|known are|needs|private key/, all[at]);
      }
    });
  }
}

test("a password that is refused is not in the error", async () => {
  const secret = 31_415_926;
  const refused = await refusals([`{ password: ${secret} }`, `{ password: ['${secret}'] }`, `{ password: '${secret}'.repeat(40) }`]);
  for (const { code, message } of refused) {
    assert.equal(code, "INVALID_ARGUMENT");
    assert.ok(!message.includes(String(secret)), message);
  }
});

test("whoever was refused has started nothing, and a right node starts under the same name", async () => {
  const { isKept, before, sockets } = await tab.evaluate(async (here) => {
    const count = { sockets: 0 };
    const Made = window.WebSocket;
    window.WebSocket = class extends Made {
      constructor(...args) {
        super(...args);
        count.sockets += 1;
      }
    };
    for (const wrong of [{ throttle: 101 }, { iceServers: ["nonsense"] }, { cores: -1 }, { name: 5 }]) {
      await window.NodeKernel.create({ identityName: "refused", relays: [here], ...wrong }).catch(() => {});
    }
    const before = (await navigator.locks.query()).held.filter(({ name }) => name.includes("refused")).length;
    const { sockets } = count;
    const node = await window.NodeKernel.create({ identityName: "refused" });
    await node.start();
    const isKept = node.identityIsKept;
    await node.stop();
    return { isKept, before, sockets };
  }, HERE);
  assert.deepEqual({ isKept, before, sockets }, { isKept: true, before: 0, sockets: 0 });
  assert.deepEqual(tab.faults, []);
});

test("more relays and peers than there may be are refused at the start, which leaves nothing behind", async () => {
  const said = await tab.evaluate(async (here) => {
    const node = await window.NodeKernel.create({ relays: Array(40).fill(here), bootstrapPeers: Array(25).fill(here) });
    const said = await node.start().catch(({ code, message }) => ({ code, message }));
    await node.stop();
    return said;
  }, HERE);
  assert.equal(said.code, "NOT_STARTED");
  assert.match(said.message, /65 relays and bootstrap peers are more than 64; give fewer/);
});
