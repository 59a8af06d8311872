"""Partner files are read by libyaml, and what is wrong is worded by the loader in Python."""

from __future__ import annotations

import pytest
import yaml

from partners.loading import EXAMPLES, FOLDER
from partners.places import MOST_LEVELS, Document, Misread, _StrictLoader

FILES = sorted([*FOLDER.glob("*.yaml"), *EXAMPLES.glob("*.yaml")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_loaders_read_the_same(path: object) -> None:
    content = path.read_bytes()  # type: ignore[attr-defined]
    slow = _StrictLoader(content.decode())
    root = slow.get_single_node()

    found = Document(content)

    assert found.data == slow.construct_document(root)
    assert found.line_of(tuple(found.data)[-1:]) == root.value[-1][0].start_mark.line + 1


def test_good_files_never_need_the_loader_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partners.places._StrictLoader", None)

    assert Document(b"a: [1, {b: 2026-11-21}]\n").data["a"][0] == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\na: 2\n", 2, "the key a is written twice"),
        ("a: 2026-13-45\n", 1, "this is not a value of type timestamp"),
        ("a: [1\nb: 2\n", 2, "flow sequence"),
        ("[" * 5000, 1, f"more than {MOST_LEVELS} deep"),
    ],
)
def test_faults_keep_their_words_and_lines(text: str, line: int, words: str) -> None:
    with pytest.raises(Misread, match=words) as caught:
        Document(text.encode())

    assert caught.value.line == line


def test_libyaml_is_there() -> None:
    assert yaml.__with_libyaml__
