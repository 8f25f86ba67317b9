"""The one error class for bad input."""

from __future__ import annotations

import pytest
from scripts.errors import InputError


def test_bad_input_is_a_value_error_that_says_its_message_alone() -> None:
    with pytest.raises(ValueError, match=r"^volume\.tif: found 2 axes, expected 3\.$") as caught:
        raise InputError("volume.tif: found 2 axes, expected 3.")
    assert caught.type is InputError
