// A certificate of its own making, as a person makes one for his machine: X.509 in DER (RFC 5280), with P-256.

import { generateKeyPairSync, sign } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const lengthOf = ({ length }) => length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
const field = (tag, ...parts) => {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag, ...lengthOf(content)]), content]);
};
const sequence = (...parts) => field(0x30, ...parts);
const identifier = (hex) => field(0x06, Buffer.from(hex, "hex"));
const time = (date) => field(0x17, Buffer.from(`${date.toISOString().replace(/\D/g, "").slice(2, 14)}Z`));

const DAY = 24 * 60 * 60 * 1000;
const ECDSA_WITH_SHA256 = sequence(identifier("2a8648ce3d040302"));
const SUBJECT_ALT_NAME = identifier("551d11");
const COMMON_NAME = identifier("550403");

/** Writes a certificate for a host and its key to PEM files, and gives their paths. It is valid from `from` to `until`, in days from now. */
export async function certificate(folder, host, { from = -1, until = 1 } = {}) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = sequence(field(0x31, sequence(COMMON_NAME, field(0x0c, Buffer.from(host)))));
  const names = sequence(field(0x82, Buffer.from(host)));
  const body = sequence(
    field(0xa0, field(0x02, Buffer.from([2]))),
    field(0x02, Buffer.from([1])),
    ECDSA_WITH_SHA256,
    name,
    sequence(time(new Date(Date.now() + from * DAY)), time(new Date(Date.now() + until * DAY))),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    field(0xa3, sequence(sequence(SUBJECT_ALT_NAME, field(0x04, names)))),
  );
  const signature = field(0x03, Buffer.from([0]), sign("sha256", body, privateKey));
  const der = sequence(body, ECDSA_WITH_SHA256, signature);
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
  const files = { cert: join(folder, `${host}.pem`), key: join(folder, `${host}.key`) };
  await writeFile(files.cert, pem);
  await writeFile(files.key, privateKey.export({ type: "pkcs8", format: "pem" }));
  return files;
}
