#!/usr/bin/env node
// Open a batch of sealed files: node open.mjs FOLDER --key PRIVATE.pem --sender SENDER.pem --out DIR
//
// Needs Node 18 or newer and no packages. FORMAT.md is the specification; this program was written from it and shares no
// code with the sender. In this order:
//
//   1. the manifest's signature is checked with the sender's certificate (or public key), which you got out of band;
//   2. keys.json and every sealed file must be there, with the size and SHA-256 of the manifest;
//   3. each file is decrypted into NAME.part. When the last byte of all files was authenticated, and the bytes that were
//      decrypted had the size and SHA-256 of the manifest (a file may be replaced after step 2), all are renamed to NAME.
//
// Nothing is opened before 1 and 2 hold for the whole batch, and nothing stays when one file is refused. With --feed it takes
// this feed only; with --state FILE it remembers the last batch of each feed and refuses an older, a repeated or a skipped one
// (FORMAT.md, section 10). Exit codes: 0 opened, 1 refused, 2 wrong usage, 3 a file could not be read or written.
// A key with a password: set SEALIFT_KEY_PASSWORD.

import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const CHUNK = 16384;
const BLOCK = 1024 * 1024;
const MAX_HEADER = 65536;
const MAX_DOCUMENT = 33554432;
const MAX_FILES = 10000;
const MAX_RECIPIENTS = 8;
const MAX_PLAINTEXT = { native: 2 ** 52, detached: 2 ** 36 - 32, cms: 2 ** 30, openpgp: 2 ** 52, smime: 2 ** 52 };

class Refused extends Error {
  constructor(kind, text) {
    super(`${kind}: ${text}`);
    this.kind = kind;
    this.text = text;
  }
}

// One text for another key, a changed file and a cut file: an attacker learns nothing from it.
const cannotOpen = () => new Refused("cannot-open", "the file is for another key, or it was changed or cut");

// -------------------------------------------------------------------------------------- strict JSON (FORMAT.md, 3)

