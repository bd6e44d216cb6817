"""What a training run is made of, by name, so that a checkpoint can say in what it differs from a run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from diffsynth.runs.files import sha256

NAMED = 3  # differences that a message names
# How a run goes on from where it is; everything else decides what its steps so far have meant.
ADJUSTABLE = frozenset(
    f"train.{name}"
    for name in (
        "steps",
        "learning_rate",
        "weight_decay",
        "clip",
        "validate_every",
        "patience",
        "max_skipped",
    )
)


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ.

    Attributes:
        kind: "configuration", "data" or "code".
        name: of the key or the file.
        now: value or SHA-256; None if this run has none.
        then: of the other run.
    """

    kind: str
    name: str
    now: Any
    then: Any

    @property
    def acceptable(self) -> bool:
        """Whether steps of the one can count as steps of the other, if the user says so."""
        return self.kind == "code" or self.name in ADJUSTABLE

    @property
    def longer(self) -> bool:
        """Whether the only thing is that this run has more steps."""
        return self.name == "train.steps" and self.now > self.then

    def __str__(self) -> str:
        if self.kind == "configuration":
            return f"{self.name} is {self.now!r} and was {self.then!r}"
        if self.then is None:
            return f"{self.name} is new"
        return f"{self.name} {'is gone' if self.now is None else 'has changed'}"


@dataclass(frozen=True)
class Origin:
    """What decides the steps of a run.

    Attributes:
        configuration: values by dotted key.
        data: SHA-256 by the name of a file.
        code: likewise.
    """

    configuration: dict[str, Any]
    data: dict[str, str]
    code: dict[str, str]

    @classmethod
    def of(cls, configuration: Mapping[str, Any], data: Mapping[str, Path], code: Mapping[str, Path]) -> Self:
        """Of a tree of values (any JSON), and files by name."""
        hashed = ({name: sha256(path) for name, path in files.items()} for files in (data, code))
        return cls(dict(flattened(json.loads(json.dumps(configuration)))), *hashed)

    @property
    def stamp(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, was: "Origin") -> list[Difference]:
        """In what this run differs from another: keys first, then data, then code, each by name."""
        found: list[Difference] = []
        for kind, now, then in zip(asdict(self), asdict(self).values(), asdict(was).values(), strict=True):
            every = [Difference(kind, n, now.get(n), then.get(n)) for n in sorted(now.keys() | then.keys())]
            found += [difference for difference in every if difference.now != difference.then]
        return found


def named(differences: list[Difference]) -> str:
    """The first differences and the number of the others, as a sentence lists them."""
    more = [f"{len(differences) - NAMED} more"] if len(differences) > NAMED else []
    return ", ".join([*map(str, differences[:NAMED]), *more])


def flattened(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested mappings under dotted names."""
    leaves: list[tuple[str, Any]] = []
    for name, value in tree.items():
        inner = (
            flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
        )
        leaves += inner
    return leaves
