// The key that a device is known by, kept across reloads.

import { completed, done, open } from "./database.js";

const DATABASE = "peercompute";
const STORE = "identity";

/** Tabs of one page that run at the same time are different devices, at most so many. */
const MAX_TABS = 64;

/**
 * A name for this tab's key that no other tab holds now, and the same one after a reload if none has taken it: `base`, or `base` with a number.
 * Gives it with a function that lets go of it.
 */
export async function claimName(base) {
  try {
    for (let tab = 1; navigator.locks !== undefined && tab <= MAX_TABS; tab += 1) {
      const name = tab === 1 ? base : `${base}-${tab}`;
      const release = await hold(`${DATABASE}:${name}`);
      if (release !== null) {
        return { name, release };
      }
    }
  } catch {
    // A page in a frame of another site may have none.
  }
  return { name: ownName(base), release: () => {} };
}

/** Holds a lock until it is released or the tab is gone. Gives null if another tab has it. */
function hold(lock) {
  return new Promise((resolve, reject) => {
    const held = (granted) => {
      if (granted === null) {
        resolve(null);
        return undefined;
      }
      return new Promise((release) => resolve(release));
    };
    navigator.locks.request(lock, { ifAvailable: true }, held).catch(reject);
  });
}

/** Without locks: a name that this tab keeps for itself across reloads, as far as it can keep anything. */
function ownName(base) {
  const key = `${DATABASE}:${base}`;
  try {
    const name = sessionStorage.getItem(key) ?? `${base}-${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
    sessionStorage.setItem(key, name);
    return name;
  } catch {
    return base;
  }
}

/**
 * The key that was kept under `name`; null if there is none, or nothing can be kept here.
 * @returns {Promise<Uint8Array | null>}
 */
export async function loadIdentity(name) {
  const database = await find();
  if (database === null) {
    return null;
  }
  try {
    const kept = await done(database.transaction(STORE).objectStore(STORE).get(name));
    return kept instanceof Uint8Array ? kept : null;
  } catch {
    return null;
  } finally {
    database.close();
  }
}

/** Keeps a key under `name`. Says whether it could. */
export async function keepIdentity(name, key) {
  const database = await find();
  if (database === null) {
    return false;
  }
  try {
    const transaction = database.transaction(STORE, "readwrite");
    const whole = completed(transaction);
    transaction.objectStore(STORE).put(key, name);
    await whole;
    return true;
  } catch {
    return false;
  } finally {
    database.close();
  }
}

/** The database, or null where a page has none: in private windows of some browsers, or where it is switched off. */
async function find() {
  try {
    return await open(DATABASE, STORE);
  } catch {
    return null;
  }
}
