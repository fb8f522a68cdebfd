// What live rooms keep for the next life of a page: events that wait for an acknowledgement, and which ones of others were delivered.

import { completed, done, open } from "./database.js";

const DATABASE = "peercompute-rooms";
const RECORDS = "records";
const SEEN = "seen";

/** What was kept of a room that nobody has been in for so long is removed, in milliseconds. */
const MAX_AGE = 24 * 3600 * 1000;

export class Rooms {
  /** The peer that keeps them; null while nothing is to be kept. */
  owner = null;
  #database = null;

  /** All records of a room, as an array of keys and values. */
  async load(scope) {
    if (this.owner === null) {
      throw new Error("this device will be another peer after a reload");
    }
    this.#database = await open(DATABASE, RECORDS, SEEN);
    const transaction = this.#database.transaction([RECORDS, SEEN], "readwrite");
    const whole = completed(transaction);
    const [records, seen] = [transaction.objectStore(RECORDS), transaction.objectStore(SEEN)];
    seen.put(Date.now(), [this.owner, scope]);
    const [rooms, times] = await Promise.all([done(seen.getAllKeys()), done(seen.getAll())]);
    rooms.forEach((room, at) => {
      if (!(times[at] >= Date.now() - MAX_AGE)) {
        seen.delete(room);
        records.delete(within(room));
      }
    });
    const range = within([this.owner, scope]);
    const [keys, values] = await Promise.all([done(records.getAllKeys(range)), done(records.getAll(range))]);
    await whole;
    return keys.map((key, at) => [new Uint8Array(key[2]), values[at]]);
  }

  /** Changes records, all or none: an array of keys, and values or null for what is removed. */
  async write(scope, changes) {
    // What is written outlasts the page as it is; "strict" would wait for the disk, too.
    const transaction = this.#database.transaction([RECORDS, SEEN], "readwrite", { durability: "relaxed" });
    const whole = completed(transaction);
    const records = transaction.objectStore(RECORDS);
    transaction.objectStore(SEEN).put(Date.now(), [this.owner, scope]);
    for (const [key, value] of changes) {
      if (value === null) {
        records.delete([this.owner, scope, key]);
      } else {
        records.put(value, [this.owner, scope, key]);
      }
    }
    transaction.commit?.();
    await whole;
  }

  close() {
    this.#database?.close();
  }
}

/** Every record of a room: an array comes after all other keys. */
function within(room) {
  return IDBKeyRange.bound([...room], [...room, []]);
}
