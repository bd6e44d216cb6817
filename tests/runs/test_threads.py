import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from diffsynth.runs.threads import threads


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_as_many_threads_as_asked_for_and_then_as_before():
    before = torch.get_num_threads(), blas_threads()
    with threads(before[0] + 1):
        assert torch.get_num_threads() == before[0] + 1
        with threads(1):
            assert torch.get_num_threads() == 1
            assert set(blas_threads()) == {1}
        assert torch.get_num_threads() == before[0] + 1
    assert (torch.get_num_threads(), blas_threads()) == before


def test_as_before_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
