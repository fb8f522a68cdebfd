// A worker that counts time for `timers.js`: `{ id, wait }` is answered with the id after so many milliseconds, `{ id }` is not to be answered any more.

const counted = new Map();

self.onmessage = ({ data: { id, wait } }) => {
  clearTimeout(counted.get(id));
  counted.delete(id);
  if (wait !== undefined) {
    counted.set(id, setTimeout(tell, wait, id));
  }
};

function tell(id) {
  counted.delete(id);
  self.postMessage(id);
}
