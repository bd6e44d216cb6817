"""Reports of all variants and bounds."""

import pytest
from support.scores import BOUNDS, TIMINGS, VARIANTS, bound, report, values, write


@pytest.fixture
def reports(tmp_path):
    for model, block in VARIANTS:
        write(tmp_path / "metrics", model, block, report(model, block))
        numbers = values(model, block)
        write(tmp_path / "timings", model, block, {name: numbers[name] for name in TIMINGS})
    for name in BOUNDS:
        write(tmp_path / "metrics", name, "bounds", {"model": name, "metrics": bound(name).values})
    return tmp_path / "metrics"
