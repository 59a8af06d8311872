"""The vectors of C2SP/wycheproof against every opener of the kit: what it calls valid opens, what it calls invalid is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from test_openers import KIT, java_classes, node

VECTORS = KIT.parent / "tests" / "vectors" / "wycheproof"
HERE = Path(__file__).parent
__all__ = ["java_classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    line: str  # what a driver gets
    result: str  # valid, invalid, or acceptable
    answer: str  # of a driver, when it is accepted


def cases_of(file: str) -> Iterator[Case]:
    for group in json.loads((VECTORS / f"{file}.json").read_bytes())["testGroups"]:
        for test in group["tests"]:
            line, answer = FORMS[file.split("_", maxsplit=2)[0] + file.split("_", maxsplit=2)[1]](group, test)
            yield Case(name=f"{file} {test['tcId']}", line=line, result=test["result"], answer=answer)


def oaep(group: dict[str, Any], test: dict[str, Any]) -> tuple[str, str]:
    return f"oaep {group['privateKeyPkcs8']} {test['ct'] or '-'}", test["msg"] or "-"


def pss(group: dict[str, Any], test: dict[str, Any]) -> tuple[str, str]:
    return f"pss {group['publicKeyDer']} {test['msg'] or '-'} {test['sig'] or '-'}", "true"


def gcm(group: dict[str, Any], test: dict[str, Any]) -> tuple[str, str]:
    return f"gcm {test['key']} {test['iv']} {test['ct'] or '-'} {test['tag']}", test["msg"] or "-"


def chunked(group: dict[str, Any], test: dict[str, Any]) -> tuple[str, str]:
    """The size that is declared is the one that the chunks add up to, so that it is never what refuses them."""
    sealed = zlib.decompress(bytes.fromhex(test["ct"]))
    body = max(0, len(sealed) - 56)
    chunks = body // 16_400 + (body % 16_400 > 0)
    size = test["msgLength"] if test["result"] == "valid" else max(0, body - 16 * chunks)
    return f"chunked {test['key']} {test['ctx'] or '-'} {sealed.hex() or '-'} {size}", test.get("msgSha512", "")


FORMS: dict[str, Callable[[dict[str, Any], dict[str, Any]], tuple[str, str]]] = {
    "rsaoaep": oaep,
    "rsapss": pss,
    "aesgcm": gcm,
    "c2spchunked": chunked,
}
FILES = sorted(path.stem for path in VECTORS.glob("*.json"))


@pytest.mark.parametrize(("file", "most"), [(file, 25) for file in FILES])
def test_every_file_has_cases_of_both_kinds(file: str, most: int) -> None:
    results = [case.result for case in cases_of(file)]

    assert len(results) >= most
    assert {"valid", "invalid"} <= set(results)


def wrong(cases: list[Case], answers: list[str]) -> list[str]:
    assert len(cases) == len(answers)
    return [
        case.name
        for case, answer in zip(cases, answers, strict=True)
        if (case.result == "valid" and answer != case.answer)
        or (case.result == "invalid" and answer not in ("refused", "false"))
    ]


@pytest.fixture(scope="module")
def python_opener() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kit_opener", KIT / "open.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES)
def test_open_py_agrees(file: str, python_opener: ModuleType) -> None:
    cases = list(cases_of(file))

    assert wrong(cases, [answer_of_python(python_opener, *case.line.split(" ")) for case in cases]) == []


def answer_of_python(kit: ModuleType, kind: str, *texts: str) -> str:
    size = int(texts[3]) if kind == "chunked" else 0
    key, *rest = (b"" if text == "-" else bytes.fromhex(text) for text in (texts[:3] if kind == "chunked" else texts))
    try:
        if kind == "oaep":
            private: Any = serialization.load_der_private_key(key, None)
            return private.decrypt(rest[0], kit.OAEP).hex() or "-"
        if kind == "pss":
            public: Any = serialization.load_der_public_key(key)
            public.verify(rest[1], rest[0], kit.PSS, hashes.SHA256())
            return "true"
        if kind == "gcm":
            pieces = kit.decrypt_message(kit.Source(io.BytesIO(rest[1])), key, rest[0], len(rest[1]), rest[2])
            return b"".join(pieces).hex() or "-"
        pieces = kit.decrypt_chunks(kit.Source(io.BytesIO(rest[1])), key, rest[0], size)
        return hashlib.sha512(b"".join(pieces)).hexdigest()
    except (kit.Refused, InvalidSignature, ValueError):
        return "refused"


@pytest.mark.parametrize("language", ["node", "java"])
def test_the_openers_without_libraries_agree(language: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    cases = [case for file in FILES for case in cases_of(file)]
    (tmp_path / "cases").write_text("".join(f"{case.line}\n" for case in cases))
    if language == "node":
        program = node()
        if program is None:
            pytest.skip("node 18 or newer is not installed")
        command = [program, str(HERE / "wycheproof_driver.mjs"), str(KIT / "open.mjs")]
    else:
        classes = request.getfixturevalue("java_classes")
        subprocess.run(["javac", "-cp", classes, "-d", tmp_path, HERE / "WycheproofDriver.java"], check=True)
        command = ["java", "-cp", f"{classes}:{tmp_path}", "WycheproofDriver"]

    done = subprocess.run([*command, str(tmp_path / "cases")], capture_output=True, text=True)

    assert done.stderr == ""
    assert wrong(cases, done.stdout.splitlines()) == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("script", "function", "file"),
    [
        ("open-detached.sh", "unwrap", "rsa_oaep_3072_sha256_mgf1sha256_test"),
        ("open-detached.sh", "verify", "rsa_pss_3072_sha256_mgf1_32_test"),
        ("open-cms.sh", "verify", "rsa_pss_3072_sha256_mgf1_32_test"),
    ],
)
def test_the_functions_of_the_shell_openers_agree(script: str, function: str, file: str, tmp_path: Path) -> None:
    """They are taken out of the script as they are; the length of a signature is checked beside `verify`, so here as well."""
    found = re.search(rf"(?ms)^{function}\(\) {{.*?^}}$", (KIT / script).read_text())
    assert found is not None
    cases = list(cases_of(file))
    calls = []
    for number, case in enumerate(cases):
        _, key, *values = case.line.split(" ")
        for name, value in zip(("key", "one", "two"), (key, *values), strict=False):
            (tmp_path / f"{number}.{name}").write_bytes(b"" if value == "-" else bytes.fromhex(value))
        if function == "unwrap":
            calls.append(f'answer=$(unwrap {number}.one -inkey {number}.key -keyform DER); echo "${{answer:-refused}}"')
        else:
            verified = f"verify {number}.key {number}.two {number}.one"
            calls.append(f'[ "$(wc -c <{number}.two)" -eq 384 ] && {verified} && echo true || echo refused')
    (tmp_path / "run.sh").write_text(f"{found[0]}\n" + "\n".join(calls) + "\n")

    done = subprocess.run(["sh", "run.sh"], capture_output=True, text=True, cwd=tmp_path)

    answers = done.stdout.splitlines()
    # An empty message and a refusal look the same in a shell: unwrapped keys are never empty.
    kept = [(case, answer) for case, answer in zip(cases, answers, strict=True) if case.answer != "-"]
    assert wrong([case for case, _ in kept], [answer for _, answer in kept]) == []
