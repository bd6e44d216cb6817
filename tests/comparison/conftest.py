"""Reports of all variants and bounds."""

import pytest
from support.scores import write_all


@pytest.fixture
def reports(tmp_path):
    return write_all(tmp_path)
