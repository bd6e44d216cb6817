"""Who hears what in which order: a design is the same for all, a plan belongs to one participant."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diffsynth.errors import UserError
from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.stimuli import ANCHOR
from diffsynth.runs.files import check_name

MOS, MUSHRA = "mos", "mushra"
KINDS = {MOS: (MOS,), MUSHRA: (MUSHRA,), "both": (MOS, MUSHRA)}
SCALES = {MOS: (1, 5), MUSHRA: (0, 100)}  # lowest and highest rating, whole numbers
# Words of ITU-T P.800 and ITU-R BS.1534, from the lowest to the highest.
WORDS = ("Bad", "Poor", "Fair", "Good", "Excellent")
MOST = 12  # stimuli that BS.1534-3 allows in one trial, hidden reference and anchor included


@dataclass(frozen=True)
class Design:
    """A listening test.

    Attributes:
        kinds: of its parts, in their order: `MOS` before `MUSHRA`, which shows the recording.
        systems: names of what is compared, `REFERENCE` included.
        clips: labels of the excerpts.
        seconds: the longest that a clip is.
        seed: of all orders.
    """

    kinds: tuple[str, ...]
    systems: tuple[str, ...]
    clips: tuple[str, ...]
    seconds: float
    seed: int

    def __post_init__(self) -> None:
        if MUSHRA in self.kinds and len(self.systems) + 1 > MOST:
            raise UserError(
                f"a MUSHRA trial has at most {MOST} stimuli with recording and anchor, "
                f"not {len(self.systems) + 1}: choose systems with --system"
            )


@dataclass(frozen=True)
class Trial:
    """One page: what is heard on it, in the order of the page."""

    kind: str
    clip: str
    systems: tuple[str, ...]


def plan(design: Design, participant: str) -> list[Trial]:
    """The pages of one participant: every part in an order of its own, drawn by the seed and the name.

    A page of the MOS part has one stimulus; one of the MUSHRA part has all systems, the hidden reference and
    the anchor among them.
    """
    return [trial for kind in design.kinds for trial in _part(design, kind, participant)]


def _part(design: Design, kind: str, participant: str) -> Iterator[Trial]:
    words = f"{design.seed}/{kind}/{participant}".encode()
    rng = np.random.default_rng(list(hashlib.sha256(words).digest()))
    if kind == MOS:
        pairs = [(clip, system) for clip in design.clips for system in design.systems]
        for index in rng.permutation(len(pairs)):
            clip, system = pairs[index]
            yield Trial(MOS, clip, (system,))
        return
    systems = (*design.systems, ANCHOR)
    for index in rng.permutation(len(design.clips)):
        order = rng.permutation(len(systems))
        yield Trial(MUSHRA, design.clips[index], tuple(systems[place] for place in order))


def check_systems(names: list[str]) -> None:
    """Refuse names that are given twice or mean something else, or that no folder can have.

    Raises:
        UserError: there is such a name, or none.
    """
    for name in names:
        check_name(name, "--system")
        if name in (REFERENCE, ANCHOR) or names.count(name) > 1:
            raise UserError(f"a system cannot be called {name} (again): choose another name")
    if not names:
        raise UserError("there is no system to compare with the recording")
