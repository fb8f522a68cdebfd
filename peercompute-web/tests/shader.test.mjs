import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { finished, Scene } from "./harness.mjs";

/** A GPU in software, which Chromium gives to those who ask for it. */
const GPU = ["--enable-unsafe-webgpu"];

/** Steps of a generator of numbers, on each number of the input. */
const MIX = `
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<uniform> settings: vec4<u32>;

@compute @workgroup_size(64)
fn mix(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= arrayLength(&output)) {
    return;
  }
  var value = input[id.x];
  for (var step = 0u; step < settings.x; step++) {
    value = (value ^ (value >> 7u)) * 2654435761u + settings.y;
  }
  output[id.x] = value;
}
`;

/** The sum of the input by one workgroup, whose invocations wait for each other. */
const SUM = `
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
var<workgroup> sums: array<u32, 64>;

fn own(lane: u32) -> u32 {
  var sum = 0u;
  for (var at = lane; at < arrayLength(&input); at += 64u) {
    sum += input[at];
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  sums[lane] = own(lane);
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    output[0] = sums[0];
  }
}
`;

const HANGS = `
@group(0) @binding(1) var<storage, read_write> output: array<atomic<u32>>;

@compute @workgroup_size(1)
fn main() {
  while (atomicLoad(&output[0]) < 2u) {
    atomicStore(&output[0], 1u);
  }
}
`;

const LONG = `
@group(0) @binding(1) var<storage, read_write> output: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main() {
  for (var step = 0u; step < 500000u; step++) {
    atomicAdd(&output[0], step);
  }
}
`;

/** What the first of these shaders makes of these bytes. */
function mixed(input, steps, add) {
  const words = new Uint32Array(input.buffer.slice(input.byteOffset, input.byteOffset + input.length));
  const output = words.map((word) => {
    let value = word;
    for (let step = 0; step < steps; step += 1) {
      value = (Math.imul((value ^ (value >>> 7)) >>> 0, 2654435761) + add) >>> 0;
    }
    return value;
  });
  return Buffer.from(output.buffer);
}

let scene;
beforeEach(() => {
  scene = new Scene();
});
afterEach(() => scene.end());

/** A tab with a node of these options, in a browser that was started with `args`, on a page from `host`. */
async function tabWith(args, options = {}, host = "localhost") {
  const address = await scene.serve();
  const tab = await scene.tab(address.replace("localhost", host), { args });
  await tab.evaluate((options) => window.begin({ roomId: "alone", ...options }), options);
  return tab;
}

/** What comes of a task, as its bytes, or `{ code, message }`. */
async function submit(tab, task, input = Buffer.alloc(0)) {
  const outcome = await tab.evaluate(
    async ([task, input]) => {
      try {
        const output = await window.node.submitTask({ ...task, input: Uint8Array.from(input, (byte) => byte.charCodeAt(0)) });
        return Array.from(output, (byte) => String.fromCharCode(byte)).join("");
      } catch ({ code, message }) {
        return { code, message };
      }
    },
    [task, input.toString("latin1")],
  );
  return typeof outcome === "string" ? Buffer.from(outcome, "latin1") : outcome;
}

/** The shader above on so many bytes, with 5 steps that add 9. */
const mix = (bytes) => ({ shader: MIX, entryPoint: "mix", workgroups: [Math.ceil(bytes / 256), 1, 1], outputBytes: bytes, uniforms: "\u0005\0\0\0\u0009\0\0\0" });

test("a page runs a shader of its own, and every workgroup of it", async () => {
  const tab = await tabWith(GPU);
  assert.match(await tab.evaluate(() => window.node.status().gpu), /swiftshader/i);
  for (const bytes of [4, 1 << 10, 1 << 20]) {
    const input = randomBytes(bytes);
    assert.deepEqual(await submit(tab, mix(bytes), input), mixed(input, 5, 9));
  }
  assert.deepEqual(tab.faults, []);
});

test("invocations of a shader wait for each other, and their rounds are counted", async () => {
  const tab = await tabWith(GPU);
  const numbers = Uint32Array.from({ length: 10_000 }, (_, index) => index);
  const sum = await submit(tab, { shader: SUM, outputBytes: 4 }, Buffer.from(numbers.buffer));
  assert.deepEqual(sum, Buffer.from(Uint32Array.of(49_995_000).buffer));
});

test("several shaders at once wait for each other", async () => {
  const tab = await tabWith(GPU);
  const inputs = Array.from({ length: 12 }, () => randomBytes(1 << 10));
  const outputs = await Promise.all(inputs.map((input) => submit(tab, mix(1 << 10), input)));
  assert.deepEqual(outputs, inputs.map((input) => mixed(input, 5, 9)));
});

test("a native node's shader runs in a tab", async () => {
  const room = "shaders";
  const node = await scene.node(room);
  await tabWith(GPU, { roomId: room, bootstrapPeers: [node.ws] });
  const [folder, out] = [await scene.folder(), await scene.folder()];
  const [shader, uniforms, file] = ["mix.wgsl", "uniforms", "input"].map((name) => join(folder, name));
  const input = randomBytes(8 << 10);
  await writeFile(shader, MIX);
  await writeFile(uniforms, Uint32Array.of(5, 9));
  await writeFile(file, input);
  const what = ["--wgsl", shader, "--entry", "mix", "--uniforms", uniforms, "--workgroups", "4", "--output-bytes", "1KiB", "--input", file, "--chunk", "1KiB", "--out", out];
  const run = await scene.run("run", ["run", "--json", ...what, "--no-local", "--topology", "emergent", "--game", "test", "--room", room, "--peer", node.tcp]);
  const { output } = await finished(Object.assign(run, { out }));
  assert.deepEqual(output, mixed(input, 5, 9));
});

