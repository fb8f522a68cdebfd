// The browser's GPU: whether there is one, as the page asks, and shaders on it, as a worker runs them.

/** How long the browser may take to say whether there is one, in milliseconds. */
const LOOK_LIMIT = 2000;

/**
 * What GPU the browser gives: `{ name, isSoftware }`, or `{ reason }` why it gives none.
 */
export async function findGpu() {
  if (navigator.gpu === undefined) {
    return { reason: self.isSecureContext ? "this browser has no WebGPU" : "browsers have WebGPU on pages from https or localhost alone" };
  }
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, LOOK_LIMIT, { reason: `the browser did not say within ${LOOK_LIMIT / 1000} s whether there is one` });
  });
  try {
    return await Promise.race([look(), late]);
  } catch (error) {
    return { reason: `the browser's WebGPU failed: ${error.message}` };
  } finally {
    clearTimeout(timer);
  }
}

async function look() {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    return { reason: "this browser's WebGPU has no adapter" };
  }
  const { vendor, architecture, device, description } = adapter.info ?? {};
  const name = [vendor, architecture, description || device].filter(Boolean).join(" ");
  const isSoftware = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
  return { name: name || "a GPU without a name", isSoftware };
}

/** The device of this worker, once a shader has asked for it. */
let shaders = null;

/** Opens the device, if it is not open, and gives what the page is told of it. */
export async function openGpu() {
  try {
    shaders ??= await open();
    return { kind: "output", output: new Uint8Array() };
  } catch (failed) {
    return { kind: "noDevice", message: text(failed) };
  }
}

async function open() {
  // Only who runs a shader loads what runs it.
  const { default: init, Shaders } = await import("./peercompute_web_gpu.js");
  await init();
  return Shaders.open();
}

/** Runs `{ shader, entryPoint, workgroups, uniforms, input, outputBytes }` on the open device, and gives what the page is told of it. */
export async function runShader({ shader, entryPoint, workgroups, uniforms, input, outputBytes }) {
  try {
    return { kind: "output", output: await shaders.run(shader, entryPoint, workgroups, uniforms, input, outputBytes) };
  } catch (failed) {
    const message = text(failed);
    switch (failed?.name) {
      case "REFUSED":
        return { kind: "refused", program: "the WGSL shader of this job", message };
      case "ROUNDS":
        return { kind: "rounds", message };
      default:
        return { kind: "trap", message };
    }
  }
}

function text(failed) {
  return String(failed?.message ?? failed);
}
