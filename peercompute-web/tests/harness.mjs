// Real processes, real browsers, real pages: what the tests of the package stand on.
//
// PEERCOMPUTE_PROGRAM, PEERCOMPUTE_EXAMPLES, PEERCOMPUTE_WEB and PEERCOMPUTE_CHROMIUM name the program, the folder with the example programs, that with the package, and the browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const need = (name) => {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set; run these tests with \`cargo xtask test --only web-test\``);
  }
  return value;
};

/** Anything that takes so long in milliseconds has failed. */
export const PATIENCE = 60_000;

const HERE = dirname(fileURLToPath(import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };

/** What is ended after a test, last first. */
export class Scene {
  #ends = [];

  keep(end) {
    this.#ends.push(end);
  }

  async end() {
    for (const end of this.#ends.reverse()) {
      await end();
    }
    this.#ends = [];
  }

  /** Serves the package under /peercompute and the pages of the tests, or another folder's, beside it, all with these headers. Gives the address. */
  async serve(pages = join(HERE, "pages"), headers = {}) {
    const server = createServer(async (request, response) => {
      const path = normalize(new URL(request.url, "http://localhost").pathname);
      const [, first, ...rest] = path.split("/");
      const file = first === "peercompute" ? join(need("PEERCOMPUTE_WEB"), ...rest) : join(pages, path);
      try {
        const bytes = await readFile(file);
        response.writeHead(200, { ...headers, "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
        response.end(bytes);
      } catch {
        response.writeHead(404).end();
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.keep(() => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }));
    return `http://localhost:${server.address().port}`;
  }

  /** A program that prints a JSON object a line. */
  async run(name, args) {
    return this.start(name, need("PEERCOMPUTE_PROGRAM"), args);
  }

  /** A job that runs `module` on each KiB of a file of so many random ones, elsewhere than here. */
  async job(module, count, ...args) {
    const [folder, out] = [await this.folder(), await this.folder()];
    const [program, file] = [join(folder, "module.wasm"), join(folder, "input")];
    const input = randomBytes(count << 10);
    await writeFile(program, module);
    await writeFile(file, input);
    const what = ["--wasm", program, "--input", file, "--chunk", "1KiB", "--out", out];
    const run = await this.run("run", ["run", "--json", ...what, "--no-local", "--game", "test", "--topology", "emergent", ...args]);
    return Object.assign(run, { input, out });
  }

  /** An example program that prints a JSON object a line. */
  async example(name, args) {
    return this.start(name, join(need("PEERCOMPUTE_EXAMPLES"), name), args);
  }

  /** A script for Node.js that prints a JSON object a line. */
  async script(path, args) {
    return this.start(path, process.execPath, [path, ...args]);
  }

  start(name, path, args) {
    const program = new Program(name, path, args);
    this.keep(() => program.end());
    return program;
  }

  /** A native node that browsers can reach, once it listens. */
  async node(room, ...args) {
    const listen = ["--listen", "/ip4/127.0.0.1/tcp/0/ws", "--listen", "/ip4/127.0.0.1/tcp/0"];
    const node = await this.run("node", ["node", "--json", "--game", "test", "--room", room, ...listen, ...args]);
    const listening = await node.line((line) => line.event === "listening");
    node.peerId = listening.peer_id;
    node.addresses = listening.addresses;
    node.ws = listening.addresses.find((address) => address.includes("/ws"));
    node.tcp = listening.addresses.find((address) => address.includes("/tcp/") && !address.includes("/ws"));
    return node;
  }

  /** A relay that browsers can reach, once it listens; with the key and at the ports of an `earlier` one. */
  async relay(earlier = undefined) {
    const port = (address) => address?.match(/\/tcp\/(\d+)/)[1] ?? "0";
    const key = earlier?.key ?? join(await this.folder(), "relay.key");
    const ports = ["--listen-host", "127.0.0.1", "--listen-port", port(earlier?.ws), "--tcp-port", port(earlier?.tcp), "--quic-port", "none"];
    const relay = await this.run("relay", ["relay", "--json", ...ports, "--http", "none", "--identity", key, "--drain", "0s"]);
    const listening = await relay.line((line) => line.event === "listening");
    relay.key = key;
    relay.ws = listening.addresses.find((address) => address.includes("/ws"));
    relay.tcp = listening.addresses.find((address) => address.includes("/tcp/") && !address.includes("/ws"));
    return relay;
  }

  /** An empty folder. */
  async folder() {
    const folder = await mkdtemp(join(tmpdir(), "peercompute-web-"));
    this.keep(() => rm(folder, { recursive: true }));
    return folder;
  }

  /** A tab of its own browser with the page of the tests, or another one. */
  async tab(address, options = {}) {
    const { chromium } = createRequire(join(need("PEERCOMPUTE_NODE_MODULES"), "x.js"))("playwright-core");
    const browser = await chromium.launch({
      executablePath: need("PEERCOMPUTE_CHROMIUM"),
      // The last two let tabs reach each other without a network, and without names of multicast DNS.
      args: ["--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns", ...(options.args ?? [])],
      timeout: PATIENCE,
    });
    this.keep(() => browser.close());
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.faults = [];
    page.on("pageerror", (error) => page.faults.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") {
        page.faults.push(message.text());
      }
    });
    if (options.page !== undefined) {
      await page.goto(options.page);
    } else {
      await page.goto(`${address}/tab.html`);
      await page.waitForFunction(() => window.isReady === true);
    }
    return Object.assign(page, { browser });
  }
}

class Program {
  #lines = [];
  #waiting = [];
  #child;
  #errors = "";

  constructor(name, path, args) {
    this.name = name;
    // Some programs end with their input.
    this.#child = spawn(path, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.exited = once(this.#child, "exit").then(([code]) => code);
    this.#child.stderr.on("data", (data) => {
      this.#errors += data;
    });
    createInterface({ input: this.#child.stdout }).on("line", (text) => {
      const line = JSON.parse(text);
      this.#lines.push(line);
      this.#waiting = this.#waiting.filter(({ wanted, resolve }) => {
        const fits = wanted(line);
        if (fits) {
          resolve(line);
        }
        return !fits;
      });
    });
  }

  /** The first line, printed already or to come, that `wanted` picks. */
  async line(wanted) {
    const printed = this.#lines.find(wanted);
    if (printed !== undefined) {
      return printed;
    }
    const coming = new Promise((resolve) => this.#waiting.push({ wanted, resolve }));
    return within(Promise.race([coming, this.exited.then((code) => {
      throw new Error(`${this.name} ended with ${code}: ${this.#errors}`);
    })]), `${this.name} does not print what is waited for: ${this.#errors}`);
  }

  get lines() {
    return this.#lines;
  }

  /** Writes a line to its input. */
  type(text) {
    this.#child.stdin.write(`${text}\n`);
  }

  kill(signal = "SIGKILL") {
    this.#child.kill(signal);
    return this.exited;
  }

  async end() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGTERM");
      await within(this.exited, `${this.name} does not end`).catch(() => this.kill());
    }
  }
}

/** What a job of `Scene.job` comes to, once it has ended well: its result, and the outputs of its tasks one after the other. */
export async function finished(job) {
  const result = await job.line(() => true);
  assert.equal(await job.exited, 0, JSON.stringify(result));
  const parts = (await readdir(job.out)).sort();
  return { result, output: Buffer.concat(await Promise.all(parts.map((part) => readFile(join(job.out, part))))) };
}

/** Waits for a promise, but not for ever. */
export async function within(promise, message, limit = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
