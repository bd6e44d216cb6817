"""The one exception that users see, and what its messages share."""

from pathlib import Path

DISTRIBUTION = "diffsynth-piano"  # on PyPI the name `diffsynth` belongs to another project


class UserError(Exception):
    """Wrong input: the message is one clear line, and a command ends with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str | Path) -> str:
    r"""A text, or a path, that every file and terminal takes: bytes that are not UTF-8 become \xe9."""
    # Python keeps such bytes of a name as surrogates, in some locales those of every letter beyond ASCII.
    return str(text).encode(errors="surrogateescape").decode(errors="backslashreplace")


def to_install(extra: str) -> str:
    """The command that installs an extra of this project (see pyproject.toml)."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
