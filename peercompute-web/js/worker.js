// Runs tasks, one after the other. The page ends this worker when a task is late or no longer wanted.

import { checkModule, initSync, runBuiltin } from "./peercompute_web.js";
import { openGpu, runShader } from "./gpu.js";

const ABI_VERSION = 1;
const PAGE = 65_536;
/** What a program says when it gives up is cut after so many bytes. */
const MAX_MESSAGE = 512;
const GAVE_UP = 0x8000_0000;

let nodeModule = null;
let isReady = false;

self.onmessage = ({ data }) => {
  if (nodeModule === null) {
    nodeModule = data;
    self.postMessage("ready");
    return;
  }
  if (data.fn !== undefined || data.exportName !== undefined) {
    own(data);
    return;
  }
  if (data.openGpu || data.shader !== undefined) {
    (data.openGpu ? openGpu() : runShader(data)).then(tell);
    return;
  }
  tell({ ...(data.module === undefined ? inNode(data) : guest(data)), spare: data.input.buffer });
};

function tell(answer) {
  self.postMessage(answer, [answer.output?.buffer, answer.spare].filter((buffer) => buffer !== undefined));
}

/** Runs what the page itself has written: a function of its own, or an export of a module with arguments of its own. */
async function own({ fn, module, exportName, data }) {
  try {
    let value;
    if (fn !== undefined) {
      value = await (0, eval)(`(${fn})`)(data);
    } else {
      const { instance } = await WebAssembly.instantiate(module, {});
      const called = instance.exports[exportName];
      if (typeof called !== "function") {
        throw new TypeError(`the module exports no function ${JSON.stringify(exportName)}`);
      }
      value = called(...(Array.isArray(data) ? data : [data]));
    }
    self.postMessage({ kind: "value", value });
  } catch (failed) {
    // What was thrown may be anything; its text always arrives.
    self.postMessage({ kind: "thrown", message: String(failed?.message ?? failed) });
  }
}

/** Runs an operation, or looks at a module, by an instance of the node's. */
function inNode({ check, memory, program, state, input }) {
  try {
    if (!isReady) {
      initSync({ module: nodeModule });
      isReady = true;
    }
    return check ? checkModule(input, memory) : { kind: "output", output: runBuiltin(program, state, input) };
  } catch (failed) {
    if (failed?.kind !== undefined) {
      return failed;
    }
    // After a panic the instance is not to be used again.
    isReady = false;
    return broken(failed);
  }
}

/** Runs a module by the task ABI, which `peercompute-guest/README.md` has in full. */
function guest({ module, memory: limit, input }) {
  let instance;
  try {
    instance = new WebAssembly.Instance(module, {});
  } catch (failed) {
    if (failed instanceof RangeError) {
      return { kind: "memory", limit, message: String(failed.message) };
    }
    return broken(failed);
  }
  const { memory, abi_version: version, alloc, run } = instance.exports;
  try {
    const found = version();
    if (found !== ABI_VERSION) {
      return abi(`its abi_version gave ${found}, and this worker speaks ${ABI_VERSION}; build it with a guest crate of that version`);
    }
    const pointer = alloc(input.length) >>> 0;
    const size = memory.buffer.byteLength;
    if (input.length > 0 && pointer === 0) {
      return refused(memory, limit, `its alloc gave 0, no room for ${input.length} bytes of input`);
    }
    if (pointer + input.length > size) {
      return abi(`its alloc gave ${pointer} for ${input.length} bytes, which is not inside its memory of ${size} bytes`);
    }
    new Uint8Array(memory.buffer, pointer, input.length).set(input);
    return answer(memory, BigInt.asUintN(64, run(pointer, input.length)));
  } catch (failed) {
    if (!(failed instanceof WebAssembly.RuntimeError)) {
      return broken(failed);
    }
    return refused(memory, limit, failed.message, "trap");
  }
}

function answer(memory, returned) {
  const low = Number(returned & 0xffff_ffffn);
  const pointer = Number(returned >> 32n);
  const gaveUp = low >= GAVE_UP;
  const length = gaveUp ? low - GAVE_UP : low;
  const size = memory.buffer.byteLength;
  if (pointer + length > size) {
    return abi(
      `its answer of ${length} bytes at ${pointer} is not inside its memory of ${size} bytes; return a pointer in the high 32 bits and a length in the low ones`,
    );
  }
  const end = pointer + (gaveUp ? Math.min(length, MAX_MESSAGE) : length);
  return { kind: "returned", gaveUp, output: new Uint8Array(memory.buffer.slice(pointer, end)) };
}

/** What failed with all its memory taken, most likely failed for want of more. */
function refused(memory, limit, message, otherwise = "abi") {
  const isFull = memory.buffer.byteLength + PAGE > limit;
  return isFull ? { kind: "memory", limit, message: `its memory is full, then: ${message}` } : { kind: otherwise, message };
}

function abi(message) {
  return { kind: "abi", message };
}

function broken(failed) {
  const isStack = failed instanceof RangeError;
  return { kind: isStack ? "stack" : "trap", message: String(failed?.message ?? failed) };
}
