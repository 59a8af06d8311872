"""YAML as partner files are written: read strictly, and every value remembered with its line.

    SafeLoader, and: no key twice, at most MOST_BYTES and MOST_LEVELS, no value that its own tag forbids

Anything that cannot be read is one `Misread` with a line. It knows nothing of partners: what the values mean is the model's.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import yaml

MOST_BYTES: Final = 262_144
MOST_LEVELS: Final = 32
_MOST_CHARACTERS: Final = 300  # of one fault


class Misread(Exception):
    """A text is not YAML as we read it: `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = plain(problem)


class _Strict(yaml.constructor.SafeConstructor):
    """YAML without its traps: a key written twice silently wins, and a bad date is an error without a place."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"this is not a value of type {kind}: {error}", node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = f"{key.tag} {key.value}" if isinstance(key, yaml.ScalarNode) else ""
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is written twice", key.start_mark
                )
            seen |= {name} - {""}
        return super().construct_mapping(node, deep)


class _StrictLoader(_Strict, yaml.SafeLoader):
    """Names every fault with its place, in Python alone."""

    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._level += 1
        if self._level > MOST_LEVELS:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, f"it is nested more than {MOST_LEVELS} deep", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._level -= 1


class _FastLoader(_Strict, yaml.CSafeLoader):
    """Reads what has no fault, by libyaml: ten times as fast. It must not be given what is nested deeply: it recurses in C."""


class Document:
    """One YAML file: `data`, and the line of every place in it."""

    def __init__(self, content: bytes) -> None:
        """Read the file's bytes; raises Misread for whatever is not YAML as we read it."""
        if len(content) > MOST_BYTES:
            raise Misread(1, f"the file has {len(content):,} bytes; {MOST_BYTES:,} are the most")
        self._root: yaml.Node | None = None
        self.data: Any = None
        try:
            self._read(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Misread(_line_at(content[: error.start]), "this is not UTF-8") from None
        except yaml.reader.ReaderError as error:
            text = content.decode("utf-8")
            raise Misread(
                _line_at(text[: error.position].encode()), f"the character {error.character!r} is not allowed"
            ) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = ", ".join(each for each in (error.context, error.problem) if each)
            raise Misread(mark.line + 1 if mark else 1, words or "this is not YAML") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise Misread(1, f"this is not YAML: {type(error).__name__}") from None

    def _read(self, text: str) -> None:
        """Read the text; where libyaml finds a fault, the loader in Python words it, or finds none."""
        try:
            if _is_flat(text):
                self._load(_FastLoader(text))
                return
        except (yaml.YAMLError, RecursionError):
            pass
        self._load(_StrictLoader(text))

    def _load(self, loader: _StrictLoader | _FastLoader) -> None:
        self._root = loader.get_single_node()
        self.data = None if self._root is None else loader.construct_document(self._root)

    def line_of(self, place: tuple[int | str, ...]) -> int:
        """Return the line of a place such as ("feeds", "accruals", "days", 0), or of the nearest one around it."""
        node, line = self._root, 1
        for part in place:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
                if found is not None:
                    line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
        return line


def _is_flat(text: str) -> bool:
    """Whether nothing is nested so deeply that it might be refused. Raises YAMLError."""
    level = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level >= MOST_LEVELS - 1:
            return False
    return True


def plain(text: str) -> str:
    """Return a fault's words on one line, short, and without characters that a log or a terminal would stumble over."""
    shown = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
    return shown if len(shown) <= _MOST_CHARACTERS else shown[: _MOST_CHARACTERS - 1] + "…"


def _line_at(before: bytes) -> int:
    return before.count(b"\n") + 1
