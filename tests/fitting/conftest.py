"""What tests of the fit share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def quick_balance(fewer_frames):
    """All fits here take fewer frames."""
