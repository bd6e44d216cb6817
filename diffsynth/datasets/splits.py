"""Names of performances, and which split each belongs to."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from diffsynth.config import SPLITS
from diffsynth.errors import UserError

_LONGEST = 120  # bytes of a name; files named after it must stay within 255


def safe_names(titles: Sequence[str]) -> list[str]:
    """A name for each title (a path without its suffix) that serves as file name and shard key.

    Letters and digits of any script, "-" and "_" stay; a dot would end the key of a shard sample.
    Titles that would get one name, and long ones, are told apart by a digest of the title.
    """
    plain = [re.sub(r"[^\w-]+", "_", _normal(title)).strip("_") or "_" for title in titles]
    count = Counter(name.casefold() for name in plain)
    return [
        name if count[name.casefold()] == 1 and len(name.encode()) <= _LONGEST else _shortened(name, title)
        for name, title in zip(plain, titles, strict=True)
    ]


def assign_splits(titles: Sequence[str], validation: float, test: float, seed: int) -> list[str]:
    """A split for each title, drawn by its own hash: adding a performance leaves the others where they are.

    Only if a split came out empty does a performance move there: three or more performances fill
    all splits, two fill train and validation.

    Args:
        titles: distinct names.
        validation: share of performances, as is `test`.
        test: see `validation`.
        seed: another seed gives another division.

    Raises:
        UserError: the shares leave nothing to train on.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise UserError("dataset.validation and dataset.test must be shares that leave some for training")
    draw = {title: _draw(title, seed) for title in titles}
    splits = {
        title: "test" if u < test else "validation" if u < test + validation else "train"
        for title, u in draw.items()
    }
    needed = SPLITS[: len(splits)]
    for split in needed:
        if split in splits.values():
            continue
        count = Counter(splits.values())
        spare = [title for title, s in splits.items() if count[s] == max(count.values()) or s not in needed]
        splits[min(spare, key=lambda title: (splits[title] in needed, draw[title]))] = split
    return [splits[title] for title in titles]


def _draw(title: str, seed: int) -> float:
    """A number in 0..1 that depends only on its arguments."""
    digest = hashlib.sha256(f"{seed}:{_normal(title)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _shortened(name: str, title: str) -> str:
    digest = hashlib.sha256(title.encode()).hexdigest()[:8]
    return f"{name.encode()[:_LONGEST].decode(errors='ignore')}_{digest}"


def _normal(title: str) -> str:
    """One of several ways to write the same letters: file systems differ in theirs."""
    return unicodedata.normalize("NFC", title)