const NAME = /^(?!(?:[Cc][Oo][Nn]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Cc][Ll][Oo][Cc][Kk]\$|[Cc][Oo][Nn](?:[Ii][Nn]|[Oo][Uu][Tt])\$|(?:[Cc][Oo][Mm]|[Ll][Pp][Tt])[1-9]) *(?:\.|$))(?![. ])[^\x00-\x1f\x7f-\uffff/\\":*?<>|]{1,200}$(?<![. ])(?<!\.[Pp][Aa][Rr][Tt])/;
const BATCH = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const KID = /^[!#-\[\]-~]{1,256}$/;
const HASH = /^[0-9a-f]{64}$/;
const THUMBPRINT = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/; // 256 bits: the last two of 258 are zero
const COLUMN = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const DECIMAL = /^(?!-0$)-?(0|[1-9][0-9]{0,99})(\.[0-9]{0,11}[1-9])?$/;
const TIME_FORM = /^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$/;

// A time of the calendar: there is no 30 February.
function TIME(value) {
  if (typeof value !== "string" || !TIME_FORM.test(value)) return false;
  const [year, month, day] = [Number(value.slice(0, 4)), Number(value.slice(5, 7)), Number(value.slice(8, 10))];
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return day <= [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
}

const integer = (value) => Number.isSafeInteger(value) && value >= 0;
const orNull = (rule) => (value) => value === null || follows(value, rule);
const array = (rule, smallest, largest) => (value) =>
  Array.isArray(value) && value.length >= smallest && value.length <= largest && value.every((each) => follows(each, rule));

const wrappedKey = (smallest, largest) => (value) => {
  if (typeof value !== "string" || value.length > 1400) return false;
  const data = Buffer.from(value, "base64");
  return data.length >= smallest && data.length <= largest && data.toString("base64") === value;
};

// A rule is a pattern for a text, an object for one with exactly these members, a function, or the one allowed value.
function follows(value, rule) {
  if (rule instanceof RegExp) return typeof value === "string" && rule.test(value);
  if (typeof rule === "function") return rule(value);
  if (typeof rule !== "object") return value === rule;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const members = Object.keys(rule);
  return Object.keys(value).length === members.length && members.every((m) => Object.hasOwn(value, m) && follows(value[m], rule[m]));
}

const RECIPIENT = { alg: "RSA-OAEP-256", kid: KID, wrapped_key: wrappedKey(384, 1024), "x5t#S256": THUMBPRINT };
const PGP_RECIPIENT = { ...RECIPIENT, alg: "OpenPGP-PKESK", wrapped_key: wrappedKey(64, 1036) };
const RECIPIENTS = array(RECIPIENT, 1, MAX_RECIPIENTS);
const HEADER = {
  batch: BATCH, body: "cobblestone-256", created: TIME, name: NAME, plaintext_bytes: integer,
  recipients: RECIPIENTS, type: "sealift-file", version: 1,
};
const DETACHED = { key_name: NAME, key_sha256: HASH, nonce: /^[0-9a-f]{24}$/, tag: /^[0-9a-f]{32}$/ };
const FILE = {
  detached: orNull(DETACHED), format: /^(native|detached|cms|openpgp|smime)$/, name: NAME, plaintext_bytes: integer,
  recipients: array({ kid: KID, "x5t#S256": THUMBPRINT }, 1, MAX_RECIPIENTS), rows: orNull(integer),
  sealed_bytes: integer, sealed_name: NAME, sealed_sha256: HASH,
};
const TOTALS = { files: integer, plaintext_bytes: integer, rows: orNull(integer), sealed_bytes: integer };
const MANIFEST = {
  batch: BATCH, created: TIME, feed: WORD, files: array(FILE, 0, MAX_FILES), keys_sha256: HASH, partner: WORD,
  previous_manifest_sha256: orNull(HASH), record_head: orNull(HASH), sequence: integer, signature: "RSA-PSS-SHA256",
  signing_key: KID, totals: TOTALS, type: "sealift-manifest", version: 1, window_end: TIME, window_start: TIME,
};
const SUMS = array({ column: COLUMN, sum: DECIMAL }, 0, 256);
const WITH_SUMS = {
  ...MANIFEST, files: array({ ...FILE, sums: SUMS }, 1, MAX_FILES), totals: { ...TOTALS, sums: SUMS }, version: 2,
};
const ANY_MANIFEST = (value) => follows(value, MANIFEST) || follows(value, WITH_SUMS);
const PGP_RECIPIENTS = array(PGP_RECIPIENT, 1, MAX_RECIPIENTS);
const PKCS1_RECIPIENTS = array({ ...RECIPIENT, alg: "RSA1_5" }, 1, MAX_RECIPIENTS);
const KEYS_RECIPIENTS = (value) => [RECIPIENTS, PGP_RECIPIENTS, PKCS1_RECIPIENTS].some((rule) => follows(value, rule));
const ALGORITHMS = { openpgp: ["OpenPGP-PKESK"], smime: ["RSA1_5", "RSA-OAEP-256"] }; // of any other: RSA-OAEP-256
const KEYS_FILE = { name: NAME, recipients: KEYS_RECIPIENTS, sealed_name: NAME, sealed_sha256: HASH };
const KEYS = { batch: BATCH, files: array(KEYS_FILE, 0, MAX_FILES), type: "sealift-keys", version: 1 };

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((m) => `${JSON.stringify(m)}:${canonical(value[m])}`).join(",")}}`;
}

// Return the object of a canonical JSON text that follows the rule; cheap checks come before the parser.
function parse(data, rule, kind, what) {
  const wrong = new Refused(kind, `${what} is not written as FORMAT.md says`);
  let depth = 0;
  let quoted = false;
  for (const byte of data) {
    if (byte < 0x20 || byte > 0x7e || byte === 0x5c) throw wrong;
    if (byte === 0x22) quoted = !quoted;
    else if (!quoted && (byte === 0x5b || byte === 0x7b) && ++depth > 5) throw wrong;
    else if (!quoted && (byte === 0x5d || byte === 0x7d)) depth--;
  }
  const text = data.toString("latin1");
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong;
  }
  if (canonical(value) !== text || !follows(value, rule)) throw wrong;
  return value;
}

// ------------------------------------------------------------------------------------ the batch (FORMAT.md, 8 to 10)

// Open for reading what is a regular file; a pipe or device would give bytes without an end, or wait for ever.
function openRegular(file) {
  let number;
  try {
    number = fs.openSync(file, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
    throw new Refused("incomplete", `${path.basename(file)} cannot be read: it is not there`);
  }
  if (!fs.fstatSync(number).isFile()) {
    fs.closeSync(number);
    throw new Refused("incomplete", `${path.basename(file)} cannot be read: it is no regular file`);
  }
  return number;
}

// Return a small file's bytes; never reads more than one byte too many, however the file grows.
function readSmall(file, largest, kind) {
  const number = openRegular(file);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(largest, fs.fstatSync(number).size + BLOCK) + 1);
    let have = 0;
    for (let got = 1; got > 0 && have < buffer.length; have += got) {
      got = fs.readSync(number, buffer, have, buffer.length - have, null);
    }
    if (have > largest) throw new Refused(kind, `${path.basename(file)} is larger than any real one`);
    if (have === buffer.length) throw new Refused(kind, `${path.basename(file)} grew while it was read`);
    return buffer.subarray(0, have);
  } finally {
    fs.closeSync(number);
  }
}

const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
const namesIn = (folder) => fs.readdirSync(folder).filter((name) => isFile(path.join(folder, name))).sort();
const sha256 = (data) => crypto.createHash("sha256").update(data).digest("hex");
const repeats = (list) => new Set(list).size !== list.length;

// Return the folder and the file names' beginning of a batch, given its manifest or the folder that it lies in.
function findBatch(given, batch) {
  const suffix = "manifest.json";
  if (path.basename(given).endsWith(suffix)) {
    if (!isFile(given)) throw new Refused("incomplete", "there is no manifest: the batch is not complete yet");
    return [path.dirname(given), path.basename(given).slice(0, -suffix.length)];
  }
  if (!fs.statSync(given, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Refused("usage", `${given} is neither a folder nor a manifest.json`);
  }
  let found = namesIn(given).filter((n) => n === suffix || n.endsWith("." + suffix)).map((n) => n.slice(0, -suffix.length));
  if (batch) found = found.filter((prefix) => prefix === batch + ".");
  if (found.length === 0) throw new Refused("incomplete", "there is no manifest: the batch is not complete yet");
  if (found.length > 1) throw new Refused("usage", `the folder holds ${found.length} batches; choose one with --batch`);
  return [given, found[0]];
}

function readBatch(folder, prefix, sender) {
  const signed = readSmall(path.join(folder, prefix + "manifest.json"), MAX_DOCUMENT, "signature");
  const signature = readSmall(path.join(folder, prefix + "manifest.json.sig"), 1024, "signature");
  if (!isSigned(signed, signature, sender)) {
    throw new Refused("signature", "the manifest was not signed by this sender, or was changed");
  }
  const manifest = parse(signed, ANY_MANIFEST, "manifest", "the manifest");
  checkManifest(manifest, prefix);
  const keysBytes = readSmall(path.join(folder, prefix + "keys.json"), MAX_DOCUMENT, "keys");
  if (sha256(keysBytes) !== manifest.keys_sha256) {
    throw new Refused("keys", "keys.json is not the one that the manifest names");
  }
  const keys = parse(keysBytes, KEYS, "keys", "keys.json");
  checkKeys(keys, manifest);
  return [manifest, new Map(keys.files.map((file) => [file.sealed_name, file.recipients])), sha256(signed)];
}

function isSigned(data, signature, sender) {
  return crypto.verify("sha256", data, { key: sender, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, signature);
}

function checkManifest(manifest, prefix) {
  const { files, totals } = manifest;
  const sum = (member) => files.reduce((total, file) => total + file[member], 0);
  const stored = files.flatMap((f) => (f.detached ? [f.sealed_name, f.detached.key_name] : [f.sealed_name]));
  const rows = files.some((f) => f.rows === null) ? null : sum("rows");
  const sums = { files: files.length, plaintext_bytes: sum("plaintext_bytes"), rows, sealed_bytes: sum("sealed_bytes") };
  if (manifest.version === 2) sums.sums = sumsAddUp(manifest) ? totals.sums : null;
  for (const [wrong, text] of [
    [prefix && prefix !== manifest.batch + ".", `the manifest is that of batch ${manifest.batch}`],
    [manifest.window_start > manifest.window_end, "its window ends before it starts"],
    [repeats(files.map((f) => f.name.toLowerCase())) || repeats(stored.map((n) => n.toLowerCase())), "it names a file twice"],
    [canonical(sums) !== canonical(totals), "its totals are not the sums of its files"],
    [files.some((f) => (f.format === "detached") !== (f.detached !== null)), "a detached file lacks its tag"],
    [files.some((f) => f.plaintext_bytes > MAX_PLAINTEXT[f.format]), "a file is larger than its format holds"],
  ]) {
    if (wrong) throw new Refused("manifest", text);
  }
}

// Return whether every file has the sums of the same columns, in the order of their names, and the totals are exactly their sums.
function sumsAddUp({ files, totals }) {
  const columnsOf = (sums) => sums.map((each) => each.column);
  const columns = columnsOf(totals.sums);
  const inOrder = columns.every((column, i) => i === 0 || columns[i - 1] < column);
  if (!inOrder || files.some((file) => canonical(columnsOf(file.sums)) !== canonical(columns))) return false;
  return totals.sums.every((total, i) => units(total.sum) === files.reduce((all, file) => all + units(file.sums[i].sum), 0n));
}

// Return a decimal text as a whole number of 10^-12.
function units(text) {
  const [whole, part = ""] = text.split(".");
  return BigInt(whole + part.padEnd(12, "0"));
}

function checkKeys(keys, manifest) {
  let sound = keys.batch === manifest.batch && keys.files.length === manifest.files.length;
  for (const [index, mine] of keys.files.entries()) {
    const listed = manifest.files[index];
    sound &&= ["name", "sealed_name", "sealed_sha256"].every((member) => mine[member] === listed[member]);
    const ids = mine.recipients.map((r) => ({ kid: r.kid, "x5t#S256": r["x5t#S256"] }));
    sound &&= canonical(ids) === canonical(listed.recipients) && !repeats(ids.map((r) => r["x5t#S256"]));
    sound &&= (ALGORITHMS[listed.format] ?? ["RSA-OAEP-256"]).includes(mine.recipients[0].alg);
  }
  if (!sound) throw new Refused("keys", "keys.json does not fit the manifest");
}

// Every listed file is there, with its size and hash. Files that are not listed are never opened.
function checkFiles(folder, manifest) {
  for (const file of manifest.files) {
    const wanted = [[file.sealed_name, file.sealed_bytes, file.sealed_sha256]];
    if (file.detached) wanted.push([file.detached.key_name, null, file.detached.key_sha256]);
    for (const [name, size, digest] of wanted) {
      const stored = path.join(folder, name);
      if (!isFile(stored)) throw new Refused("incomplete", `${name} is in the manifest but not in the folder`);
      const [found, foundDigest] = measure(stored, size ?? 1024);
      if ((size !== null && found !== size) || foundDigest !== digest) {
        throw new Refused("file", `${name} is not the file that the manifest names`);
      }
    }
  }
}

// Return size and SHA-256 of a file of which no more than one byte too many is read.
function measure(stored, largest) {
  const source = new Source(stored, largest + 1);
  try {
    while (source.read(BLOCK).length);
    return [source.position, source.digest.digest("hex")];
  } finally {
    source.close();
  }
}

function unlisted(folder, prefix, manifest) {
  const listed = new Set([prefix + "manifest.json", prefix + "manifest.json.sig", prefix + "keys.json"]);
  for (const file of manifest.files) {
    listed.add(file.sealed_name);
    if (file.detached) listed.add(file.detached.key_name);
  }
  return namesIn(folder).filter((name) => !listed.has(name));
}

// ---------------------------------------------------------------------------------------- the files (FORMAT.md, 4 to 7, 18)

// Exact reads from a file, or fewer bytes at its end; reads ahead so that many small reads stay cheap. All that was read is
// hashed: what was checked is what was opened. It ends at `largest`, so that a file that grows without an end has one.
class Source {
  constructor(stored, largest) {
    this.file = openRegular(stored);
    this.left = largest;
    this.ahead = Buffer.alloc(0);
    this.position = 0;
    this.digest = crypto.createHash("sha256");
  }

  read(count) {
    if (this.ahead.length >= count) return this.take(count);
    const parts = [this.ahead];
    let have = this.ahead.length;
    while (have < count) {
      const buffer = Buffer.allocUnsafe(Math.min(this.left, Math.max(BLOCK, count - have)));
      const got = buffer.length && fs.readSync(this.file, buffer, 0, buffer.length, null);
      if (got === 0) break;
      parts.push(buffer.subarray(0, got));
      this.digest.update(parts.at(-1));
      this.left -= got;
      have += got;
    }
    this.ahead = Buffer.concat(parts);
    return this.take(count);
  }

  take(count) {
    const part = this.ahead.subarray(0, count);
    this.ahead = this.ahead.subarray(count);
    this.position += part.length;
    return part;
  }

  close() {
    fs.closeSync(this.file);
  }
}

class Memory {
  constructor(data) {
    this.data = data;
    this.position = 0;
  }

  read(count) {
    const part = this.data.subarray(this.position, this.position + count);
    this.position += part.length;
    return part;
  }
}

// Return the file key; random bytes when none unwraps, so that the failure looks the same as for a changed file.
function unwrap(wrappedKeys, key, decrypt = oaepDecrypt) {
  for (const wrapped of wrappedKeys) {
    if (wrapped.length !== Math.ceil(key.asymmetricKeyDetails.modulusLength / 8)) continue;
    try {
      const fileKey = decrypt(key, wrapped);
      if (fileKey.length === 32) return fileKey;
    } catch {
      // not for this key
    }
  }
  return crypto.randomBytes(32);
}

// oaepHash is also MGF1's.
function oaepDecrypt(key, wrapped) {
  return crypto.privateDecrypt({ key, padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, wrapped);
}

// By hand: many versions of Node refuse this padding, because programs report what is wrong with it. This one reports nothing, and
// decrypts only what a signed manifest names.
function pkcs1Decrypt(key, wrapped) {
  const block = crypto.privateDecrypt({ key, padding: crypto.constants.RSA_NO_PADDING }, wrapped);
  const end = block.indexOf(0, 2);
  return block[0] === 0 && block[1] === 2 && end >= 10 ? block.subarray(end + 1) : Buffer.alloc(0);
}

const wrappedKeysOf = (recipients) => recipients.map((r) => Buffer.from(r.wrapped_key, "base64"));

function* openNative(source, manifest, file, recipients, key) {
  const prefix = source.read(12);
  if (prefix.length < 12 || prefix.subarray(0, 8).toString("latin1") !== "SEALIFT\x01") {
    throw new Refused("header", "it does not begin with SEALIFT and version 1");
  }
  const length = prefix.readUInt32BE(8);
  if (length < 2 || length > MAX_HEADER) throw new Refused("header", `it claims a header of ${length} bytes`);
  const encoded = source.read(length);
  if (encoded.length !== length) throw new Refused("header", "the file ends in its header");
  const header = parse(encoded, HEADER, "header", "the header");
  if (repeats(header.recipients.map((r) => r["x5t#S256"]))) throw new Refused("header", "it names a recipient twice");
  if (header.batch !== manifest.batch || header.name !== file.name || header.plaintext_bytes !== file.plaintext_bytes) {
    throw new Refused("header", "it is the header of another file");
  }
  if (canonical(header.recipients) !== canonical(recipients)) {
    throw new Refused("header", "its recipients are not those of keys.json");
  }
  const fileKey = unwrap(wrappedKeysOf(header.recipients), key);
  const context = crypto.createHash("sha256").update(prefix).update(encoded).digest();
  yield* decryptChunks(source, fileKey, context, file.plaintext_bytes);
}

// The body is C2SP chunked-encryption with AES-256-GCM.
function* decryptChunks(source, fileKey, context, plaintextBytes) {
  const start = source.read(56);
  if (start.length !== 56) throw cannotOpen();
  const info = Buffer.concat([Buffer.from("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"), start.subarray(0, 24), context]);
  const hmac = (...parts) => parts.reduce((mac, part) => mac.update(part), crypto.createHmac("sha512", fileKey)).digest();
  const first = hmac(info, Buffer.of(1));
  const keys = Buffer.concat([first, hmac(first, info, Buffer.of(2))]); // HKDF-Expand, 76 of 128 bytes used
  if (!crypto.timingSafeEqual(keys.subarray(44, 76), start.subarray(24))) throw cannotOpen();
  const low = keys.readBigUInt64BE(36);
  let done = 0;
  for (let index = 0n; ; index++) {
    const sealed = source.read(CHUNK + 16);
    if (sealed.length < 16) throw cannotOpen();
    const nonce = Buffer.from(keys.subarray(32, 44));
    nonce.writeBigUInt64BE(low ^ index, 4); // chunk numbers stay far below 2^64
    const plaintext = decryptChunk(keys.subarray(0, 32), nonce, sealed);
    done += plaintext.length;
    if (done > plaintextBytes) throw cannotOpen();
    yield plaintext;
    if (sealed.length < CHUNK + 16) break;
  }
  if (done !== plaintextBytes) throw cannotOpen();
}

function decryptChunk(key, nonce, sealed) {
  const cipher = crypto.createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
  cipher.setAuthTag(sealed.subarray(-16));
  const plaintext = cipher.update(sealed.subarray(0, -16));
  try {
    cipher.final();
  } catch {
    throw cannotOpen();
  }
  return plaintext;
}

// The SHA-256 of the signed manifest held before; the tag is checked at the end as well.
function openDetached(source, file, recipients, key) {
  const fileKey = unwrap(wrappedKeysOf(recipients), key);
  const [nonce, tag] = [Buffer.from(file.detached.nonce, "hex"), Buffer.from(file.detached.tag, "hex")];
  return decryptMessage(source, fileKey, nonce, file.plaintext_bytes, tag);
}

const SHA256_ALGORITHM = "300d06096086480165030402010500";
const CMS_OAEP = "303c06092a864886f70d010107302fa00f" + SHA256_ALGORITHM + "a11c301a06092a864886f70d010108" + SHA256_ALGORITHM;

// Read AuthEnvelopedData in DER, then its one GCM message.
function openCms(source, file, key) {
  const length = der(source, 0x30, "ContentInfo", { largest: 2 ** 32 });
  const end = source.position + length;
  derIs(source, "060b2a864886f70d0109100117", "authEnvelopedData");
  der(source, 0xa0, "content", { end });
  der(source, 0x30, "AuthEnvelopedData", { end });
  derIs(source, "020100", "version 0");
  const wrapped = cmsRecipients(source.read(der(source, 0x31, "recipientInfos")));
  const mac = end - 18; // the tag as OCTET STRING
  der(source, 0x30, "authEncryptedContentInfo", { end: mac });
  derIs(source, "06092a864886f70d010701301e060960864801650304012e3011040c", "data, aes256-GCM");
  const nonce = Buffer.from(source.read(12));
  derIs(source, "020110", "a tag of 16 bytes");
  if (der(source, 0x80, "ciphertext", { end: mac }) !== file.plaintext_bytes) {
    throw new Refused("header", "its size is not that of the manifest");
  }
  return decryptMessage(source, unwrap(wrapped, key), nonce, file.plaintext_bytes, null);
}

// Read one tag and definite length, in as few bytes as it takes; return the length. `end`: where the element ends.
function der(source, tag, what, { largest = MAX_HEADER, end } = {}) {
  const [found, first] = source.read(2);
  if (found === tag && (first < 0x80 || (first >= 0x81 && first <= 0x84))) {
    const more = first < 0x80 ? Buffer.of(first) : source.read(first - 0x80);
    const length = more.reduce((value, byte) => value * 256 + byte, 0);
    const shortest = first < 0x80 ? 0 : Math.max(0x80, 256 ** (first - 0x81));
    if (length >= shortest && (end === undefined ? length <= largest : source.position + length === end)) return length;
  }
  throw new Refused("header", `it is not CMS in DER: ${what} is wanted`);
}

function derIs(source, wanted, what) {
  if (source.read(wanted.length / 2).toString("hex") !== wanted) {
    throw new Refused("header", `it is not CMS as FORMAT.md says: ${what} is wanted`);
  }
}

const CMS_PKCS1 = "300d06092a864886f70d0101010500";

function cmsRecipients(data, algorithm = CMS_OAEP) {
  const recipients = [];
  const wrapped = [];
  for (const source = new Memory(data); source.position < data.length; ) {
    const size = der(source, 0x30, "a recipient");
    const recipient = source.read(size);
    const inner = new Memory(recipient);
    derIs(inner, "020100", "recipient version 0");
    inner.read(der(inner, 0x30, "issuer and serial number"));
    derIs(inner, algorithm, "the way in which keys.json says that the key is wrapped");
    wrapped.push(Buffer.from(inner.read(der(inner, 0x04, "a wrapped key", { end: size }))));
    if (recipient.length !== size || wrapped.at(-1).length < 384 || wrapped.at(-1).length > 1024) {
      throw new Refused("header", "a recipient of the CMS file is malformed");
    }
    recipients.push(recipient);
  }
  const inOrder = recipients.every((each, i) => i === 0 || Buffer.compare(recipients[i - 1], each) <= 0);
  if (wrapped.length < 1 || wrapped.length > MAX_RECIPIENTS || !inOrder) {
    throw new Refused("header", `the CMS file has ${wrapped.length} recipients, or they are not in DER order`);
  }
  return wrapped;
}

const ARMOURS = {
  "-": { head: "-----BEGIN CMS-----\n", tail: "-----END CMS-----\n", end: "\n" },
  M: {
    head: 'MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name="smime.p7m"\r\n'
      + 'Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="smime.p7m"\r\n\r\n',
    tail: "",
    end: "\r\n",
  },
};
const SEGMENT = 65536;
const SIGNED_HEAD = "308006092a864886f70d010702a0803080020101310f300d060960864801650304020105003080"
  + "06092a864886f70d010701a0802480";
const isZero = (data) => data.every((byte) => byte === 0);

// Exact reads from bytes that come in pieces.
class Pieces {
  constructor(pieces) {
    this.pieces = pieces[Symbol.iterator]();
    this.ahead = Buffer.alloc(0);
    this.position = 0;
  }

  read(count) {
    const parts = [this.ahead];
    for (let have = this.ahead.length; have < count; have += parts.at(-1).length) {
      const { value, done } = this.pieces.next();
      if (done) break;
      parts.push(value);
    }
    const data = parts.length === 1 ? parts[0] : Buffer.concat(parts);
    this.ahead = data.subarray(count);
    const part = data.subarray(0, count);
    this.position += part.length;
    return part;
  }
}

// Return what is inside, and how many bytes of it there are: exactly, or up to two more than in truth where there is armour.
function withoutArmour(source, sealedBytes) {
  const start = Buffer.from(source.read(1));
  const armour = ARMOURS[start.toString("latin1")];
  if (!armour) return [new Pieces(restOf(start, source)), sealedBytes];
  const { head, tail, end } = armour;
  if (source.read(head.length - 1).toString("latin1") !== head.slice(1)) {
    throw new Refused("header", "its armour does not begin as FORMAT.md says");
  }
  const textBytes = sealedBytes - head.length - tail.length;
  const lines = Math.ceil(textBytes / (64 + end.length));
  return [new Pieces(linesOf(source, textBytes, tail, end)), Math.floor((textBytes - lines * end.length) / 4) * 3];
}

function* restOf(start, source) {
  yield start;
  for (let piece = source.read(SEGMENT); piece.length; piece = source.read(SEGMENT)) yield piece;
}

function* linesOf(source, left, tail, end) {
  while (left > 0) {
    const text = source.read(Math.min(left, 1024 * (64 + end.length))).toString("latin1");
    left = text.length ? left - text.length : 0;
    const lines = text.split(end);
    const base64 = lines.join("");
    const data = Buffer.from(base64, "base64");
    const whole = lines.slice(0, left === 0 ? -2 : -1).every((line) => line.length === 64);
    const sound = text.endsWith(end) && whole && data.toString("base64") === base64;
    if (!sound || (left === 0 && tail && source.read(tail.length + 1).toString("latin1") !== tail)) {
      throw new Refused("header", "its armour is not base64 in lines of 64 characters");
    }
    yield data;
  }
}

// Read EnvelopedData in BER; the manifest, which holds its SHA-256, is all that proves its content.
function openSmime(source, file, recipients, key) {
  const [inside, fileBytes] = withoutArmour(source, file.sealed_bytes);
  derIs(inside, "308006092a864886f70d010703a0803080020100", "envelopedData, version 0");
  const infos = inside.read(der(inside, 0x31, "recipientInfos"));
  const isPkcs1 = recipients[0].alg === "RSA1_5";
  const wrapped = cmsRecipients(Buffer.from(infos), isPkcs1 ? CMS_PKCS1 : CMS_OAEP);
  derIs(inside, "308006092a864886f70d010701301d060960864801650304012a0410", "data, aes256-CBC");
  const iv = Buffer.from(inside.read(16));
  derIs(inside, "a080", "segments");
  const unsigned = (Math.floor(file.plaintext_bytes / 16) + 1) * 16;
  const isSigned = fileBytes - inside.position - unsigned - 5 * Math.floor(unsigned / SEGMENT) > 64;
  const fileKey = unwrap(wrapped, key, isPkcs1 ? pkcs1Decrypt : oaepDecrypt);
  const content = decryptCbc(crypto.createDecipheriv("aes-256-cbc", fileKey, iv).setAutoPadding(false), inside);
  return counted(isSigned ? signedContent(content) : content, file.plaintext_bytes);
}

// Yield what is in OCTET STRINGs of 65,536 bytes, of which the last may be shorter, up to two zero bytes.
function* segments(source) {
  for (let before; ; ) {
    const [tag, first] = source.read(2);
    if (tag === 0 && first === 0) return;
    if (tag !== 0x04 || first === undefined || first === 0x80 || first > 0x83) throw cannotOpen();
    const more = first < 0x80 ? Buffer.of(first) : source.read(first - 0x80);
    const size = more.reduce((value, byte) => value * 256 + byte, 0);
    const shortest = first < 0x80 ? 0 : Math.max(0x80, 256 ** (first - 0x81));
    const fits = before === undefined ? size <= SEGMENT : size > 0 && size <= SEGMENT && before === SEGMENT;
    const piece = size >= shortest && fits ? source.read(size) : undefined;
    if (piece?.length !== size) throw cannotOpen();
    yield piece;
    before = size;
  }
}

// Yield the content without its padding; the caller throws everything away unless this ends without an error.
function* decryptCbc(cipher, source) {
  let last = Buffer.alloc(0);
  for (const piece of segments(source)) {
    if (piece.length % 16) throw cannotOpen();
    const content = Buffer.concat([last, cipher.update(piece)]);
    last = content.subarray(-16);
    yield content.subarray(0, -16);
  }
  const ends = source.read(9);
  const count = last.length === 16 ? last[15] : 0;
  const padded = count >= 1 && count <= 16 && last.subarray(-count).every((byte) => byte === count);
  if (ends.length !== 8 || !isZero(ends) || !padded) throw cannotOpen();
  yield last.subarray(0, -count);
}

// Yield what a SignedData holds. Its signature says no more than that of the manifest, and is left alone.
function* signedContent(content) {
  const source = new Pieces(content);
  if (source.read(SIGNED_HEAD.length / 2).toString("hex") !== SIGNED_HEAD) throw cannotOpen();
  yield* segments(source);
  const rest = source.read(65537);
  if (rest.length > 65536 || rest.length < 10 || !isZero(rest.subarray(0, 4)) || !isZero(rest.subarray(-6))) throw cannotOpen();
}

function* counted(pieces, plaintextBytes) {
  let done = 0;
  for (const piece of pieces) {
    done += piece.length;
    if (done > plaintextBytes) break;
    yield piece;
  }
  if (done !== plaintextBytes) throw cannotOpen();
}

// Decrypt one AES-256-GCM message; the caller throws everything away unless this ends without an error.
function* decryptMessage(source, fileKey, nonce, plaintextBytes, tag) {
  const cipher = crypto.createDecipheriv("aes-256-gcm", fileKey, nonce, { authTagLength: 16 });
  for (let missing = plaintextBytes; missing > 0; ) {
    const block = source.read(Math.min(BLOCK, missing));
    if (block.length === 0) throw cannotOpen();
    missing -= block.length;
    yield cipher.update(block);
  }
  if (tag === null) {
    const mac = source.read(18);
    if (mac.length !== 18 || mac[0] !== 0x04 || mac[1] !== 0x10) throw cannotOpen();
    tag = mac.subarray(2);
  }
  if (source.read(1).length !== 0) throw cannotOpen();
  cipher.setAuthTag(tag);
  try {
    cipher.final();
  } catch {
    throw cannotOpen();
  }
}

const partOf = (out, file) => path.join(out, `${file.name}.part`);

// Open one file into out/NAME.part, which nobody else may have: it also keeps other runs away.
function writePart(folder, manifest, file, recipients, key, out) {
  const part = partOf(out, file);
  const source = new Source(path.join(folder, file.sealed_name), file.sealed_bytes + 1);
  try {
    const sink = openNew(part);
    let whole = false;
    try {
      refuseExisting(out, file);
      const pieces =
        file.format === "native" ? openNative(source, manifest, file, recipients, key)
        : file.format === "detached" ? openDetached(source, file, keyFileChecked(folder, file, recipients), key)
        : file.format === "smime" ? openSmime(source, file, recipients, key)
        : openCms(source, file, key);
      for (const piece of pieces) writeAll(sink, piece);
      if (source.position !== file.sealed_bytes || source.digest.digest("hex") !== file.sealed_sha256) {
        throw new Refused("file", "it was replaced while it was opened");
      }
      fs.fsyncSync(sink);
      whole = true;
    } finally {
      fs.closeSync(sink);
      if (!whole) fs.rmSync(part, { force: true });
    }
  } finally {
    source.close();
  }
}

function refuseExisting(out, file) {
  if (fs.lstatSync(path.join(out, file.name), { throwIfNoEntry: false })) {
    throw new Refused("usage", `${file.name} is already in the output folder`);
  }
}

function openNew(part) {
  try {
    return fs.openSync(part, "wx");
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    const name = path.basename(part);
    throw new Refused("usage", `${name} is in the output folder: another run writes it, or a killed one left it; then delete it`);
  }
}

function writeAll(sink, piece) {
  for (let done = 0; done < piece.length; ) done += fs.writeSync(sink, piece, done);
}

function keyFileChecked(folder, file, recipients) {
  const stored = readSmall(path.join(folder, file.detached.key_name), 1024, "file");
  if (!stored.equals(wrappedKeysOf(recipients)[0])) {
    throw new Refused("keys", `${file.detached.key_name} is not the key of keys.json`);
  }
  return recipients;
}

// The last batch of each feed that was opened: a line `partner.feed sequence manifest-sha256` for each, in one file.
// FILE.part exists as long as this run does: two runs never judge by the same state.
class State {
  constructor(file, accept, say) {
    this.file = file;
    this.accept = accept;
    this.say = say;
    this.part = `${file}.part`;
    this.known = new Map();
    try {
      fs.closeSync(fs.openSync(this.part, "wx"));
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      throw new Refused("usage", `${this.part} is there: another run works with this state, or a killed one left it; then delete it`);
    }
    try {
      this.load();
    } catch (error) {
      this.close();
      throw error instanceof Refused ? new Refused("usage", `${file}: ${error.text}`) : error;
    }
  }

  load() {
    if (!fs.lstatSync(this.file, { throwIfNoEntry: false })) return;
    const text = readSmall(this.file, 1048576, "usage").toString("latin1");
    for (const line of text.split("\n").filter((each) => each)) {
      const found = /^([A-Za-z0-9][A-Za-z0-9._-]{0,128}) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64})$/.exec(line);
      if (!found) throw new Refused("usage", "this is not a state file of these openers");
      this.known.set(found[1], [Number(found[2]), found[3]]);
    }
  }

  close() {
    fs.rmSync(this.part, { force: true });
  }

  // Refuse, or with `accept` only report, a batch that does not follow the last one.
  check(feed, manifest, digest) {
    const { sequence, previous_manifest_sha256: previous } = manifest;
    if (!this.known.has(feed)) {
      this.say(`note: no batch of ${feed} was opened with this state before: there is nothing to compare with`);
      return;
    }
    const [last, lastDigest] = this.known.get(feed);
    let text;
    if (sequence > last + 1) text = `sequence ${sequence} follows ${last}: ${sequence - last - 1} before it were skipped`;
    else if (sequence < last) text = `sequence ${sequence} is older than ${last}, the last that was opened`;
    else if (sequence === last) text = `sequence ${sequence} was opened before${digest === lastDigest ? "" : ", from another manifest"}`;
    else if (previous !== null && previous !== lastDigest) {
      text = `sequence ${sequence} names another manifest before it than the one that was opened`;
    } else return;
    if (!this.accept) throw new Refused("sequence", text);
    this.say(`note: ${text}`);
  }

  // Write the state anew, if this batch is newer than what it holds.
  remember(feed, manifest, digest) {
    if (this.known.has(feed) && manifest.sequence <= this.known.get(feed)[0]) return;
    this.known.set(feed, [manifest.sequence, digest]);
    const lines = [...this.known].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, [sequence, seen]]) => `${name} ${sequence} ${seen}\n`);
    const sink = fs.openSync(this.part, "w");
    try {
      writeAll(sink, Buffer.from(lines.join("")));
      fs.fsyncSync(sink);
    } finally {
      fs.closeSync(sink);
    }
    fs.renameSync(this.part, this.file);
  }
}

function openBatch(given, key, sender, out, { batch, strict = false, say = console.log, feed, state } = {}) {
  const [folder, prefix] = findBatch(given, batch);
  const [manifest, recipients, digest] = readBatch(folder, prefix, sender);
  const own = `${manifest.partner}.${manifest.feed}`;
  say(`batch ${manifest.batch}: sequence ${manifest.sequence}, manifest ${digest}, previous ${manifest.previous_manifest_sha256 ?? "none"}`);
  if (feed !== undefined && feed !== own) throw new Refused("feed", `this is a batch of ${own}, not of ${feed}`);
  state?.check(own, manifest, digest);
  checkFiles(folder, manifest);
  const extra = unlisted(folder, prefix, manifest);
  if (extra.length && strict) throw new Refused("extra", `${extra[0]} is in the folder but not in the manifest`);
  refuseOpenPgp(manifest);
  fs.mkdirSync(out, { recursive: true });
  openFiles(folder, manifest, recipients, key, out);
  state?.remember(own, manifest, digest);
  for (const file of manifest.files) say(`opened ${file.name} (${file.plaintext_bytes} bytes)`);
  if (extra.length === 1) say(`note: ${extra[0]} is not in this manifest and was not touched`);
  else if (extra.length) say(`note: ${extra.length} other files are in the folder and were not touched`);
}

// The batch was verified; its OpenPGP files are for an OpenPGP program, which has the key that opens them.
function refuseOpenPgp(manifest) {
  const found = manifest.files.find((file) => file.format === "openpgp");
  if (found) throw new Refused("openpgp", `${found.sealed_name} is an OpenPGP file: this program does not open it, gpg does (OPENPGP.md)`);
}

// Open every file to NAME.part, then rename all; when one is refused, none is left.
function openFiles(folder, manifest, recipients, key, out) {
  const written = new Set();
  try {
    for (const file of manifest.files) {
      try {
        writePart(folder, manifest, file, recipients.get(file.sealed_name), key, out);
      } catch (error) {
        throw error instanceof Refused ? new Refused(error.kind, `${file.sealed_name}: ${error.text}`) : error;
      }
      written.add(file);
    }
    for (const file of manifest.files) {
      refuseExisting(out, file);
      fs.renameSync(partOf(out, file), path.join(out, file.name));
      written.delete(file);
    }
  } finally {
    for (const file of written) fs.rmSync(partOf(out, file), { force: true });
  }
}

// --------------------------------------------------------------------------------------------- keys and command line

function readPem(file) {
  try {
    return readSmall(file, 262144, "usage");
  } catch (error) {
    if (error instanceof Refused) throw new Refused("usage", `${path.dirname(file)}${path.sep}${error.text}`);
    throw new Refused("usage", `${file} cannot be read: ${error.code}`);
  }
}

function loadPrivateKey(file) {
  let key;
  try {
    key = crypto.createPrivateKey({ key: readPem(file), passphrase: process.env.SEALIFT_KEY_PASSWORD });
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused("usage", `${file} is not a PEM private key, or SEALIFT_KEY_PASSWORD is wrong`);
  }
  if (key.asymmetricKeyType !== "rsa") throw new Refused("usage", `${file} is not an RSA key`);
  return key;
}

function loadSender(file) {
  let key;
  try {
    key = crypto.createPublicKey(readPem(file)); // a certificate or a public key
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused("usage", "the sender's file is neither a PEM certificate nor a PEM public key");
  }
  if (key.asymmetricKeyType !== "rsa" || key.asymmetricKeyDetails.modulusLength < 3072) {
    throw new Refused("usage", "the sender's key is not RSA of 3072 bits or more");
  }
  return key;
}

// Prove this program on the test vectors: good batches open, bad ones are refused for the expected reason.
function runVectors(folder) {
  const names = namesIn(folder).filter((name) => name.endsWith(".json"));
  let failed = 0;
  for (const name of names) {
    const vector = JSON.parse(fs.readFileSync(path.join(folder, name), "latin1"));
    const work = fs.mkdtempSync(path.join(os.tmpdir(), "vector-"));
    const [inbox, out] = [path.join(work, "in"), path.join(work, "out")];
    fs.mkdirSync(inbox);
    fs.mkdirSync(out);
    let got = "ok";
    try {
      for (const [stored, content] of Object.entries(vector.files)) {
        fs.writeFileSync(path.join(inbox, stored), Buffer.from(content, "base64"));
      }
      const key = loadPrivateKey(path.join(folder, "keys", `${vector.key}.key.pem`));
      const sender = loadSender(path.join(folder, "keys", `${vector.sender}.pub.pem`));
      openBatch(inbox, key, sender, out, { batch: vector.batch, strict: vector.strict, say: () => {} });
    } catch (error) {
      got = error instanceof Refused ? error.kind : String(error.stack);
    }
    const opened = Object.fromEntries(namesIn(out).map((each) => [each, measure(path.join(out, each), 2 ** 52)[1]]));
    fs.rmSync(work, { recursive: true });
    const [want, have] = [`${vector.expect} ${canonical(vector.plaintexts)}`, `${got} ${canonical(opened)}`];
    if (want !== have) {
      failed++;
      console.log(`FAIL ${name}: expected ${want}, got ${have}`);
    }
  }
  console.log(`${names.length} vectors, ${failed} failed`);
  return failed || names.length === 0 ? 1 : 0;
}

const USAGE = `usage: node open.mjs FOLDER --key PRIVATE.pem --sender SENDER.pem --out DIR [--batch ID] [--strict]
                     [--feed PARTNER.FEED] [--state FILE] [--accept-sequence]
       node open.mjs --vectors DIR

FOLDER is where the batch lies, or its manifest.json. --batch chooses when the folder holds several. --strict refuses
a folder that holds anything beside this batch. --feed refuses batches of any other feed. --state remembers the last batch
of each feed in FILE and refuses one out of order, or with --accept-sequence reports and opens it. --vectors proves this program on the test vectors.`;

function main() {
  const text = { type: "string" };
  const flag = { type: "boolean" };
  let parsed;
  try {
    const options = { key: text, sender: text, out: text, batch: text, vectors: text, feed: text, state: text, strict: flag, "accept-sequence": flag, help: { ...flag, short: "h" } };
    parsed = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    console.error(`error: ${error.message}\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.vectors) return runVectors(values.vectors);
  if (positionals.length !== 1 || !values.key || !values.sender || !values.out) {
    console.error(USAGE);
    return 2;
  }
  let state;
  try {
    const [key, sender] = [loadPrivateKey(values.key), loadSender(values.sender)];
    if (values.state) state = new State(values.state, values["accept-sequence"], console.log);
    openBatch(positionals[0], key, sender, values.out, { ...values, state });
  } catch (error) {
    if (!(error instanceof Refused) && !error.code) throw error;
    console.error(error instanceof Refused ? `error: ${error.message}` : `error: io: ${error.message}`);
    return error.kind === "usage" ? 2 : error instanceof Refused ? 1 : 3;
  } finally {
    state?.close();
  }
  return 0;
}

// For tests alone.
export { Memory, decryptChunks, decryptMessage, isSigned, oaepDecrypt };

if (process.argv[1] && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) process.exitCode = main();
