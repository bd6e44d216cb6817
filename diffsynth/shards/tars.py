"""Tar files of samples, as webdataset has them, written with fixed bytes and read in any order.

A sample is a key and members that have it as their name, each with an extension of its own.
"""

import io
import os
import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.errors import UserError

NPY_HEADER = 128  # bytes before the data of a small array


def npy(array: NDArray[Any]) -> bytes:
    """An array as the contents of an .npy file, row after row."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def write_tar(path: Path, samples: Iterable[tuple[str, dict[str, bytes]]]) -> int:
    """Write keys and members by extension, and return the number of samples.

    Times, owners and modes are fixed, so that equal samples make equal bytes. The same bytes as
    webdataset's writer, whose import would take each process three seconds.
    """
    count = 0
    # Opened here, because tarfile does not notice that a nearly full disk takes a part of what it writes.
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        for key, members in samples:
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size, info.mode = len(content), 0o444
                info.uname = info.gname = "diffsynth"
                tar.addfile(info, io.BytesIO(content))
            count += 1
    return count


class Tar:
    """A tar file of which only what is asked for is read.

    Attributes:
        keys: of the samples, in order.

    Raises:
        OSError: it cannot be read.
        tarfile.TarError: it is not a tar file, or ends too early.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.keys = path, list[str]()
        self._members: list[dict[str, tuple[int, int]]] = []
        self._file = path.open("rb")
        with tarfile.open(fileobj=self._file, mode="r:") as tar:
            for info in tar:
                folder, slash, name = info.name.rpartition("/")
                stem, _, extension = name.partition(".")
                key = folder + slash + stem
                if not self.keys or self.keys[-1] != key:
                    self.keys.append(key)
                    self._members.append({})
                self._members[-1][extension] = (info.offset_data, info.size)

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, extension: str) -> bytes:
        """A member of sample `row`.

        Raises:
            UserError: the sample has none of this extension.
        """
        return self._pread(*self._place(row, extension))

    def array(self, row: int, extension: str, part: slice = slice(None)) -> NDArray[Any]:
        """Rows of the array in an .npy member of sample `row`.

        Raises:
            UserError: as `read`.
        """
        offset, size = self._place(row, extension)
        begin, shape, dtype = _header(self._pread(offset, min(NPY_HEADER, size)))
        first, last, _ = part.indices(shape[0])
        width = dtype.itemsize * int(np.prod(shape[1:], dtype=int))
        content = self._pread(offset + begin + first * width, max(last - first, 0) * width)
        return np.frombuffer(content, dtype).reshape(-1, *shape[1:])

    def close(self) -> None:
        """Nothing can be read any more."""
        self._file.close()

    def _place(self, row: int, extension: str) -> tuple[int, int]:
        if extension not in self._members[row]:
            raise UserError(f"{self.path} lacks {extension} of {self.keys[row]}")
        return self._members[row][extension]

    def _pread(self, offset: int, size: int) -> bytes:
        content = os.pread(self._file.fileno(), size, offset)
        if len(content) != size:
            raise UserError(f"{self.path} ends too early; it was complete when it was opened")
        return content


@lru_cache(maxsize=64)
def _header(content: bytes) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Where the data of an .npy file begins, and the shape and type of its array."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype.hasobject:
        raise UserError("an array of objects, or by columns, is no member of a shard")
    return stream.tell(), shape, dtype
