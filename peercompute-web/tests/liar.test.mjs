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

test("a tab that gives back wrong bytes is found out, by name, and the job ends right without them", async () => {
  const node = await scene.node("liars", "--throttle", "0");
  const tab = await scene.tab(await scene.serve());
  // Its workers turn a bit of each answer around.
  await tab.context().route("**/worker.js", async (route) => {
    const response = await route.fetch();
    const lie = `
      const post = self.postMessage;
      self.postMessage = (answer, moved) => {
        if (answer.output) answer.output[0] ^= 1;
        post.call(self, answer, moved);
      };`;
    await route.fulfill({ response, body: `${lie}\n${await response.text()}` });
  });
  const peerId = await tab.evaluate((options) => window.begin(options), { roomId: "liars", bootstrapPeers: [node.ws] });
  await node.line((line) => line.event === "peer_joined");

  const [file, content] = [join(await scene.folder(), "input"), randomBytes(4 << 20)];
  await writeFile(file, content);
  const work = async (...args) => {
    const run = await scene.run("run", ["run", "--json", "--op", "fnv64", "--topology", "emergent", "--game", "test", "--room", "liars", "--peer", node.tcp, ...args, file]);
    const result = await run.line(() => true);
    return { code: await run.exited, result };
  };
  const lied = await work("--no-local");
  assert.equal(lied.code, 0, JSON.stringify(lied.result));
  assert.equal(lied.result.verified, true, JSON.stringify(lied.result));
  const [mended] = lied.result.results;
  assert.equal(mended.value, fnv64(content));
  assert.equal(mended.mended, true);
  assert.ok(lied.result.by_node[peerId].tasks > 0);
  assert.deepEqual(mended.wrong_by_node, { [peerId]: lied.result.by_node[peerId].tasks });

  // Whoever is told so leaves it out, and nothing has to be mended.
  await tab.evaluate(() => window.node.setThrottle(0));
  const honest = await work();
  assert.equal(honest.code, 0, JSON.stringify(honest.result));
  assert.equal(honest.result.verified, true);
  assert.equal(honest.result.results[0].value, fnv64(content));
  assert.equal(honest.result.results[0].mended, undefined);
});
