// What IndexedDB needs to be written with promises.

/** Opens a database that has these stores. */
export async function open(name, ...stores) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => stores.forEach((store) => request.result.createObjectStore(store));
  const database = await done(request);
  // A later version of this package is not to wait for this tab.
  database.onversionchange = () => database.close();
  return database;
}

/** What a request comes to. */
export function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older version"));
  });
}

/** Kept when all of a transaction is written. */
export function completed(transaction) {
  const whole = new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the browser has given up writing"));
  });
  // A request that fails is told of first, and nobody waits for the rest then.
  whole.catch(() => {});
  return whole;
}
