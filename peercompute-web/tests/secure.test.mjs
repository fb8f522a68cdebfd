import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { certificate } from "./certificate.mjs";
import { Scene } from "./harness.mjs";

/** To the browser this machine is another one by that name. */
const HOST = "lend.test";
const ELSEWHERE = { args: [`--host-resolver-rules=MAP ${HOST} 127.0.0.1`, "--ignore-certificate-errors"] };

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

const SERVE = ["--throttle", "0", "--web", "127.0.0.1:0", "--web-folder", process.env.PEERCOMPUTE_WEB];

/** A node that serves the page and runs nothing itself, and a browser elsewhere that has opened it. */
async function lent(...args) {
  const node = await scene.node("secure", ...SERVE, ...args);
  const { urls } = await node.line((line) => line.event === "web");
  const page = urls[0].replace("127.0.0.1", HOST);
  return { node, page, tab: await scene.tab(undefined, { page, ...ELSEWHERE }) };
}

test("over HTTPS a tab elsewhere becomes a worker, and has all that browsers keep for secure contexts", async () => {
  const { cert, key } = await certificate(await scene.folder(), HOST);
  const { node, page, tab } = await lent("--web-cert", cert, "--web-key", key);
  assert.match(page, /^https:/);
  await tab.getByText("waiting for work").waitFor();
  assert.equal(await tab.evaluate(() => window.isSecureContext), true);
  assert.equal(await tab.evaluate(() => "locks" in navigator), true);
  assert.equal(await tab.locator("#limits").isVisible(), false);

  const file = join(await scene.folder(), "input");
  await writeFile(file, randomBytes(1 << 20));
  const where = ["--no-local", "--game", "test", "--room", "secure", "--topology", "emergent", "--peer", node.tcp];
  const run = await scene.run("run", ["run", "--json", "--op", "crc32c", "--chunk", "64KiB", ...where, file]);
  const result = await run.line(() => true);
  assert.equal(await run.exited, 0, JSON.stringify(result));
  assert.equal(result.verified, true);
  const peerId = await tab.evaluate(() => window.peercompute.peerId);
  assert.equal(result.by_node[peerId].tasks, 16);
  assert.deepEqual(tab.faults, []);
});

test("over HTTPS a tab elsewhere is the same peer after a reload", async () => {
  const { cert, key } = await certificate(await scene.folder(), HOST);
  const { tab } = await lent("--web-cert", cert, "--web-key", key);
  await tab.getByText("waiting for work").waitFor();
  const peerId = await tab.evaluate(() => window.peercompute.peerId);
  await tab.reload();
  await tab.getByText("waiting for work").waitFor();
  assert.equal(await tab.evaluate(() => window.peercompute.peerId), peerId);
});

test("over plain HTTP a tab elsewhere computes, and the page says what it lacks", async () => {
  const { page, tab } = await lent();
  assert.match(page, /^http:/);
  await tab.getByText("waiting for work").waitFor();
  assert.equal(await tab.evaluate(() => window.isSecureContext), false);
  assert.match(await tab.locator("#limits").textContent(), /without encryption/);
  assert.equal(await tab.locator("#limits").isVisible(), true);
});

test("a certificate that does not do ends the node at once, with the file and the reason", async () => {
  const folder = await scene.folder();
  const { cert, key } = await certificate(folder, HOST);
  const other = await certificate(folder, "other.test");
  const expired = await certificate(folder, "expired.test", { from: -2, until: -1 });
  const early = await certificate(folder, "early.test", { from: 1, until: 2 });
  for (const [files, field, reason] of [
    [{ cert, key: other.key }, "web-key", /not the private key of the certificate/],
    [expired, "web-cert", /has expired/],
    [early, "web-cert", /not valid before/],
    [{ cert: key, key }, "web-cert", /no certificate is in it/],
  ]) {
    const node = await scene.run("node", ["node", "--json", ...SERVE, "--web-cert", files.cert, "--web-key", files.key]);
    const said = await node.line(() => true);
    assert.equal(await node.exited, 2);
    assert.equal(said.field, field);
    assert.match(said.error, reason);
  }
});
