"""The processes that train one network together, each on its rows of every batch."""

from torch import Tensor


class Ranks:
    """One process alone: nothing is shared.

    Attributes:
        rank: number of this process, from 0 on.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def rows(self, size: int) -> slice:
        """The rows of a batch of so many that this process takes."""
        return slice(size * self.rank // self.count, size * (self.rank + 1) // self.count)

    def add(self, *tensors: Tensor) -> None:
        """Replace tensors by their sums over all processes."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag
