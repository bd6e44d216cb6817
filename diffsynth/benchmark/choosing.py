"""Which systems are compared."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from diffsynth.benchmark.systems import OwnVoice, Playing, System
from diffsynth.errors import UserError
from diffsynth.evaluation.anchor import LOW_PASS
from diffsynth.evaluation.evaluating import RECORDING
from diffsynth.runs.files import check_name
from diffsynth.synthesis.bounds import IDEAL
from diffsynth.synthesis.voice_files import GIVEN, VoiceFile, find_weights

PUBLISHED = "unet"
TAKEN = (LOW_PASS, IDEAL, RECORDING)  # names of other rows


def voices_of(
    variants: Iterable[tuple[str, int]],
    trained: Path,
    released: Path,
    playing: Playing,
    say: Callable[[str], None],
) -> list[OwnVoice]:
    """Voices of models at block sizes, those trained here before released ones.

    Args:
        variants: models and block sizes in samples.
        trained: folder of trained models.
        released: folder of released voices.
        playing: how they play.
        say: takes a line where there is no voice of the published network, which is then left out.

    Raises:
        UserError: there is no voice of another model.
    """
    found = []
    for model, block in variants:
        try:
            file = find_weights(model, block, None, trained, released)
        except UserError as error:
            if model != PUBLISHED:
                raise
            say(f"left out {model}-{block}: {error}; `diffsynth bench` times it with random weights")
            continue
        found.append(OwnVoice(model, file, playing))
    return found


def given_voices(options: Iterable[str], playing: Playing) -> list[OwnVoice]:
    """Voices that options name, NAME=FILE.

    Raises:
        UserError: an option is something else, or the file is no voice.
    """
    found = []
    for text in options:
        name, separator, path = text.partition("=")
        check_name(name, "--voice")
        if not separator or not path:
            raise UserError(f"--voice takes NAME=weights.safetensors, not {text!r}")
        found.append(OwnVoice(name, VoiceFile(Path(path), GIVEN), playing))
    return found


def check_systems(systems: Sequence[System], said: Sequence[str]) -> None:
    """Refuse systems that cannot stand in one table.

    Args:
        systems: all of them.
        said: why some are left out.

    Raises:
        UserError: a name is taken, or nothing competes.
    """
    keys = [system.key.casefold() for system in systems]
    for system, key in zip(systems, keys, strict=True):
        if key in TAKEN or keys.count(key) > 1:
            raise UserError(f"a system cannot be called {system.key} (again): choose another name")
    if not any(system.competes for system in systems):
        reason = said[0] if said else "name some with --models, --voice, --soundfont or --system"
        raise UserError(f"there is no system: {reason}")
