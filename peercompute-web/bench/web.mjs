// Measures the package in a browser against the release of the program, and prints one JSON object. `cargo xtask web-bench` starts it.
//
// PEERCOMPUTE_GUESTS names the folder with the modules of examples/guests; what else it needs is that of the tests.

import { writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { Scene, within } from "../tests/harness.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const LISTEN = "/ip4/127.0.0.1/tcp/0/ws";
const TASKS = { gameId: "peercompute-bench", roomId: "tasks" };
const EVENTS = { gameId: "peercompute-bench", roomId: "events" };

const OPENINGS = 7;
const NOOPS = 200_000;
const ROUND_TRIPS = 2_000;
const PINGS = 2_000;
/** Milliseconds from one event to the next. */
const INTERVAL = 5;
const GUEST_TASKS = 40;
const GUEST_ROUNDS = 3;
const FRAMES = 6_000;
const BUSY = 12;

/** Nothing here takes so long in milliseconds unless it hangs. */
const LIMIT = 180_000;

/** Runs `measure` in a scene of its own, which ends with it. */
async function scene(measure) {
  const scene = new Scene();
  try {
    return await within(measure(scene), `${measure.name} does not end`, LIMIT);
  } finally {
    await scene.end();
  }
}

const median = (numbers) => numbers.toSorted((one, other) => one - other)[numbers.length >> 1];

/** Isolated, so that its clock is fine. */
const serve = (scene) => scene.serve(HERE, { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" });

async function open(page, address) {
  await page.goto(`${address}/bench.html`);
  await page.waitForFunction(() => window.isReady === true);
  return page;
}

const tab = async (scene, address) => open(await scene.tab(address, { page: "about:blank" }), address);

async function submitter(scene, ...args) {
  const submitter = await scene.run("submitter", ["bench", "submitter", "--listen", LISTEN, ...args]);
  const listening = await submitter.line((line) => line.event === "listening");
  submitter.ws = listening.addresses[0];
  submitter.event = (event) => submitter.line((line) => line.event === event);
  return submitter;
}

/** From the opening of the page to the first result: of a task of the page's own by a native node, and of a native node's task by the page. */
async function openings(scene) {
  const address = await serve(scene);
  const native = await scene.node("bench");
  const first = await scene.tab(address, { page: "about:blank" });
  const fresh = async () => open(await (await first.browser.newContext()).newPage(), address);
  const [asking, serving, parts] = [[], [], []];
  for (let index = 0; index < OPENINGS; index += 1) {
    const page = await fresh();
    const times = await page.evaluate((options) => window.firstResult(options), { gameId: "test", roomId: "bench", bootstrapPeers: [native.ws] });
    if (times.host !== native.peerId) {
      throw new Error(`the first task ran on ${times.host}, not on the native node`);
    }
    asking.push(times.done);
    parts.push(times);
    await page.context().close();
  }
  for (let index = 0; index < OPENINGS; index += 1) {
    const native = await submitter(scene);
    const page = await fresh();
    await page.evaluate((options) => window.lend(options), { ...TASKS, bootstrapPeers: [native.ws] });
    const { unix_ms: result } = await native.event("first");
    serving.push(result - (await page.evaluate(() => performance.timeOrigin)));
    await page.context().close();
    await native.exited;
  }
  const summary = (times) => ({ median: median(times), max: Math.max(...times) });
  const part = (name) => median(parts.map((times) => times[name]));
  return { asksMs: summary(asking), servesMs: summary(serving), startedMs: part("started"), times: OPENINGS };
}

/** Tasks that do nothing, from a native node to one tab. */
async function noops(scene) {
  const native = await submitter(scene, "--tasks", NOOPS, "--round-trips", ROUND_TRIPS);
  const page = await tab(scene, await serve(scene));
  await page.evaluate((options) => window.lend(options), { ...TASKS, bootstrapPeers: [native.ws] });
  const rate = await native.event("rate");
  const { round_trip_us: trip } = await native.event("round_trip");
  return { tasks: NOOPS, perSecond: rate.tasks_per_s, roundTripMs: { p50: trip.p50 / 1e3, p99: trip.p99 / 1e3 } };
}

/** Reliable events between a tab and a native node. */
async function events(scene) {
  const native = await scene.run("listener", ["bench", "listener", "--listen", LISTEN]);
  const { addresses } = await native.line((line) => line.event === "listening");
  const page = await tab(scene, await serve(scene));
  const options = { ...EVENTS, serves: false, bootstrapPeers: addresses };
  const measured = await page.evaluate(([options, count, interval]) => window.events(options, count, interval), [options, PINGS, INTERVAL]);
  return { oneWayMs: measured.roundTripMs.p50 / 2, ...measured, isIsolated: await page.evaluate(() => window.crossOriginIsolated) };
}

/** Bodies and steps as the guest n-body takes them. */
function bodies(count, steps) {
  const input = Buffer.alloc(12 + count * 56);
  input.writeUInt32LE(steps, 0);
  input.writeDoubleLE(0.001, 4);
  for (let n = 0; n < count; n += 1) {
    [n, n * n, -n, 0.1 * n, 0, 0.3, 1 + n].forEach((number, place) => input.writeDoubleLE(number, 12 + n * 56 + place * 8));
  }
  return input;
}

const guestFile = (name) => join(process.env.PEERCOMPUTE_GUESTS, `${name}.wasm`);

/** The same modules on the same inputs, by the tab's worker and by a native node. */
async function guests(scene) {
  const folder = await scene.folder();
  const address = await serve(scene);
  const page = await tab(scene, address);
  const inputs = { "n-body": bodies(100, 400), crc32c: Buffer.from(Array.from({ length: 4 << 20 }, (_, index) => (index * 31) >> 3)) };
  const measured = {};
  for (const [name, input] of Object.entries(inputs)) {
    const file = join(folder, name);
    await writeFile(file, input);
    const args = ["--wasm", guestFile(name), "--input", file, "--repeat", GUEST_TASKS];
    const rounds = { tab: [], native: [] };
    // One after the other, and each several times: the machine is not always the same.
    for (let round = 0; round < GUEST_ROUNDS; round += 1) {
      const toTab = await submitter(scene, ...args);
      await page.evaluate((options) => window.lend(options), { ...TASKS, bootstrapPeers: [toTab.ws] });
      rounds.tab.push(await toTab.event("module"));
      await page.evaluate(() => window.node.stop());
      await toTab.end();
      const toNative = await submitter(scene, ...args);
      const meet = ["--game", TASKS.gameId, "--room", TASKS.roomId, "--peer", toNative.ws, "--listen", "none"];
      const worker = await scene.run("worker", ["node", "--json", ...meet]);
      rounds.native.push(await toNative.event("module"));
      await toNative.end();
      await worker.end();
    }
    const best = (lines, what) => median(lines.map((line) => line[what].p50 / 1e3));
    const [run, tripped] = [(side) => best(rounds[side], "run_us"), (side) => best(rounds[side], "round_trip_us")];
    measured[name] = {
      inputBytes: input.length,
      runMs: { tab: run("tab"), native: run("native") },
      roundTripMs: { tab: tripped("tab"), native: tripped("native") },
      ratio: run("tab") / run("native"),
      roundTripRatio: tripped("tab") / tripped("native"),
    };
  }
  return measured;
}

/** What is left of the page's frames while it computes at 80 percent. */
async function frames(scene) {
  const folder = await scene.folder();
  const file = join(folder, "bodies");
  await writeFile(file, bodies(100, 200));
  const native = await submitter(scene, "--wasm", guestFile("n-body"), "--input", file, "--repeat", 8, "--busy", `${BUSY}s`);
  const page = await tab(scene, await serve(scene));
  const idle = await page.evaluate((time) => window.frames(time), FRAMES / 2);
  await page.evaluate((options) => window.lend(options), { ...TASKS, throttle: 80, bootstrapPeers: [native.ws] });
  await native.event("module");
  const workers = await page.evaluate(() => window.node.status().workers);
  const busy = await page.evaluate((time) => window.frames(time), FRAMES);
  const { tasks, seconds, run_s: run } = await native.event("busy");
  return { throttle: 80, workers, cores: cpus().length, idle, busy, tasksPerSecond: tasks / seconds, busyShare: run / seconds / cpus().length };
}

const only = process.argv.slice(2);
const parts = { openings, noops, events, guests, frames };
const report = {};
for (const [name, measure] of Object.entries(parts)) {
  if (only.length === 0 || only.includes(name)) {
    const load = loadavg()[0];
    report[name] = await scene(measure);
    console.error(`    ${name} (load ${load.toFixed(1)} before)`);
  }
}
console.log(JSON.stringify(report));
