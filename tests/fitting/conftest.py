"""What tests of the fit share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def fewer_frames():
    """Levels of a quarter of the frames tell the same of a minute, and take a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffsynth.fitting.balance.MOST", 2000)
        yield
