import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

const PEER = "12D3KooWLfPCZtr2TX7iTXkok6gRi43RDDfV5ndBBxrq16o8tkSB";

let scene;
let address;
beforeEach(async () => {
  scene = new Scene();
  address = await scene.serve();
});
afterEach(() => scene.end());

/** What a page with this query makes of these sources. */
async function resolved(query, sources) {
  const tab = await scene.tab(undefined, { page: `${address}/tab.html${query}` });
  await tab.waitForFunction(() => window.isReady === true);
  return tab.evaluate(async (sources) => {
    const { resolveRelay } = await import("/peercompute/index.js");
    try {
      return await resolveRelay(sources);
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  }, sources);
}

const config = (port) => ({ relayHost: "relay.example", relayPort: port, relayProtocol: "wss", relayPeerId: PEER });

test("the query parameter decides, then the file beside the page, then the fallback", async () => {
  const said = encodeURIComponent(`/ip4/10.0.0.1/tcp/1/ws/p2p/${PEER}`);
  assert.deepEqual(await resolved(`?relay=${said}`, { fallback: config(3) }), { origin: "the query parameter", addresses: [`/ip4/10.0.0.1/tcp/1/ws/p2p/${PEER}`] });
  const source = { source: "relay-config-test.json", fallback: config(3) };
  assert.deepEqual(await resolved("", source), { origin: "the source file", addresses: [`/dns/relay.example/tcp/2/wss/p2p/${PEER}`] });
  assert.deepEqual(await resolved("", { fallback: config(3) }), { origin: "the fallback", addresses: [`/dns/relay.example/tcp/3/wss/p2p/${PEER}`] });
});

test("what is there and makes no sense is an error, and so is nothing at all", async () => {
  const wrong = await resolved("?relay=nonsense", { fallback: config(3) });
  assert.equal(wrong.code, "NO_RELAY");
  assert.match(wrong.message, /the query parameter/);
  assert.equal((await resolved("", {})).code, "NO_RELAY");
});
