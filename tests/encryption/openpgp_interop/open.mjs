// Opens every message of a folder with openpgp.js and prints what was in it, one JSON line a message.
// node open.mjs FOLDER KEY.asc SENDER.asc
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import * as openpgp from 'openpgp'

const [folder, keyFile, senderFile] = process.argv.slice(2)
const decryptionKeys = await openpgp.readPrivateKey({ armoredKey: readFileSync(keyFile, 'utf8') })
const verificationKeys = await openpgp.readKey({ armoredKey: readFileSync(senderFile, 'utf8') })
for (const name of readdirSync(folder).sort()) {
  const bytes = readFileSync(`${folder}/${name}`)
  const message = name.endsWith('.asc')
    ? await openpgp.readMessage({ armoredMessage: bytes.toString() })
    : await openpgp.readMessage({ binaryMessage: new Uint8Array(bytes) })
  const opened = await openpgp.decrypt({ message, decryptionKeys, verificationKeys, expectSigned: true, format: 'binary' })
  await opened.signatures[0].verified
  const sha256 = createHash('sha256').update(opened.data).digest('hex')
  console.log(JSON.stringify({ message: name, sha256, name: opened.filename }))
}
