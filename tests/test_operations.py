"""docs/operations.md, settings.md and events.md say what is so: the verbs, the ledger's steps, host.json's values, the events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest


def page(repository: Path, name: str) -> str:
    return (repository / "docs" / f"{name}.md").read_text()


@pytest.fixture
def text(repository: Path) -> str:
    return page(repository, "operations")


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield a setting as the page names it, with its value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif path[0] not in ("version", "extensionBundle"):
        yield ".".join(path[1:] if path[0] == "extensions" else path), str(value)


def code(repository: Path) -> str:
    return "\n".join(
        path.read_text() for path in [*(repository / "batches").glob("*.py"), repository / "function_app.py"]
    )


def test_every_value_of_host_json_is_explained(repository: Path) -> None:
    text = page(repository, "settings")
    for name, value in leaves(json.loads((repository / "host.json").read_text())):
        assert re.search(rf"^\| `{re.escape(name)}` \| `?{re.escape(value)}`? \| .{{20,}} \|$", text, re.MULTILINE), (
            name,
            value,
        )


def test_every_event_is_named(repository: Path) -> None:
    text = page(repository, "events")
    events = set(re.findall(r'log_(?:event|failure)\(\s*"([a-z._]+)"', code(repository)))

    assert len(events) > 8
    assert [event for event in sorted(events) if f"`{event}`" not in text] == []


def test_every_step_of_the_ledger_is_named(repository: Path, text: str) -> None:
    steps = set(re.findall(r'\bNote\(\s*"([a-z ]+)"', code(repository)))

    assert len(steps) > 6
    assert [step for step in sorted(steps) if f"`{step}`" not in text] == []


def test_every_verb_is_named(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    from cli.batch import main

    with pytest.raises(SystemExit):
        main(["--help"])

    verbs = re.findall(r"^    ([a-z]+) {2,}", capsys.readouterr().out, re.MULTILINE)
    assert len(verbs) == 7
    assert [verb for verb in verbs if f"./sealift batch {verb}" not in text] == []
