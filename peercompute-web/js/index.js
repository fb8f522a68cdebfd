// PeerCompute in a page: the node of the Rust crates, with the page's own around it.

import init, { Node, resolveRelay as resolve } from "./peercompute_web.js";
import { findGpu } from "./gpu.js";
import { Isolate } from "./isolate.js";
import { LocalTasks } from "./local.js";
import { claimName, keepIdentity, loadIdentity } from "./identity.js";
import { Rooms } from "./rooms.js";

const WASM = new URL("./peercompute_web_bg.wasm", import.meta.url);

/** Below this part of its charge a device without a plug counts as low. */
const LOW_BATTERY = 0.2;

/** A device's name is told to others; both are in bytes of UTF-8. */
const MAX_NAME = 256;
const MAX_IDENTITY_NAME = 256;

/** STUN and TURN servers, at most: each is asked for each path. */
const MAX_SERVERS = 16;

/** The compiled module, fetched once for the page; its workers share it. */
let nodeModule = null;

async function load() {
  nodeModule ??= compile().catch((error) => {
    nodeModule = null;
    throw error;
  });
  const module = await nodeModule;
  await init({ module_or_path: module });
  return module;
}

async function compile() {
  const response = await fetch(WASM);
  if (!response.ok) {
    throw failure("NOT_LOADED", `${WASM} cannot be fetched: ${response.status} ${response.statusText}`);
  }
  try {
    return await WebAssembly.compileStreaming(response.clone());
  } catch {
    // Servers that do not say application/wasm.
    return WebAssembly.compile(await response.arrayBuffer());
  }
}

/**
 * The relay that a page uses: what `?relay=` of its address says, else the file `relay-config-source.json` beside it, else `fallback`.
 * Each is a relay's configuration in JSON, as a relay serves it at `/relay-config.json`, or full multiaddresses with commas between.
 */
export async function resolveRelay({ parameter = "relay", source = "relay-config-source.json", fallback = undefined } = {}) {
  await load();
  const query = new URL(location.href).searchParams.get(parameter) ?? undefined;
  const text = typeof fallback === "object" ? JSON.stringify(fallback) : fallback;
  return resolve(query, query === undefined ? await fetchText(source) : undefined, text);
}

