// WebSocket servers that are no nodes.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** What RFC 6455 has a server append to the client's key. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const DIGITS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** A server that hands each connection to `treat`, as a socket on which frames can be written. Gives its address, with the id of a peer that nobody is. */
export async function stranger(scene, treat) {
  const server = createServer();
  const sockets = new Set();
  server.on("upgrade", (request, socket) => {
    sockets.add(socket);
    // Whoever turns away from it may do so as it likes.
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + GUID).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.resume();
    treat(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  scene.keep(() => new Promise((resolve) => {
    server.close(resolve);
    for (const socket of sockets) {
      socket.destroy();
    }
  }));
  return `/ip4/127.0.0.1/tcp/${server.address().port}/ws/p2p/${nobody()}`;
}

/** A peer id of no known key. */
function nobody() {
  let number = BigInt(`0x002408011220${randomBytes(32).toString("hex")}`);
  let text = "";
  for (; number > 0n; number /= 58n) {
    text = DIGITS[Number(number % 58n)] + text;
  }
  return `1${text}`;
}

/** Bytes as one binary frame. */
export function frame(bytes) {
  const head = bytes.length < 126 ? [0x82, bytes.length] : [0x82, 126, bytes.length >> 8, bytes.length & 0xff];
  return Buffer.concat([Buffer.from(head), bytes]);
}

/** Text as multistream-select has it: a length, the text, a line feed. */
export const line = (text) => Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(`${text}\n`)]);

/** Sends these bytes as often as they are taken. */
export function pour(socket, bytes) {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes)) {
      // Until it is full.
    }
  };
  socket.on("drain", more);
  more();
}
