"""Parameters as typed, frozen dataclasses: the checks that every section shares.

The dataclass of a section stands in the folder whose code takes it, in `config.py`. Units are stated in
`params.yaml`, beside the values that the pipeline runs with.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from diffsynth.errors import UserError

SPLITS = ("train", "validation", "test")  # of every data set, from its manifest to the shards


@dataclass(frozen=True)
class Within:
    """Values that a parameter may have: from `least` to `most`, `least` itself only if not `above` it."""

    least: float
    most: float = math.inf
    above: bool = False

    def check(self, value: float, where: str) -> None:
        """Raise a UserError that names the place, if `value` lies outside."""
        if value < self.least or (self.above and value == self.least):
            raise UserError(
                f"{where} must be {'above' if self.above else 'at least'} {self.least:g}, not {value!r}"
            )
        if value > self.most:
            raise UserError(f"{where} must be at most {self.most:g}, not {value!r}")


@dataclass(frozen=True)
class NotEmpty:
    """Lists that a parameter may have."""

    def check(self, value: list[Any], where: str) -> None:
        """Raise a UserError that names the place, if there is nothing in `value`."""
        if not value:
            raise UserError(f"{where} must not be empty")


Count = Annotated[int, Within(1)]
Natural = Annotated[int, Within(0)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
Positive = Annotated[float, Within(0, above=True)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]


def choice(what: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value` if it is allowed.

    Raises:
        UserError: it is not; the message lists what is, and names the nearest.
    """
    names = list(allowed)
    if value not in names:
        listed = ", ".join(map(str, names))
        raise UserError(f"unknown {what} {value!r}: choose one of {listed}{nearest(value, names)}")
    return value


def nearest(name: Any, known: Iterable[Any]) -> str:
    """A question after the known name that is most like `name`, to end a message with; nothing if none is."""
    found = get_close_matches(str(name), list(map(str, known)), n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def parameters(kind: Any) -> dict[str, Any]:
    """Types of the parameters of a section's dataclass, by key."""
    types = get_type_hints(kind, include_extras=True)
    return {field.name: types[field.name] for field in dataclasses.fields(kind)}


def check_keys(given: Iterable[Any], known: Iterable[str], needed: Iterable[str], where: str) -> None:
    """Check the keys of a section.

    Raises:
        UserError: a key is unknown, then with the nearest known one, or missing.
    """
    given, known = list(given), list(known)
    unknown = [f"{key}{nearest(key, known)}" for key in sorted(map(str, given)) if key not in known]
    missing = sorted(key for key in needed if key not in given)
    for problem, keys in (("unknown", unknown), ("missing", missing)):
        if keys:
            raise UserError(f"{problem} parameter in {where}: {', '.join(keys)}")


def build(kind: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `kind`, making dataclasses of mappings.

    Raises:
        UserError: a key is unknown or missing, or a type is wrong; names the place.
    """
    if dataclasses.is_dataclass(kind):
        return _build_section(kind, value, where)
    if get_origin(kind) is Annotated:
        kind, limits = get_args(kind)
        value = build(kind, value, where)
        limits.check(value, where)
        return value
    if get_origin(kind) in (Union, UnionType):
        if value is None:
            return None
        words = [word for k in get_args(kind) if get_origin(k) is Literal for word in get_args(k)]
        if isinstance(value, str) and value in words:
            return value
        kind = next(k for k in get_args(kind) if k is not type(None))
        return build(kind, value, where)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {value!r}")
        return [build(get_args(kind)[0], item, where) for item in value]
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        # `dvc exp run -S` writes 1e-05, a number to YAML 1.2 but text to PyYAML.
        with suppress(ValueError, OverflowError):
            value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise UserError(f"{where} must be of type {kind.__name__}, not {value!r}")
    if kind is float and not math.isfinite(value):
        raise UserError(f"{where} must be finite, not {value!r}")
    return value


def _build_section(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise UserError(f"{where} must be a section, not {value!r}")
    types = parameters(kind)
    check_keys(value, types, types, where)
    return kind(**{key: build(types[key], value[key], f"{where}: {key}") for key in types})
