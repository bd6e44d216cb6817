"""Seeds of what layers drop, one for each row of a batch, so that its division does not matter."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_SEEDS: ContextVar[Sequence[int]] = ContextVar("seeds of rows", default=())


@contextmanager
def seeded_rows(seeds: Sequence[int]) -> Iterator[None]:
    """Rows have these seeds while it lasts, in this thread."""
    token = _SEEDS.set(seeds)
    try:
        yield
    finally:
        _SEEDS.reset(token)


def row_seeds() -> Sequence[int]:
    """Seeds of the rows; none if nobody has set any."""
    return _SEEDS.get()
