"""A switch is what it says, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest
from scripts.command.flag import flag
from scripts.errors import InputError


@pytest.mark.parametrize("value", [True, 1, "true", "True", "TRUE", "1"])
def test_yes(value: Any) -> None:
    assert flag(value, "amp") is True


@pytest.mark.parametrize("value", [False, 0, "false", "False", "0", None, "None"])
def test_no_is_not_yes_for_being_a_text(value: Any) -> None:
    assert flag(value, "amp") is False


@pytest.mark.parametrize("value", ["yes", "", 2, 0.5, [True]])
def test_anything_else_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InputError, match="expected true or false"):
        flag(value, "amp")
