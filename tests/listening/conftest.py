"""What tests of listening share."""

import pytest
from support.listening_sounds import write_sounds


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder of short sounds by several systems."""
    root = tmp_path_factory.mktemp("sounds")
    write_sounds(root)
    return root