/** The text of a file beside the page; nothing if there is none. */
async function fetchText(path) {
  try {
    const response = await fetch(new URL(path, location.href), { cache: "no-cache" });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

function failure(code, message) {
  const error = new Error(message);
  error.name = error.code = code;
  return error;
}

/** Looks at what the page gives before anything else sees it. */
function check(holds, message) {
  if (!holds) {
    throw failure("INVALID_ARGUMENT", message);
  }
}

function checkText(value, name) {
  check(typeof value === "string", `${name} is ${typeName(value)}; give a string`);
}

function checkObject(value, name) {
  check(typeof value === "object" && value !== null && !Array.isArray(value), `${name} is ${typeName(value)}; give an object`);
}

/** What a value is, without showing it. */
function typeName(value) {
  if (Array.isArray(value)) {
    return "an array";
  }
  return value === null ? "null" : `of the type ${typeof value}`;
}

/** Looks at those options of a node that only the page sees, or that would be found wrong too late. */
function checkOptions(options) {
  checkObject(options, "options");
  if (options.scheduler !== undefined) {
    checkObject(options.scheduler, "scheduler");
  }
  for (const name of ["keepIdentity", "keepOutbox", "pauseWhenHidden", "pauseOnLowBattery", "gpu"]) {
    check([undefined, null, true, false].includes(options[name]), `${name} is ${typeName(options[name])}; give true or false`);
  }
  for (const [name, most] of Object.entries({ name: MAX_NAME, identityName: MAX_IDENTITY_NAME })) {
    const value = options[name] ?? "";
    checkText(value, name);
    const bytes = new TextEncoder().encode(value).length;
    check(bytes <= most, `${name} has ${bytes} bytes; give ${most} at most`);
  }
  checkServers(options.iceServers ?? []);
}

/** A server that the browser does not take would fail each attempt to find a direct path. */
function checkServers(servers) {
  if (!Array.isArray(servers) || globalThis.RTCPeerConnection === undefined) {
    return;
  }
  check(servers.length <= MAX_SERVERS, `iceServers are ${servers.length}; give ${MAX_SERVERS} at most`);
  for (const urls of servers) {
    checkText(urls, "iceServers: one");
    try {
      new RTCPeerConnection({ iceServers: [{ urls }] }).close();
    } catch (error) {
      check(false, `iceServers: the browser does not take ${JSON.stringify(urls)}: ${error.message}; give such as "stun:stun.example.org"`);
    }
  }
}

function toBytes(data) {
  if (data instanceof Uint8Array) {
    return data;
  }
  if (data instanceof ArrayBuffer) {
    return new Uint8Array(data);
  }
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  if (typeof data === "string") {
    return new TextEncoder().encode(data);
  }
  if (data === undefined || data === null) {
    return new Uint8Array();
  }
  throw failure("INVALID_ARGUMENT", "data is neither bytes nor a string");
}

export class NodeKernel {
  #node;
  #identityIsKept;
  #rooms;
  /** `{ name }` of the browser's GPU, or the `reason` why shaders do not run here. */
  #gpu;
  #release;
  #isStarted = false;
  #isStopped = false;
  /** A state provider is being asked: it answers, and changes nothing meanwhile. */
  #isAsking = false;
  #handlers = { snapshot: new Set(), event: new Set(), command: new Set(), status: new Set() };
  /** What is run for this page alone. */
  #local;
  /** Why it is paused. */
  #pauses = new Set();
  /** What is undone when it stops. */
  #undo = [];
  /** Reliable events of which it is not known yet what became of them, by their number. */
  #settling = new Map();

  constructor(node, identityIsKept, release, local, rooms, gpu) {
    this.#node = node;
    this.#gpu = gpu;
    this.#rooms = rooms;
    this.#local = local;
    this.#identityIsKept = identityIsKept;
    this.#release = release;
  }

  /** A node that does nothing until it is started. */
  static async create(options = {}) {
    checkOptions(options);
    const [module, gpu] = await Promise.all([load(), options.gpu === false ? { reason: "the page has switched it off" } : findGpu()]);
    const keeps = options.identity === undefined && options.keepIdentity !== false;
    const { name, release } = keeps ? await claimName(options.identityName ?? "device") : { name: null, release: () => {} };
    const kept = keeps ? await loadIdentity(name) : null;
    const identity = options.identity ?? (kept !== null && Node.isIdentity(kept) ? kept : undefined);
    try {
      const cores = navigator.hardwareConcurrency || 1;
      const rooms = options.keepOutbox === false ? undefined : new Rooms();
      const node = new Node({ cores, ...options, identity, rooms, gpu, openIsolate: () => new Isolate(module) });
      const isKept = keeps && (await keepIdentity(name, node.identity()));
      if (rooms !== undefined && (isKept || options.identity !== undefined)) {
        rooms.owner = node.peerId;
      }
      const kernel = new NodeKernel(node, isKept, release, new LocalTasks(module, cores), rooms, gpu);
      kernel.#watch(options);
      return kernel;
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Who this node is. */
  get peerId() {
    return this.#node.peerId;
  }

  /** Whether it will be the same after a reload. */
  get identityIsKept() {
    return this.#identityIsKept;
  }

  /** Whether reliable events that wait, and which ones were delivered here, will be known after a reload. */
  get outboxIsKept() {
    return this.#isStarted && this.#node.outboxIsKept;
  }

  /** Waits until every event that was queued before would outlast a reload now, or none can. */
  kept() {
    return this.#node.kept();
  }

  /** Meets the others of the room, and serves and submits from now on. */
  async start() {
    check(!this.#isStopped, "the node was stopped; create another one");
    await this.#node.start();
    this.#isStarted = true;
    if (this.#gpu.reason !== undefined) {
      this.#tell("status", { type: "noGpu", reason: this.#gpu.reason });
    }
    this.#follow(() => this.#node.nextLiveEvent(), (event) => this.#live(event));
    this.#follow(() => this.#node.nextNetworkEvent(), (event) => this.#tell("status", event));
  }

  /** Waits until every relay and peer that it was given has answered or failed. */
  ready() {
    return this.#node.ready();
  }

  /** Ends everything in good order: tasks of others go back to them, the others are told goodbye. */
  async stop() {
    if (!this.#isStopped) {
      this.#isStopped = true;
      for (const undo of this.#undo) {
        undo();
      }
      this.#local.end();
      await this.#node.stop();
      for (const { waiting, outcomes, resolve } of this.#settling.values()) {
        resolve({ ...Object.fromEntries([...waiting].map((peer) => [peer, "unknown"])), ...outcomes });
      }
      this.#settling.clear();
      this.#rooms?.close();
      this.#release();
    }
  }

  /** What it is doing now. */
  status() {
    const { name: gpu = null, reason: noGpu } = this.#gpu;
    return { ...this.#node.status(), gpu, noGpu, identityIsKept: this.#identityIsKept, outboxIsKept: this.outboxIsKept };
  }

  /** How a peer is reached, and was before; undefined if nothing is known of it. */
  session(peerId) {
    checkText(peerId, "peerId");
    return this.#node.session(peerId);
  }

  /** Changes rates and policies of the live room from now on. */
  configureScheduler(scheduler) {
    checkObject(scheduler, "scheduler");
    this.#checkIdle();
    this.#node.configureScheduler(scheduler);
  }

  /** Shows a state to the others: `state` is asked for bytes, or for nothing if it is as it was. Gives a function that ends it. */
  registerStateProvider(name, state) {
    checkText(name, "name");
    check(typeof state === "function", `state is ${typeName(state)}; give a function`);
    this.#checkIdle();
    this.#node.registerStateProvider(name, (moment) => {
      this.#isAsking = true;
      try {
        const given = state(moment);
        return given === undefined || given === null ? null : toBytes(given);
      } catch (error) {
        reportError(error);
        return null;
      } finally {
        this.#isAsking = false;
      }
    });
    return () => {
      this.#checkIdle();
      return this.#node.removeProvider(name);
    };
  }

  /** Hears of the states of others. Gives a function that ends it. */
  addSnapshotHandler(handler) {
    return this.#add("snapshot", handler);
  }

  /** Hears of events. Gives a function that ends it. */
  addEventHandler(handler) {
    return this.#add("event", handler);
  }

  /** Hears of commands. Gives a function that ends it. */
  addCommandHandler(handler) {
    return this.#add("command", handler);
  }

  /** Hears who comes and goes, of paths, relays and failures. Gives a function that ends it. */
  addStatusHandler(handler) {
    return this.#add("status", handler);
  }

  /**
   * Queues an event. With `{ reliable: true }` or `{ ordered: true }`, `settled` of what this gives is kept, when it is known,
   * with what became of it at each peer: `acked`, `unknown` or `notSent`.
   */
  queueEvent(eventType, payload, options = {}) {
    checkText(eventType, "eventType");
    checkObject(options, "options");
    this.#checkIdle();
    if (!this.#isStarted || this.#isStopped) {
      throw failure("NOT_RUNNING", "the node does not run; start it first");
    }
    const peers = options.to === undefined ? this.#node.reliablyReached() : [options.to];
    const id = this.#node.queueEvent(eventType, toBytes(payload), options);
    const isReliable = options.reliable === true || options.ordered === true;
    if (!isReliable) {
      return { id, settled: Promise.resolve({}) };
    }
    const settled = new Promise((resolve) => {
      const waiting = new Set(peers);
      if (waiting.size === 0) {
        resolve({});
      } else {
        this.#settling.set(id, { waiting, outcomes: {}, resolve });
      }
    });
    return { id, settled };
  }

  /** Runs one task wherever there is room, and gives its output. */
  async submitTask(task) {
    checkObject(task, "task");
    if (task.fn !== undefined || task.exportName !== undefined) {
      return this.#local.run(task);
    }
    const [result] = await this.submitTasks({ ...task, inputs: [task.input ?? task.data] });
    if (result.output === undefined) {
      throw failure(result.reason ?? "FAILED", result.message ?? "the task failed");
    }
    return result.output;
  }

  /** Runs a task for each of `task.inputs`. Gives what came of each, in their order; `onResult` hears of each as it comes. */
  async submitTasks(task, onResult = undefined) {
    checkObject(task, "task");
    const { inputs, ...program } = task;
    check(typeof inputs !== "string" && typeof inputs?.[Symbol.iterator] === "function", `inputs is ${typeName(inputs)}; give an array, or what else can be iterated over, of bytes or strings`);
    if (!this.#isStarted || this.#isStopped) {
      throw failure("NOT_RUNNING", "the node does not run; start it first");
    }
    for (const name of ["module", "uniforms"]) {
      if (program[name] !== undefined) {
        program[name] = toBytes(program[name]);
      }
    }
    const results = [];
    await this.#node.runJob(program, Array.from(inputs, toBytes), (result) => {
      results.push(result);
      try {
        onResult?.(result);
      } catch (error) {
        reportError(error);
      }
    });
    return results.sort((one, other) => one.index - other.index);
  }

  /** Starts no more tasks until `resume`; what runs goes on to its end. */
  pause() {
    this.#pause("asked", true);
  }

  resume() {
    this.#pause("asked", false);
  }

  /** Changes the share of the machine that it lends, in percent. */
  setThrottle(percent) {
    check(typeof percent === "number" && percent >= 0 && percent <= 100, `throttle is ${typeof percent === "number" ? percent : typeName(percent)}; give a number from 0 to 100`);
    this.#node.setThrottle(percent);
  }

  /** It is paused as long as there is a reason for it. */
  #pause(reason, holds) {
    if (holds) {
      this.#pauses.add(reason);
    } else {
      this.#pauses.delete(reason);
    }
    if (this.#pauses.size > 0) {
      this.#node.pause();
    } else {
      this.#node.resume();
    }
  }

  /** Pauses by itself, as far as the page has asked for it. */
  #watch({ pauseWhenHidden = false, pauseOnLowBattery = false }) {
    if (pauseWhenHidden) {
      const look = () => this.#pause("hidden", document.visibilityState === "hidden");
      this.#on(document, "visibilitychange", look);
      look();
    }
    if (pauseOnLowBattery && navigator.getBattery !== undefined) {
      navigator.getBattery().then((battery) => {
        const look = () => this.#pause("battery", !battery.charging && battery.level < LOW_BATTERY);
        this.#on(battery, "levelchange", look);
        this.#on(battery, "chargingchange", look);
        look();
      }, reportError);
    }
  }

  #on(target, event, handler) {
    target.addEventListener(event, handler);
    this.#undo.push(() => target.removeEventListener(event, handler));
  }

  #checkIdle() {
    if (this.#isAsking) {
      throw failure("IN_PROVIDER", "a state provider gives its state and does nothing else; do this after it has returned");
    }
  }

  #add(kind, handler) {
    check(typeof handler === "function", `handler is ${typeName(handler)}; give a function`);
    this.#handlers[kind].add(handler);
    return () => this.#handlers[kind].delete(handler);
  }

  #live(event) {
    switch (event.type) {
      case "settled":
        return this.#settle(event);
      case "snapshot":
      case "event":
      case "command":
        return this.#tell(event.type, event);
      default:
        return this.#tell("status", event);
    }
  }

  #settle({ event, peer, outcome }) {
    const settling = this.#settling.get(event);
    if (settling === undefined) {
      // Of an earlier life of the page, or of a type that the profile has reliable.
      this.#tell("status", { type: "settled", event, peer, outcome });
      return;
    }
    settling.outcomes[peer] = outcome;
    settling.waiting.delete(peer);
    if (settling.waiting.size === 0) {
      this.#settling.delete(event);
      settling.resolve(settling.outcomes);
    }
  }

  #tell(kind, event) {
    for (const handler of this.#handlers[kind]) {
      try {
        handler(event);
      } catch (error) {
        // One handler's fault is not the others'.
        reportError(error);
      }
    }
  }

  async #follow(next, take) {
    for (;;) {
      const event = await next();
      if (event === undefined) {
        return;
      }
      take(event);
    }
  }
}
