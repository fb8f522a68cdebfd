import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { slow } from "./guests.mjs";
import { Scene } from "./harness.mjs";

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** A node that serves the page and runs nothing itself, and a browser that has opened it. */
async function lent(...args) {
  const node = await scene.node("lend", "--throttle", "0", "--web", "127.0.0.1:0", "--web-folder", process.env.PEERCOMPUTE_WEB, ...args);
  const { urls } = await node.line((line) => line.event === "web");
  assert.equal(urls.length, 1);
  return { node, url: urls[0], tab: await scene.tab(undefined, { page: urls[0] }) };
}

const job = (node, tasks, ...args) => scene.job(slow, tasks, "--peer", node.tcp, ...args);

test("opening the page makes the tab a worker, and it shows what it does", async () => {
  const { node, tab } = await lent();
  await tab.getByText("waiting for work").waitFor();
  assert.equal(await tab.locator("#room").textContent(), "test / lend");
  assert.equal(await tab.locator("#link").textContent(), "direct");
  const run = await job(node, 20, "--room", "lend");
  const result = await run.line(() => true);
  assert.equal(await run.exited, 0, JSON.stringify(result));
  await tab.waitForFunction(() => Number(document.getElementById("done").textContent) >= 20);
  const peerId = await tab.evaluate(() => window.peercompute.peerId);
  assert.equal(result.by_node[peerId].tasks, 20);
  assert.deepEqual(tab.faults, []);
});

test("the share that a person has chosen holds, from the start and after a reload", async () => {
  const { tab } = await lent();
  await tab.getByText("waiting for work").waitFor();
  await tab.locator("#throttle").fill("35");
  assert.equal(await tab.locator("#share").textContent(), "35 %");
  assert.equal(await tab.evaluate(() => window.peercompute.status().throttle), 35);
  await tab.reload();
  await tab.getByText("waiting for work").waitFor();
  assert.equal(await tab.locator("#share").textContent(), "35 %");
  assert.equal(await tab.evaluate(() => window.peercompute.status().throttle), 35);
});

test("closing the tab costs nobody a result", async () => {
  const { node, url, tab } = await lent();
  const other = await scene.tab(undefined, { page: url });
  await tab.getByText("waiting for work").waitFor();
  await other.getByText("waiting for work").waitFor();
  // The page says twice a second what it does.
  const run = await job(node, 100, "--room", "lend");
  await tab.getByText("computing").waitFor();
  await tab.browser.close();
  const result = await run.line(() => true);
  assert.equal(await run.exited, 0, JSON.stringify(result));
  assert.equal(result.tasks, 100);
});

test("the page says why it cannot go on", async () => {
  const { node, tab } = await lent();
  await tab.getByText("waiting for work").waitFor();
  await node.kill();
  await tab.getByText("cannot be reached").waitFor();
  await tab.locator("#link", { hasText: "none" }).waitFor();
});

test("a reload does not fetch again what the browser has kept", async () => {
  const { tab } = await lent();
  const fetched = () => tab.evaluate(() => performance.getEntriesByType("resource").find(({ name }) => name.endsWith(".wasm")).transferSize);
  await tab.getByText("waiting for work").waitFor();
  assert.ok(await fetched() > 500_000);
  await tab.reload();
  await tab.getByText("waiting for work").waitFor();
  assert.ok(await fetched() < 10_000);
});

test("a node that does not say who it is, or not as it should, is said so in words, and nothing is begun", async () => {
  const { tab } = await lent();
  await tab.getByText("waiting for work").waitFor();
  const right = await tab.evaluate(async () => (await fetch("node.json")).json());
  const cases = [
    [{ status: 404, body: "" }, /does not say who it is \(node\.json: 404\)/],
    [{ status: 500, body: "{}" }, /does not say who it is \(node\.json: 500\)/],
    ...["", "nonsense", "<!doctype html>", "null", "5", "[]", "{}"].map((body) => [{ body }, /does not say who it is/]),
    ...[{ peerId: 5 }, { gameId: null }, { roomId: 5 }, { roomId: undefined }, { port: "4001" }, { port: undefined }].map((wrong) => [{ body: JSON.stringify({ ...right, ...wrong }) }, /does not say who it is/]),
    [{ body: JSON.stringify({ ...right, peerId: "nobody" }) }, /nobody.* is no multiaddress/],
    [{ body: JSON.stringify({ ...right, port: 70_000 }) }, /70000.* is no multiaddress/],
    [{ body: JSON.stringify({ ...right, gameId: "x".repeat(65) }) }, /game's name has 65 bytes; it may have 64 at most/],
    [null, /does not answer \(node\.json: .*\)\. Check that it runs, and reload the page/],
  ];
  let answer;
  await tab.context().route("**/node.json", (route) => (answer === null ? route.abort() : route.fulfill({ contentType: "application/json", ...answer })));
  for (const [now, expected] of cases) {
    answer = now;
    await tab.reload();
    const state = tab.locator("#state[data-fault]");
    await state.waitFor();
    assert.match(await state.textContent(), expected, JSON.stringify(now));
    assert.equal(await tab.evaluate(() => window.peercompute), undefined, JSON.stringify(now));
  }
});
