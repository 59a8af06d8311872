"""Small changes to bytes and documents, for scenarios that break one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]


def flip(data: bytes, position: int, bit: int = 1) -> bytes:
    changed = bytearray(data)
    changed[position] ^= bit
    return bytes(changed)


def setting(member: str, value: Any) -> Callable[[Document], object]:
    return lambda document: document.update({member: value})


def without(member: str) -> Callable[[Document], object]:
    return lambda document: document.pop(member)
