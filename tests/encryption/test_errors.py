from __future__ import annotations

import pytest

from encryption import errors

LEAVES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.EncryptionError)]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_error_is_in_the_drawing_with_its_status(leaf: type[errors.EncryptionError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if leaf.__name__ in line.split()]

    if leaf is not errors.EncryptionError and "├──" in (line := lines[0]) and line.rstrip()[-3:].isdigit():
        assert line.rstrip().endswith(str(leaf.status))
    assert len(lines) >= 1 or leaf is errors.EncryptionError
    assert leaf.transient == (leaf is errors.VaultUnreachable)


def test_a_hint_can_be_given_or_is_the_leaf_s_own() -> None:
    assert errors.SizeMismatch("x").hint == errors.SizeMismatch.default_hint
    assert errors.SizeMismatch("x", hint="y").hint == "y"
    assert errors.SizeMismatch("x").message == str(errors.SizeMismatch("x")) == "x"


def test_cannot_open_has_one_text_only() -> None:
    assert str(errors.CannotOpen()) == str(errors.CannotOpen())
    with pytest.raises(TypeError):
        errors.CannotOpen("the tag is wrong")  # type: ignore[call-arg]
