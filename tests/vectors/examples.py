"""Print section 16 of docs/FORMAT.md from the vectors; a test holds the page against it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from encoder import BATCH, Chance, plaintext_of  # noqa: E402  # this folder is on the path only from here on


def stored(vector: str) -> dict[str, bytes]:
    found: dict[str, Any] = json.loads((HERE / f"{vector}.json").read_bytes())
    return {name: base64.b64decode(content) for name, content in found["files"].items()}


def hexadecimal(data: bytes, indent: int = 0) -> str:
    lines = [data[start : start + 32].hex() for start in range(0, len(data), 32)]
    return ("\n" + " " * indent).join(lines)


def folded(data: bytes, width: int = 120) -> str:
    text = data.decode()
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


def section() -> str:
    native, file_key = stored("native_size_1"), Chance("native_size_1")(32)
    sealed = native["a.csv.sealed"]
    end = 12 + int.from_bytes(sealed[8:12], "big")
    context, salt = hashlib.sha256(sealed[:end]).digest(), sealed[end : end + 24]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context
    first = hmac.digest(file_key, info + b"\x01", "sha512")
    okm = (first + hmac.digest(file_key, first + info + b"\x02", "sha512"))[:76]
    detached = stored("detached_size_1")
    outside = json.loads(detached[f"{BATCH}.manifest.json"])["files"][0]["detached"]
    return f"""## 16. Examples

All from `vectors/`, whose keys open them. Long lines are folded here; in the files there are no line ends.

**native** (`native_size_1.json`): one byte of plaintext, {plaintext_of("a.csv", 1).hex()}.

```
prefix      {sealed[:12].hex()}   "SEALIFT", version 1, header of {end - 12} bytes
header
{folded(sealed[12:end])}
context     {context.hex()}
file key    {file_key.hex()}
salt        {salt.hex()}
key         {okm[:32].hex()}
base        {okm[32:44].hex()}
commitment  {okm[44:].hex()}
body        {hexadecimal(sealed[end:], 12)}
            salt, commitment, then chunk 0: 1 byte of ciphertext and 16 bytes of tag
```

Its manifest:

```
{folded(native[f"{BATCH}.manifest.json"])}
```

Its keys.json:

```
{folded(native[f"{BATCH}.keys.json"])}
```

**detached** (`detached_size_1.json`): one byte of plaintext, {plaintext_of("d.csv", 1).hex()}.

```
file key    {Chance("detached_size_1")(32).hex()}
nonce       {outside["nonce"]}
tag         {outside["tag"]}
d.csv.enc   {detached["d.csv.enc"].hex()}
d.csv.key   {hexadecimal(detached["d.csv.key"], 12)}
```

**cms** (`cms_size_1.json`): one byte of plaintext, {plaintext_of("c.csv", 1).hex()}; the whole file.

```
file key    {Chance("cms_size_1")(32).hex()}
c.csv.cms   {hexadecimal(stored("cms_size_1")["c.csv.cms"], 12)}
```
"""


if __name__ == "__main__":
    print(section(), end="")
