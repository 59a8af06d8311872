// node wycheproof_driver.mjs OPEN.mjs CASES: one answer a line, for test_wycheproof.py.
import crypto from "node:crypto";
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const kit = await import(pathToFileURL(process.argv[2]).href);
const bytes = (text) => (text === "-" ? Buffer.alloc(0) : Buffer.from(text, "hex"));
const shown = (data) => data.toString("hex") || "-";
const run = {
  oaep: (key, ct) => shown(kit.oaepDecrypt(crypto.createPrivateKey({ key: bytes(key), format: "der", type: "pkcs8" }), bytes(ct))),
  pss: (key, msg, sig) => String(kit.isSigned(bytes(msg), bytes(sig), crypto.createPublicKey({ key: bytes(key), format: "der", type: "spki" }))),
  gcm: (key, iv, ct, tag) =>
    shown(Buffer.concat([...kit.decryptMessage(new kit.Memory(bytes(ct)), bytes(key), bytes(iv), bytes(ct).length, bytes(tag))])),
  chunked: (key, context, ct, size) => {
    const plaintext = Buffer.concat([...kit.decryptChunks(new kit.Memory(bytes(ct)), bytes(key), bytes(context), Number(size))]);
    return crypto.createHash("sha512").update(plaintext).digest("hex");
  },
};
for (const line of fs.readFileSync(process.argv[3], "latin1").trim().split("\n")) {
  const [kind, ...values] = line.split(" ");
  try {
    console.log(run[kind](...values));
  } catch {
    console.log("refused");
  }
}
