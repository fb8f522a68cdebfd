// The page that lends a device: what it shows, and the one thing that a person can set.

import { NodeKernel } from "./index.js";

/** How often what is shown is brought up to date, in milliseconds. */
const REFRESH = 500;
/** Rates are of so many seconds. */
const WINDOW = 5;

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
    return "This page came without encryption from another machine, so the browser lets it use no GPU, and keep its identity no longer than this tab. With a certificate (node --web-cert) it could.";
  }
  return null;
}

async function begin() {
  const response = await fetch("node.json");
  if (!response.ok) {
    throw new Error(`node.json cannot be fetched: ${response.status}`);
  }
  const config = await response.json();
  const isPrivate = config.roomId === null;
  element("room").textContent = `${config.gameId} / ${isPrivate ? "a private room" : config.roomId}`;
  const node = await NodeKernel.create({
    gameId: config.gameId,
    ...(isPrivate ? { password: await ask() } : { roomId: config.roomId }),
    bootstrapPeers: [addressOf(config)],
    name: navigator.userAgentData?.platform ?? navigator.platform,
  });
  window.peercompute = node;
  node.addStatusHandler((event) => {
    if (event.type === "unreachable") {
      say(`${event.address} cannot be reached, trying again: ${event.reason}`, true);
    }
  });
  say("looking for the others …");
  await node.start();
  follow(node);
}

/** Waits until a person has given the password. */
async function ask() {
  say("This room is private.");
  const form = element("ask");
  form.hidden = false;
  const password = await new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      resolve(element("password").value);
    });
  });
  form.hidden = true;
  return password;
}

function follow(node) {
  const throttle = element("throttle");
  throttle.addEventListener("input", () => {
    element("share").textContent = `${throttle.value} %`;
    node.setThrottle(throttle.valueAsNumber);
  });
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

const told = limits();
if (told !== null) {
  element("limits").textContent = told;
  element("limits").hidden = false;
}
begin().catch((error) => say(error.message, true));