test("a shader that hangs ends within its deadline, and the page and the next one go on", async () => {
  const tab = await tabWith(GPU);
  const { code, message } = await submit(tab, { shader: HANGS, outputBytes: 4 });
  assert.equal(code, "Deadline", message);
  assert.match(message, /1048576 rounds/);
  assert.deepEqual(await submit(tab, { operation: "crc32c" }, Buffer.from("123456789")), Buffer.from("839206e3", "hex"));
  const input = randomBytes(1 << 10);
  assert.deepEqual(await submit(tab, mix(1 << 10), input), mixed(input, 5, 9));
});

test("a shader that takes too long is ended with its worker at its deadline, and the next one runs", async () => {
  const tab = await tabWith(GPU);
  const { code, message } = await submit(tab, { shader: LONG, workgroups: [65_535, 1, 1], outputBytes: 4, deadlineMs: 3000 });
  assert.equal(code, "Deadline", message);
  assert.match(message, /longer than its limit of 3s/);
  const input = randomBytes(1 << 10);
  assert.deepEqual(await submit(tab, mix(1 << 10), input), mixed(input, 5, 9));
});

test("what is no shader fails with what is wrong and where, and the next one runs", async () => {
  const tab = await tabWith(GPU);
  const { code, message } = await submit(tab, { ...mix(4), shader: MIX.replace("settings.y", "settings.blue") });
  assert.equal(code, "Invalid");
  assert.match(message, /invalid field accessor `blue`/);
  const missing = await submit(tab, { ...mix(4), entryPoint: "main" });
  assert.equal(missing.code, "Invalid");
  assert.match(missing.message, /mix/);
  const input = randomBytes(4);
  assert.deepEqual(await submit(tab, mix(4), input), mixed(input, 5, 9));
});

test("what a page says wrongly of a shader is refused by name", async () => {
  const tab = await tabWith(GPU);
  const refused = async (task, expected) => {
    const { code, message } = await submit(tab, task);
    assert.equal(code, "INVALID_ARGUMENT", message);
    assert.match(message, expected);
  };
  await refused({ shader: MIX }, /outputBytes is 0/);
  await refused({ ...mix(4), outputBytes: 9 << 20 }, /outputBytes is 9437184.*8388608/);
  await refused({ ...mix(4), workgroups: [1, 0, 1] }, /workgroups has a 0/);
  await refused({ ...mix(4), workgroups: [1, 1] }, /workgroups is an array of 2; give an array of three whole numbers/);
  await refused({ ...mix(4), operation: "crc32c" }, /an operation, a module or a shader/);
});

for (const [name, args, options, host, reason] of [
  ["a tab without WebGPU", [], {}, "localhost", /WebGPU has no adapter/],
  ["a page that has switched it off", GPU, { gpu: false }, "localhost", /the page has switched it off/],
  ["a page from http elsewhere", [...GPU, "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"], {}, "elsewhere.test", /from https or localhost/],
]) {
  test(`${name} refuses shaders and says why, and all else runs`, async () => {
    const tab = await tabWith(args, options, host);
    const status = await tab.evaluate(() => window.node.status());
    assert.equal(status.gpu, null);
    assert.match(status.noGpu, reason);
    const told = await tab.evaluate(() => window.heard.find(({ type }) => type === "noGpu"));
    assert.match(told.reason, reason);
    const { code, message } = await submit(tab, mix(4), randomBytes(4));
    assert.equal(code, "JOB_ENDED");
    assert.match(message, /there is no GPU here/);
    assert.match(message, reason);
    assert.deepEqual(await submit(tab, { operation: "crc32c" }, Buffer.from("123456789")), Buffer.from("839206e3", "hex"));
    assert.deepEqual(tab.faults, []);
  });
}

test("a shader goes to the tab that has a GPU, and not to the one that has none", async () => {
  const room = "two";
  const node = await scene.node(room);
  const without = await tabWith([], { roomId: room, bootstrapPeers: [node.ws] });
  const withGpu = await tabWith(GPU, { roomId: room, bootstrapPeers: [node.ws] });
  const host = await withGpu.evaluate(() => window.node.peerId);
  await without.waitForFunction((host) => window.node.status().peers.some(({ peerId }) => peerId === host), host);
  const input = randomBytes(4);
  const [result] = await without.evaluate(
    async ([task, input]) => {
      const results = await window.node.submitTasks({ ...task, inputs: [Uint8Array.from(input)] });
      return results.map(({ output, host, message }) => ({ output: Array.from(output ?? []), host, message }));
    },
    [mix(4), Array.from(input)],
  );
  assert.deepEqual(Buffer.from(result.output), mixed(input, 5, 9), result.message);
  assert.equal(result.host, host);
});
