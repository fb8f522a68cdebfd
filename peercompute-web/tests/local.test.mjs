import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { hangs } from "./guests.mjs";
import { Scene } from "./harness.mjs";

const scene = new Scene();
let tab;
before(async () => {
  tab = await scene.tab(await scene.serve());
  await tab.evaluate(() => window.begin({ roomId: "alone" }));
});
after(() => scene.end());

test("a function of the page runs in a worker, on data of any kind", async () => {
  const sum = await tab.evaluate(() =>
    window.node.submitTask({
      data: { numbers: [1, 2, 3], by: 7n },
      fn: ({ numbers, by }) => ({ sum: numbers.reduce((sum, number) => sum + number), by, hasPage: typeof document !== "undefined" }),
    }),
  );
  assert.deepEqual(sum, { sum: 6, by: 7n, hasPage: false });
});

test("an export of a module runs in a worker", async () => {
  // (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  const module = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3, 0x61, 0x64, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b];
  const call = (exportName) =>
    tab.evaluate(
      ([module, exportName]) => window.node.submitTask({ module: Uint8Array.from(module), exportName, data: [40, 2] }).catch(({ code, message }) => ({ code, message })),
      [module, exportName],
    );
  assert.equal(await call("add"), 42);
  assert.deepEqual(await call("subtract"), { code: "Trap", message: 'the module exports no function "subtract"' });
});

test("what throws or does not end fails alone, and what waits is done then", async () => {
  const outcomes = await tab.evaluate(async (hangs) => {
    const tasks = [
      { fn: () => { throw new Error("no"); }, data: null },
      ...Array.from({ length: 8 }, () => ({ fn: () => { for (;;); }, data: null, deadlineMs: 200 })),
      { module: Uint8Array.from(hangs), exportName: "run", data: [0, 0], deadlineMs: 200 },
      { fn: async (data) => data + 1, data: 1 },
    ];
    const settled = await Promise.allSettled(tasks.map((task) => window.node.submitTask(task)));
    return settled.map(({ value, reason }) => value ?? reason.code);
  }, Array.from(hangs));
  assert.deepEqual(outcomes, ["Trap", ...Array(9).fill("Deadline"), 2]);
});

test("a page that asks for it is paused while it is hidden or the battery is low", async () => {
  const other = await scene.tab(await scene.serve());
  await other.context().addInitScript(() => {
    const battery = Object.assign(new EventTarget(), { charging: true, level: 1 });
    navigator.getBattery = async () => battery;
    window.setBattery = (charging, level) => {
      Object.assign(battery, { charging, level });
      battery.dispatchEvent(new Event("levelchange"));
    };
    let state = "visible";
    Object.defineProperty(document, "visibilityState", { get: () => state });
    window.setVisibility = (next) => {
      state = next;
      document.dispatchEvent(new Event("visibilitychange"));
    };
  });
  await other.reload();
  await other.waitForFunction(() => window.isReady === true);
  await other.evaluate(() => window.begin({ roomId: "idle", pauseWhenHidden: true, pauseOnLowBattery: true }));
  const paused = async (change) => {
    await other.evaluate(change);
    return other.evaluate(() => window.node.status().paused);
  };
  assert.equal(await paused(() => {}), false);
  assert.equal(await paused(() => window.setVisibility("hidden")), true);
  assert.equal(await paused(() => window.setBattery(false, 0.1)), true);
  assert.equal(await paused(() => window.setVisibility("visible")), true);
  assert.equal(await paused(() => window.setBattery(true, 0.1)), false);
  assert.equal(await paused(() => window.node.pause()), true);
  assert.equal(await paused(() => window.setBattery(true, 1)), true);
  assert.equal(await paused(() => window.node.resume()), false);
});
