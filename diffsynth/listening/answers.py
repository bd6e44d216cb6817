"""The folder of a listening test: its design, and one file of ratings for every participant.

`test.json` holds the design, the secret of the opaque names, the loudness and the digests of what is heard;
`ratings/NAME.json` the pages in the order in which NAME sees them, with the ratings.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diffsynth.errors import UserError
from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.design import KINDS, SCALES, Design, Trial, plan
from diffsynth.runs.files import read_json, write_json

TEST, RATINGS = "test.json", "ratings"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")  # of a participant, which names a file
SECRET = re.compile(r"[0-9a-f]{32}")


@dataclass
class Answers:
    """What one participant has heard and said."""

    participant: str
    trials: list[Trial]
    ratings: list[dict[str, int]] = field(default_factory=list)  # of every trial, by system
    done: list[bool] = field(default_factory=list)

    @property
    def current(self) -> int | None:
        """Index of the first page that is not done; None if all are."""
        return next((index for index, done in enumerate(self.done) if not done), None)

    def rate(self, index: int, system: str, value: int) -> None:
        """Take a rating of what is heard on page `index`; a later one replaces it.

        Raises:
            UserError: the page is done or another one is open, or the value is not on its scale.
        """
        trial = self.trials[index]
        low, high = SCALES[trial.kind]
        if index != self.current:
            raise UserError("this page is not open")
        if system not in trial.systems or type(value) is not int or not low <= value <= high:
            raise UserError(f"a rating is a whole number from {low} to {high}")
        self.ratings[index][system] = value

    def finish(self, index: int) -> None:
        """Close a page.

        Raises:
            UserError: it is not open, or something on it has no rating.
        """
        if index != self.current or set(self.ratings[index]) != set(self.trials[index].systems):
            raise UserError("this page is not open, or not all of it is rated")
        self.done[index] = True


class AnswerBook:
    """The folder of a test; everything written to it is written as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        """Whether there is a test already."""
        return (self.folder / TEST).is_file()

    def check(self, design: Design) -> None:
        """Refuse a test other than the one that the folder holds, if it holds one.

        Raises:
            UserError: it is another one, or the file of the test is broken.
        """
        if self.exists and self.design() != design:
            raise self._other()

    def open(self, design: Design, digests: Mapping[str, str], loudness: float) -> str:
        """Begin a test, or go on with it; returns its secret.

        Args:
            design: of the test.
            digests: SHA-256 of the file behind every stimulus.
            loudness: of the stimuli in LUFS, written down for the reader.

        Raises:
            UserError: the folder holds another test or a broken file, or sounds have changed since it began.
        """
        self.check(design)
        if self.exists:
            known = self._test()
            if known.get("sha256") != digests:
                raise self._other()
            if not SECRET.fullmatch(str(known.get("secret"))):
                raise self._broken()
            self.everyone(design)  # what is wrong is said now, and not to the next who finishes
            return str(known["secret"])
        secret = secrets.token_hex(16)
        described = {"design": asdict(design), "loudness_lufs": round(loudness, 2), "sha256": digests}
        write_json(self.folder / TEST, {**described, "secret": secret})
        return secret

    def design(self) -> Design:
        """The design of the test that the folder holds.

        Raises:
            UserError: there is none, or its file is broken.
        """
        if not self.exists:
            raise UserError(f"{self.folder} holds no listening test; run `diffsynth listen` first")
        try:
            values = self._test()["design"]
            lists = {name: tuple(values[name]) for name in ("kinds", "systems", "clips")}
            design = Design(**{**values, **lists})
            _check_design(design)
        except (KeyError, TypeError, ValueError) as error:
            raise self._broken() from error
        return design

    def answers(self, design: Design, participant: str) -> Answers:
        """What a participant has answered so far; nothing for a new one, whose pages are planned.

        Raises:
            UserError: the name is not one, or the file is broken.
        """
        if not NAME.fullmatch(participant):
            raise UserError("a name has 1 to 32 letters a to z, digits, - and _")
        path = self._file(participant)
        if not path.is_file():
            trials = plan(design, participant)
            return Answers(participant, trials, [{} for _ in trials], [False] * len(trials))
        return _read(path, design)

    def save(self, answers: Answers) -> None:
        """Write all answers of a participant."""
        rows = [
            {**asdict(trial), "ratings": ratings, "done": done}
            for trial, ratings, done in zip(answers.trials, answers.ratings, answers.done, strict=True)
        ]
        write_json(self._file(answers.participant), {"participant": answers.participant, "trials": rows})

    def everyone(self, design: Design) -> list[Answers]:
        """Answers of all participants, by name.

        Raises:
            UserError: a file holds something else.
        """
        return [_read(path, design) for path in sorted((self.folder / RATINGS).glob("*.json"))]

    def _other(self) -> UserError:
        return UserError(
            f"{self.folder} holds a test of other systems, clips or sounds; choose another --out"
        )

    def _broken(self) -> UserError:
        return UserError(f"{self.folder / TEST} is not a listening test")

    def _file(self, participant: str) -> Path:
        return self.folder / RATINGS / f"{participant.lower()}.json"  # Anna and anna are one

    def _test(self) -> dict[str, Any]:
        test: dict[str, Any] = read_json(self.folder / TEST)
        return test


def _check_design(design: Design) -> None:
    """Refuse a design that no command can have written.

    Raises:
        TypeError: a name is a list.
        ValueError: it is another kind of test, one without a recording or a clip, or names are no names.
    """
    names = [*design.systems, *design.clips]
    unique = [len(set(each)) == len(each) for each in (design.systems, design.clips)]
    right = design.kinds in KINDS.values() and REFERENCE in design.systems and design.clips
    if not right or not all(unique) or not all(isinstance(name, str) for name in names):
        raise ValueError


def _read(path: Path, design: Design) -> Answers:
    content = read_json(path)
    try:
        rows = content["trials"]
        trials = [Trial(row["kind"], row["clip"], tuple(row["systems"])) for row in rows]
        answers = Answers(
            content["participant"],
            trials,
            [dict(row["ratings"]) for row in rows],
            [row["done"] for row in rows],
        )
        _check(answers, path, design)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not hold the ratings of this listening test") from error
    return answers


def _check(answers: Answers, path: Path, design: Design) -> None:
    """Refuse what the page could not have sent.

    Raises:
        TypeError: a name is no text.
        ValueError: the file is somebody else's, its pages are not those of the test, a rating is not on its
            scale or of nothing that was heard, or a closed page lacks one.
    """
    if not NAME.fullmatch(answers.participant) or path.stem != answers.participant.lower():
        raise ValueError
    # The orders themselves are believed: another version of NumPy may draw others.
    if _pages(answers.trials) != _pages(plan(design, answers.participant)):
        raise ValueError
    for trial, given, closed in zip(answers.trials, answers.ratings, answers.done, strict=True):
        low, high = SCALES[trial.kind]
        right = all(type(value) is int and low <= value <= high for value in given.values())
        whole = set(given) == set(trial.systems)
        if not right or not set(given) <= set(trial.systems) or type(closed) is not bool or closed > whole:
            raise ValueError


def _pages(trials: Iterable[Trial]) -> list[tuple[str, str, list[str]]]:
    """What is rated, in no order."""
    return sorted((trial.kind, trial.clip, sorted(trial.systems)) for trial in trials)
