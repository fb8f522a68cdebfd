import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Scene } from "./harness.mjs";

const scene = new Scene();
let native;
let tab;
before(async () => {
  native = await scene.node("misuse");
  tab = await scene.tab(await scene.serve());
  await tab.evaluate((peer) => window.begin({ roomId: "misuse", bootstrapPeers: [peer] }), native.ws);
});
after(() => scene.end());

/** The codes of what these calls throw; `null` for one that does not. */
const codes = (calls) =>
  tab.evaluate(async (calls) => {
    const codes = [];
    for (const call of calls) {
      try {
        await new Function("node", "NodeKernel", `return ${call}`)(window.node, window.NodeKernel);
        codes.push(null);
      } catch (error) {
        codes.push(error.code ?? String(error));
      }
    }
    return codes;
  }, calls);

test("what is not as it should be is refused by name, however often, and the node goes on", async () => {
  const calls = [
    ...["undefined", "null", "5", "true", "{}", "['a']", "new Uint8Array(300)"].map((wrong) => `node.queueEvent(${wrong}, "x")`),
    ...["node.queueEvent('e', 5)", "node.queueEvent('e', 'x', null)", "node.queueEvent('e', 'x', { to: 5 })", "node.queueEvent('e', 'x', { to: 'nobody' })"],
    ...["node.registerStateProvider(5, () => {})", "node.registerStateProvider('x')", "node.addEventHandler(undefined)"],
    ...["node.configureScheduler(5)", "node.configureScheduler({ profile: 'fast' })", "node.configureScheduler({ snapshotHz: 1000 })"],
    ...["node.setThrottle('50')", "node.setThrottle(null)", "node.setThrottle(101)", "node.setThrottle(NaN)"],
    ...["node.submitTask()", "node.submitTask({})", "node.submitTask({ operation: 'sing' })", "node.submitTask({ operation: 'noop', deadlineMs: 0 })"],
    ...["node.submitTasks({ operation: 'noop', inputs: 5 })", "node.submitTasks({ operation: 'noop', inputs: 'abc' })"],
    ...["NodeKernel.create('x')", "NodeKernel.create(null)", "NodeKernel.create({ gameId: 5 })", "NodeKernel.create({ relays: ['nonsense'] })", "NodeKernel.create({ roomId: 'r', password: 'p' })"],
  ];
  for (let round = 0; round < 4; round += 1) {
    assert.deepEqual(await codes(calls), calls.map(() => "INVALID_ARGUMENT"));
  }
  await tab.waitForFunction(() => window.node.status().peers.length === 1);
});

test("a provider that calls its own node is told that it cannot", async () => {
  const other = await scene.tab(await scene.serve());
  const relay = await scene.relay();
  const begin = (tab) => tab.evaluate((relay) => window.begin({ roomId: "provider", relays: [relay] }), relay.ws);
  const one = await scene.tab(await scene.serve());
  await begin(one);
  await begin(other);
  const code = await one.evaluate(
    () =>
      new Promise((resolve) => {
        window.node.registerStateProvider("own", () => {
          try {
            window.node.queueEvent("in", "p");
          } catch (error) {
            resolve(error.code);
          }
          return "a state all the same";
        });
      }),
  );
  assert.equal(code, "IN_PROVIDER");
  await other.waitForFunction(() => window.heard.some(({ type }) => type === "snapshot"));
});

test("before the start and after the stop nothing is sent", async () => {
  const outcome = await tab.evaluate(async () => {
    const codes = [];
    const node = await window.NodeKernel.create({ roomId: "early" });
    const queue = () => node.queueEvent("e", "x");
    for (const call of [queue, () => node.submitTask({ operation: "noop" }), () => node.start(), queue, () => node.stop(), queue, () => node.stop(), () => node.start()]) {
      try {
        await call();
        codes.push(null);
      } catch (error) {
        codes.push(error.code);
      }
    }
    return codes;
  });
  assert.deepEqual(outcome, ["NOT_RUNNING", "NOT_RUNNING", null, null, null, "NOT_RUNNING", null, "INVALID_ARGUMENT"]);
});
