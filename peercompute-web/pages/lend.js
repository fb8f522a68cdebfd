// The page that lends a device: what it shows, and the one thing that a person can set.

import { NodeKernel } from "./index.js";

/** How long the node may take to say who it is, in milliseconds. */
const FETCH_LIMIT = 20_000;
/** How often what is shown is brought up to date, in milliseconds. */
const REFRESH = 500;
/** Rates are of so many seconds. */
const WINDOW = 5;
/** Where the share that was chosen is kept. */
const SHARE = "peercompute:share";
/** A password's bytes, at most. */
const MAX_PASSWORD = 256;

const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

function say(text, isFault = false) {
  const state = element("state");
  state.textContent = text;
  state.toggleAttribute("data-fault", isFault);
}

/** How the node that has served this page is reached from here. */
function addressOf({ peerId, port, secure }) {
  const host = location.hostname;
  const bare = host.replace(/^\[|\]$/g, "");
  let kind = "dns";
  if (/^\d+(\.\d+){3}$/.test(bare)) {
    kind = "ip4";
  } else if (bare.includes(":")) {
    kind = "ip6";
  }
  return `/${kind}/${bare}/tcp/${port}/${secure ? "tls/ws" : "ws"}/p2p/${peerId}`;
}

function limits() {
  if (!window.isSecureContext) {
    return "This page came without encryption from another machine, so the browser lets it use no GPU, and it may be another peer after it was closed.";
  }
  return null;
}

async function begin() {
  const config = await fetchConfig();
  const isPrivate = config.roomId === null;
  element("room").textContent = `${config.gameId} / ${isPrivate ? "a private room" : config.roomId}`;
  const node = await NodeKernel.create({
    gameId: config.gameId,
    ...(isPrivate ? { password: await ask() } : { roomId: config.roomId }),
    bootstrapPeers: [addressOf(config)],
    name: navigator.userAgentData?.platform ?? navigator.platform,
    throttle: share(),
  });
  window.peercompute = node;
  node.addStatusHandler((event) => {
    if (event.type === "unreachable") {
      const hint = isPrivate ? " A wrong password looks the same as nobody there: reload the page to give another one." : "";
      say(`${event.address} cannot be reached, trying again: ${event.reason}.${hint}`, true);
      followNode(config);
    }
  });
  say("looking for the others …");
  await node.start();
  follow(node);
}

/** What the node says of itself. */
async function fetchConfig() {
  const signal = AbortSignal.timeout(FETCH_LIMIT);
  const response = await fetch("node.json", { signal }).catch((error) => {
    throw new Error(`The node that served this page does not answer (node.json: ${error.message}). Check that it runs, and reload the page.`);
  });
  const config = response.ok ? await response.json().catch(() => null) : null;
  if (!isConfig(config)) {
    throw new Error(`The node that served this page does not say who it is (node.json: ${response.status}). Check that it runs, and reload the page.`);
  }
  return config;
}

function isConfig(config) {
  const { peerId, gameId, roomId, port } = config ?? {};
  const isRoom = roomId === null || typeof roomId === "string";
  return typeof peerId === "string" && typeof gameId === "string" && isRoom && Number.isInteger(port);
}

/** A node that was started anew may be another peer, at another port. */
async function followNode(config) {
  const now = await fetchConfig().catch(() => config);
  if (now.peerId !== config.peerId || now.port !== config.port) {
    location.reload();
  }
}

/** The share that is set, which is the one that was chosen last time. */
function share() {
  return element("throttle").valueAsNumber;
}

function showShare() {
  element("share").textContent = `${share()} %`;
}

/** Waits until a person has given the password. */
async function ask() {
  say("This room is private.");
  const form = element("ask");
  form.hidden = false;
  const password = await new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const password = element("password").value;
      if (new TextEncoder().encode(password).length <= MAX_PASSWORD) {
        resolve(password);
      } else {
        say(`The password has more than ${MAX_PASSWORD} bytes.`, true);
      }
    });
  });
  form.hidden = true;
  return password;
}

function follow(node) {
  element("throttle").addEventListener("input", () => node.setThrottle(share()));
  node.setThrottle(share());
  window.addEventListener("pagehide", () => node.stop());
  const seen = [];
  setInterval(() => {
    const { tasks, peers, workers } = node.status();
    const now = performance.now() / 1000;
    seen.push([now, tasks.done]);
    while (seen[0][0] < now - WINDOW) {
      seen.shift();
    }
    const [since, before] = seen[0];
    element("done").textContent = number.format(tasks.done);
    element("rate").textContent = number.format(now > since ? (tasks.done - before) / (now - since) : 0);
    element("peers").textContent = number.format(peers.length);
    const paths = new Set(peers.map(({ path }) => path).filter(Boolean));
    element("link").textContent = paths.size === 0 ? "none" : [...paths].sort().join(", ");
    if (paths.size > 0) {
      say(workers === 0 ? "resting" : tasks.running > 0 ? "computing" : "waiting for work");
    }
  }, REFRESH);
}

/** A share that was chosen holds from now on, and the next time, where the browser keeps it. */
function keepShare() {
  const throttle = element("throttle");
  try {
    throttle.value = localStorage.getItem(SHARE) ?? throttle.value;
  } catch {
    // Nothing is kept here.
  }
  throttle.addEventListener("input", () => {
    showShare();
    try {
      localStorage.setItem(SHARE, throttle.value);
    } catch {
      // As above.
    }
  });
  showShare();
}

keepShare();
const told = limits();
if (told !== null) {
  element("limits").textContent = told;
  element("limits").hidden = false;
}
begin().catch((error) => say(error.message, true));
