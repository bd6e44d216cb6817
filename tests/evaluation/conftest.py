"""What tests of the evaluation share."""

import sys

import pytest


@pytest.fixture(scope="module")
def without_extras():
    """As if no optional package were installed: Zimtohrli takes longer than all other metrics together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "zimtohrli", None)
        yield
