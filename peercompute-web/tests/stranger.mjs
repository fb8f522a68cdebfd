// A peer by js-libp2p that does not keep to the protocols of PeerCompute, or speaks others.
//
// node stranger.mjs newer|garbage|flood|streams

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const JS_PEER = new URL("../../examples/js-peer/", import.meta.url);
const SCHEMA = fileURLToPath(new URL("../../peercompute-proto/proto/", import.meta.url));

/** A dependency of the JavaScript peer, which has those that this needs. */
async function load(name) {
  const folder = new URL(`node_modules/${name}/`, JS_PEER);
  const { exports } = JSON.parse(await readFile(new URL("package.json", folder)));
  return import(new URL(exports["."].import, folder));
}

// Node.js 20 has none, and js-libp2p needs it.
Promise.withResolvers ??= function () {
  const it = {};
  it.promise = new this((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
};

const [{ createLibp2p }, { webSockets }, { noise }, { yamux }, { identify }] = await Promise.all(
  ["libp2p", "@libp2p/websockets", "@chainsafe/libp2p-noise", "@chainsafe/libp2p-yamux", "@libp2p/identify"].map(load),
);
const protobuf = createRequire(new URL("peer.mjs", JS_PEER))("protobufjs");
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => SCHEMA + target;
const schema = await root.load("peercompute/v1/presence.proto");
const RendezvousFrame = schema.lookupType("peercompute.v1.RendezvousFrame");

const [what] = process.argv.slice(2);
const RENDEZVOUS = "/peercompute/rendezvous/1";
const GARBAGE = new Uint8Array(60_000).fill(0xff);
/** Streams that are opened at the same time. */
const AT_ONCE = 200;
const MANY = { maxInboundStreams: 10_000, maxOutboundStreams: 10_000 };

const node = await createLibp2p({
  addresses: { listen: ["/ip4/127.0.0.1/tcp/0/ws"] },
  transports: [webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() },
});

/** What whoever registers is answered with. */
const answers = {
  newer: () => {},
  garbage: ({ stream }) => pour(stream),
  flood: ({ stream, connection }) => {
    list(stream);
    for (const protocol of ["/peercompute/realtime/1", "/peercompute/task/1"]) {
      connection.newStream(protocol).then(pour).catch(enough);
    }
  },
  streams: async ({ stream, connection }) => {
    list(stream);
    const open = async () => (await connection.newStream("/peercompute/task/1", MANY)).abort(new Error("no more"));
    try {
      for (;;) {
        await Promise.all(Array.from({ length: AT_ONCE }, open));
      }
    } catch (error) {
      enough(error);
    }
  },
};
await node.handle(what === "newer" ? "/peercompute/rendezvous/2" : RENDEZVOUS, answers[what]);
say({ event: "listening", address: node.getMultiaddrs()[0].toString() });

function say(line) {
  console.log(JSON.stringify(line));
}

/** The other end has had enough. */
function enough(error) {
  say({ event: "stopped", error: String(error) });
}

/** Sends garbage without end, as fast as it is taken. */
async function pour(stream) {
  try {
    await stream.sink((async function* () {
      for (;;) {
        yield GARBAGE;
      }
    })());
  } catch (error) {
    enough(error);
  }
}

/** Sends a list with this node alone, and leaves the stream open. */
function list(stream) {
  const members = [{ peer: node.peerId.toMultihash().bytes, state: 1, addresses: [], capabilities: { workers: 1 } }];
  const frame = RendezvousFrame.encodeDelimited(RendezvousFrame.create({ members: { members, complete: true } })).finish();
  stream.sink((async function* () {
    yield frame;
    await new Promise(() => {});
  })()).catch(() => {});
}
