import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import * as guests from "./guests.mjs";
import { Scene } from "./harness.mjs";

let scene;
let tab;
beforeEach(async () => {
  scene = new Scene();
  tab = await scene.tab(await scene.serve());
  await tab.evaluate(() => window.begin({ roomId: "alone" }));
});
afterEach(async () => {
  const faults = tab.faults;
  await scene.end();
  assert.deepEqual(faults, []);
});

/** What comes of a task, as `{ text }` or `{ code, message }`. */
function submit(module, task = {}) {
  return tab.evaluate(
    async ([module, task]) => {
      try {
        const bytes = Uint8Array.from(atob(module), (digit) => digit.charCodeAt(0));
        const output = await window.node.submitTask({ module: bytes, input: "what it gets", ...task });
        return { text: new TextDecoder().decode(output) };
      } catch (error) {
        return { code: error.code, message: error.message };
      }
    },
    [text(module), task],
  );
}

/** Bytes as a page takes them at once, however many there are. */
const text = (bytes) => Buffer.from(bytes).toString("base64");

test("a module runs in a worker", async () => {
  assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
});

test("a guest that hangs is ended at its deadline, and the page goes on meanwhile", async () => {
  await tab.evaluate(() => {
    window.frames = 0;
    const count = () => {
      window.frames += 1;
      requestAnimationFrame(count);
    };
    count();
  });
  const { code, message } = await submit(guests.hangs, { deadlineMs: 1000 });
  assert.equal(code, "Deadline", message);
  assert.ok((await tab.evaluate(() => window.frames)) > 10);
  assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
});

test("a memory bomb gets no more than its job grants", async () => {
  const { code, message } = await submit(guests.bomb, { memoryBytes: 4 << 20 });
  assert.equal(code, "Memory", message);
  assert.match(message, /4194304 bytes/);
});

test("a guest that wants something of the host is refused", async () => {
  const { code, message } = await submit(guests.wants);
  assert.equal(code, "JOB_ENDED", message);
  assert.match(message, /imports "env" "clock"/);
});

test("a guest that breaks off, gives up or lies about its answer fails its task alone", async () => {
  assert.equal((await submit(guests.traps)).code, "Trap");
  const { code, message } = await submit(guests.givesUp);
  assert.equal(code, "GaveUp");
  assert.match(message, /what it gets/);
  assert.match((await submit(guests.outside)).message, /not inside its memory/);
  assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
});

test("a large input comes to the same as a small one, and so does the lack of room for it", async () => {
  // The first task of a worker is its start.
  assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
  const sizes = [1 << 10, 1 << 20, 300 << 10, 1, 1 << 20];
  const outputs = await tab.evaluate(
    async ([module, sizes]) => {
      const inputs = sizes.map((size, index) => Uint8Array.from({ length: size }, (_, at) => at * 7 + index));
      const outputs = await Promise.all(inputs.map((input) => window.node.submitTask({ module: Uint8Array.from(module), input })));
      return outputs.map((output, index) => output.length === sizes[index] && output.every((byte, at) => byte === inputs[index][at]));
    },
    [Array.from(guests.roomy), sizes],
  );
  assert.deepEqual(outputs, sizes.map(() => true));
  const refused = async (module, size, limits = {}) => {
    const { code, message } = await tab.evaluate(
      ([module, size, limits]) => window.node.submitTask({ module: Uint8Array.from(module), input: new Uint8Array(size), ...limits }).then(() => ({}), ({ code, message }) => ({ code, message })),
      [Array.from(module), size, limits],
    );
    return { code, message };
  };
  for (const size of [100 << 10, 1 << 20]) {
    const { code, message } = await refused(guests.echo, size);
    assert.equal(code, "Trap", message);
    assert.match(message, /not inside its memory of 65536 bytes/);
    assert.equal((await refused(guests.roomless, size)).code, "Trap");
    assert.equal((await refused(guests.seeks, size, { deadlineMs: 500 })).code, "Deadline");
    assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
  }
});

test("a long module is looked at apart from the page, and refused with the same words", async () => {
  const { frames, text: output } = await tab.evaluate(async (module) => {
    let frames = 0;
    let isOver = false;
    const count = () => {
      frames += 1;
      if (!isOver) {
        setTimeout(count);
      }
    };
    setTimeout(count);
    const bytes = Uint8Array.from(atob(module), (digit) => digit.charCodeAt(0));
    const output = await window.node.submitTask({ module: bytes, input: "what it gets" });
    isOver = true;
    return { frames, text: new TextDecoder().decode(output) };
  }, text(guests.long()));
  assert.equal(output, "what it gets");
  // As much as it computes, a page that looks at it itself comes to nothing else meanwhile.
  assert.ok(frames > 30, `${frames}`);
  const { code, message } = await submit(guests.long(["clock"]));
  assert.equal(code, "JOB_ENDED", message);
  assert.match(message, /imports "env" "clock"/);
  assert.match((await submit(guests.long([], [0x1a]))).message, /no WebAssembly module that can run here/);
  assert.deepEqual(await submit(guests.echo), { text: "what it gets" });
});

test("a long module at which no worker could look is looked at when it is asked for again", async () => {
  const broken = (route) => route.fulfill({ contentType: "text/javascript", body: "throw new Error('cut short')" });
  await tab.context().route("**/worker.js", broken);
  const { code, message } = await submit(guests.long());
  assert.equal(code, "JOB_ENDED", message);
  assert.match(message, /no worker of this page could look at it: .*cut short/);
  await tab.context().unroute("**/worker.js", broken);
  assert.deepEqual(await submit(guests.long()), { text: "what it gets" });
});
