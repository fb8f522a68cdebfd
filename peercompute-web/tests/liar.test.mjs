import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** FNV-1a of 64 bits, as digits. */
function fnv64(bytes) {
  // Its prime is 2 ** 40 + 0x1b3; the hash is kept in two halves, which numbers multiply exactly.
  let [high, low] = [0xcbf29ce4, 0x84222325];
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return [high, low].map((half) => half.toString(16).padStart(8, "0")).join("");
}

/** A room with a node that lends nothing and a tab whose workers change each answer as `lie` says. Gives the tab's id and what runs work there, over the file and with its content. */
async function among(lie, bytes) {
  const node = await scene.node("liars", "--throttle", "0");
  const tab = await scene.tab(await scene.serve());
  await tab.context().route("**/worker.js", async (route) => {
    const response = await route.fetch();
    const lying = `
      const post = self.postMessage;
      self.postMessage = (answer, moved) => {
        ${lie}
        post.call(self, answer, moved);
      };`;
    await route.fulfill({ response, body: `${lying}\n${await response.text()}` });
  });
  const peerId = await tab.evaluate((options) => window.begin(options), { roomId: "liars", bootstrapPeers: [node.ws] });
  await node.line((line) => line.event === "peer_joined");

  const [file, content] = [join(await scene.folder(), "input"), randomBytes(bytes)];
  await writeFile(file, content);
  const work = async (operation, ...args) => {
    const run = await scene.run("run", ["run", "--json", "--op", operation, "--topology", "emergent", "--game", "test", "--room", "liars", "--peer", node.tcp, ...args, file]);
    const result = await run.line(() => true);
    return { code: await run.exited, result };
  };
  return { tab, peerId, content, work };
}

test("a tab that gives back wrong bytes is found out, by name, and the job ends right without them", async () => {
  // A bit of each answer is turned around.
  const { tab, peerId, content, work } = await among("if (answer.output) answer.output[0] ^= 1;", 4 << 20);
  const lied = await work("fnv64", "--no-local");
  assert.equal(lied.code, 0, JSON.stringify(lied.result));
  assert.equal(lied.result.verified, true, JSON.stringify(lied.result));
  const [mended] = lied.result.results;
  assert.equal(mended.value, fnv64(content));
  assert.equal(mended.mended, true);
  assert.ok(lied.result.by_node[peerId].tasks > 0);
  assert.deepEqual(mended.wrong_by_node, { [peerId]: lied.result.by_node[peerId].tasks });

  // Whoever is told so leaves it out, and nothing has to be mended.
  await tab.evaluate(() => window.node.setThrottle(0));
  const honest = await work("fnv64");
  assert.equal(honest.code, 0, JSON.stringify(honest.result));
  assert.equal(honest.result.verified, true);
  assert.equal(honest.result.results[0].value, fnv64(content));
  assert.equal(honest.result.results[0].mended, undefined);
});

test("a tab that gives back far too much holds nobody up, and is named", async () => {
  const { peerId, work } = await among("if (answer.output) { answer.output = new Uint8Array(1 << 20); moved = []; }", 32 << 20);
  const lied = await work("crc32c", "--no-local");
  assert.equal(lied.code, 0, JSON.stringify(lied.result));
  assert.equal(lied.result.verified, true, JSON.stringify(lied.result));
  const [mended] = lied.result.results;
  assert.equal(mended.mended, true);
  // A task for each mebibyte.
  assert.deepEqual(mended.wrong_by_node, { [peerId]: 32 });
});
