"""Folders of shards with an index: samples by number, from files that were compared with their checksums."""

import errno
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.runs.files import read_json, sha256
from diffsynth.shards.pieces import Piece, lengths
from diffsynth.shards.places import Place, local, place, within
from diffsynth.shards.tars import Tar

INDEX = "index.json"
HELD = 16  # open shards of a folder: what one holds is a table of its members, some 100 bytes each


def index_file(folder: Place) -> Path:
    """The index of a folder, as a file here.

    Raises:
        UserError: the folder lies elsewhere, and its index cannot be read.
    """
    return local(within(folder, INDEX))


def read_index(folder: Place, command: str = "shard") -> dict[str, Any]:
    """The index of a folder; `command` is the stage that writes such folders.

    Raises:
        UserError: there is none.
    """
    path = index_file(folder)
    if not path.is_file():
        raise UserError(f"{path} does not exist; run `diffsynth {command}` first")
    index = read_json(path)
    if not isinstance(index, dict) or "splits" not in index:
        raise UserError(f"{path} is not an index of shards; run `diffsynth {command}` again")
    return index


class ShardFolder:
    """One split of a folder of shards, in the order of its index.

    Shards are checked when they are first opened, and few are open at a time. A copy of this object in
    another process opens its own.

    Args:
        folder: path or URL.
        split: name of the split.
        command: the stage that writes such folders, for messages.

    Attributes:
        index: contents of the index.
        shards: the split's part of it, one dictionary a shard.

    Raises:
        UserError: there is no index, or no such split.
    """

    def __init__(self, folder: Place, split: str, command: str = "shard") -> None:
        self.folder, self.command = place(folder), command
        self.index = read_index(self.folder, command)
        splits = self.index["splits"]
        self.shards: list[dict[str, Any]] = splits[choice("split", split, tuple(splits))]["shards"]
        self._open: OrderedDict[int, Tar] = OrderedDict()
        self._checked: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": OrderedDict(), "_checked": set()}

    def check(self, **expected: Any) -> None:
        """Refuse a folder that was written with other parameters than those of its index given here.

        Raises:
            UserError: names the first that differs.
        """
        for name, value in expected.items():
            if (there := self.index.get(name)) != value:
                raise UserError(
                    f"{self.folder} was written with {name} {there}, and the parameters say {value}; run "
                    f"`diffsynth {self.command}` again"
                )

    def pieces(self, shard: int) -> list[Piece]:
        """What a shard holds, by its number."""
        return [Piece(**piece) for piece in self.shards[shard]["pieces"]]

    def lengths(self, shard: int) -> list[int]:
        """Samples of recording in every segment of a shard."""
        return lengths(self.pieces(shard), round(self.index["segment"] * self.index["sample_rate"]))

    def open(self, shard: int) -> Tar:
        """A shard by its number.

        Raises:
            UserError: it is missing or damaged; names it with its count and checksum.
        """
        if shard not in self._open:
            self._open[shard] = self._opened(self.shards[shard], check=shard not in self._checked)
            self._checked.add(shard)
            if len(self._open) > HELD:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(shard)
        return self._open[shard]

    def _opened(self, entry: dict[str, Any], check: bool) -> Tar:
        address, digest = within(self.folder, entry["name"]), entry["sha256"]

        def refusal(what: str) -> UserError:
            known = f"{entry['samples']} samples, SHA-256 {digest}"
            return UserError(f"{address} {what} ({known}); run `diffsynth {self.command}` again")

        try:
            path = local(address, digest)
            if check and isinstance(address, Path) and (found := sha256(path)) != digest:
                raise refusal(f"is damaged, its SHA-256 is {found}")
            tar = Tar(path)
        except OSError as error:
            missing = error.errno == errno.ENOENT
            raise refusal("is missing" if missing else f"cannot be read: {error.strerror}") from error
        except tarfile.TarError as error:
            raise refusal(f"is not a tar file: {error}") from error
        if len(tar) != entry["samples"]:
            raise refusal(f"holds {len(tar)} samples")
        return tar
