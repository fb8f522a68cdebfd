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

test("a tab that gives back wrong bytes is found out, by name, and costs nobody else anything", async () => {
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

  const file = join(await scene.folder(), "input");
  await writeFile(file, randomBytes(4 << 20));
  const work = async (...args) => {
    const run = await scene.run("run", ["run", "--json", "--op", "fnv64", "--topology", "emergent", "--game", "test", "--room", "liars", "--peer", node.tcp, ...args, file]);
    const result = await run.line(() => true);
    return { code: await run.exited, result };
  };
  const lied = await work("--no-local");
  assert.equal(lied.code, 1, JSON.stringify(lied.result));
  assert.equal(lied.result.verified, false, JSON.stringify(lied.result));
  assert.ok(lied.result.by_node[peerId].tasks > 0);

  // Whoever is told so leaves it out, and the job ends right.
  await tab.evaluate(() => window.node.setThrottle(0));
  const honest = await work();
  assert.equal(honest.code, 0, JSON.stringify(honest.result));
  assert.equal(honest.result.verified, true);
});
