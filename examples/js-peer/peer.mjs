// Joins a room of PeerCompute by js-libp2p and the .proto files alone, sends a reliable event and waits until it is acknowledged.
//
// node peer.mjs ADDRESS [--game NAME] [--room NAME] [--type NAME] [--text TEXT] [--wait-for NAME]

import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";

import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { identify } from "@libp2p/identify";
import { webSockets } from "@libp2p/websockets";
import { multiaddr } from "@multiformats/multiaddr";
import { blake3 } from "@noble/hashes/blake3";
import { lpStream } from "it-length-prefixed-stream";
import { createLibp2p } from "libp2p";
import protobuf from "protobufjs";

/** How long anything may take, in milliseconds. */
const PATIENCE = 30_000;
/** A reliable event is sent again after so long, doubling each time, five times in all. */
const RETRY = 500;
const SENDS = 5;
/** The peers of a room are told that this one is there after so long without anything else. */
const KEEPALIVE = 1000;
/** The largest frame that is taken, in bytes. */
const MAX_FRAME = 1 << 20;

// Node.js 20 has none, and js-libp2p needs it.
Promise.withResolvers ??= function () {
  const it = {};
  it.promise = new this((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    game: { type: "string", default: "default" },
    room: { type: "string", default: "default" },
    type: { type: "string", default: "hello" },
    text: { type: "string", default: "from js-libp2p" },
    // An event of this type is waited for, too.
    "wait-for": { type: "string" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: node peer.mjs ADDRESS [--game NAME] [--room NAME] [--type NAME] [--text TEXT] [--wait-for NAME]");
  process.exit(2);
}

const schema = await loadSchema();
const [RendezvousFrame, RealtimeFrame] = ["RendezvousFrame", "RealtimeFrame"].map((name) => schema.lookupType(`peercompute.v1.${name}`));
const scope = scopeOf(options.game, options.room);

const node = await createLibp2p({
  transports: [webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() },
});
say({ event: "started", peer_id: node.peerId.toString() });

// Whoever has the lower id opens the stream; so this one may be opened from the other end.
const opened = new Promise((resolve) => node.handle("/peercompute/realtime/1", ({ stream }) => resolve(stream)));
const connection = await node.dial(multiaddr(positionals[0]), { signal: AbortSignal.timeout(PATIENCE) });
await register(connection);
const opens = compare(node.peerId.toMultihash().bytes, connection.remotePeer.toMultihash().bytes) < 0;
const stream = opens ? await connection.newStream("/peercompute/realtime/1") : await within(opened, "the other end opens no stream");
const heard = await talk(lpStream(stream, { maxDataLength: MAX_FRAME }));
await within(heard.done, "what was waited for did not come");
await node.stop();

function say(line) {
  console.log(JSON.stringify(line));
}

/** The schema, as it lies in this repository. */
function loadSchema() {
  const folder = fileURLToPath(new URL("../../peercompute-proto/proto/", import.meta.url));
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => folder + target;
  return root.load(["peercompute/v1/presence.proto", "peercompute/v1/realtime.proto"]);
}

/** What names a room on the wire: see StreamBinding in header.proto. */
function scopeOf(game, room) {
  const text = new TextEncoder();
  const named = (name) => {
    const bytes = text.encode(name);
    return [bytes.length, ...bytes];
  };
  return blake3(Uint8Array.from([...text.encode("peercompute/scope/1"), ...named(game), ...named(room)]));
}

/** Registers in the room, with whoever keeps its list. The registration lasts as long as the stream. */
async function register(connection) {
  const frames = lpStream(await connection.newStream("/peercompute/rendezvous/1"), { maxDataLength: 256 << 10 });
  const presence = { peer: node.peerId.toMultihash().bytes, state: 1, capabilities: {} };
  await frames.write(RendezvousFrame.encode({ register: { scope, presence } }).finish());
  const { members, refusal } = decode(RendezvousFrame, await within(frames.read(), "no list of the room comes"));
  if (refusal) {
    throw new Error(`the registration is refused: ${refusal.message}`);
  }
  say({ event: "registered", members: members.members.length });
  // What changes in the list is of no use here, but somebody has to take it.
  (async () => {
    for (;;) {
      await frames.read();
    }
  })().catch(() => {});
}

/** Sends the event until it is acknowledged, and acknowledges what comes. */
async function talk(frames) {
  const session = Date.now() * 1000;
  let [sequence, peerSession, acked] = [0, 0, 0];
  const event = { id: 1, type: options.type, payload: new TextEncoder().encode(options.text), reliable: true };
  const send = async (content) => {
    sequence += 1;
    const binding = sequence === 1 ? { version: 1, scope } : undefined;
    const frame = { binding, session, peerSession, sequence, timestampUs: Date.now() * 1000, ...content };
    await frames.write(RealtimeFrame.encode(frame).finish());
  };

  let [isAcked, hasCome] = [false, options["wait-for"] === undefined];
  let finish;
  const done = new Promise((resolve) => {
    finish = resolve;
  });
  const look = () => isAcked && hasCome && finish();

  await send({ events: { events: [event], floor: 1 } });
  let [sends, wait] = [1, RETRY];
  const again = setInterval(async () => {
    if (!isAcked && sends < SENDS) {
      sends += 1;
      await send({ events: { events: [event], floor: 1 } });
    }
  }, wait);
  const alive = setInterval(() => send({}), KEEPALIVE);
  const listen = async () => {
    for (;;) {
      const frame = decode(RealtimeFrame, await frames.read());
      peerSession = Number(frame.session);
      const { through = 0, ids = [] } = frame.eventAck ?? {};
      if (!isAcked && (Number(through) >= event.id || ids.map(Number).includes(event.id))) {
        isAcked = true;
        say({ event: "acked", type: event.type });
      }
      for (const { id, type, payload, reliable } of frame.events?.events ?? []) {
        // What came before is acknowledged again, and not told twice.
        const isNew = !reliable || Number(id) > acked;
        acked = Math.max(acked, Number(id));
        if (isNew) {
          say({ event: "heard", type, bytes: payload.length });
          hasCome ||= type === options["wait-for"];
        }
      }
      if (frame.events?.events?.some(({ reliable }) => reliable)) {
        await send({ eventAck: { through: acked } });
      }
      look();
    }
  };
  listen().catch(finish);
  done.finally(() => {
    clearInterval(again);
    clearInterval(alive);
  });
  return { done: done.then((error) => { if (error) throw error; }) };
}

function decode(type, bytes) {
  return type.toObject(type.decode(bytes.subarray()), { arrays: true, longs: Number });
}

function compare(one, other) {
  return Buffer.compare(Buffer.from(one), Buffer.from(other));
}

async function within(promise, message) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
