"""Which voice a command plays: the one it is given, the one trained here, or a released one.

Released voices lie in NAME/BLOCK/MODEL.safetensors of a folder, each with its card, NAME/README.md.
"""

from dataclasses import dataclass
from pathlib import Path

from diffsynth.audio.format import BLOCKS
from diffsynth.config import choice
from diffsynth.errors import UserError
from diffsynth.models.registry import MODELS
from diffsynth.synthesis.config import RELEASED_VOICE
from diffsynth.synthesis.voice import Voice
from diffsynth.synthesis.weights import load_voice

GIVEN, TRAINED, RELEASED = "given", "trained here", "released"


@dataclass(frozen=True)
class VoiceFile:
    """The file of a voice, and where it comes from: GIVEN, TRAINED or RELEASED."""

    path: Path
    origin: str

    def __str__(self) -> str:
        """For people: the path, from the current folder where it lies in that, and the origin."""
        path, here = self.path, Path.cwd()
        return f"{path.relative_to(here) if path.is_relative_to(here) else path} ({self.origin})"


def released_voices(folder: Path) -> list[str]:
    """Names of the released voices in a folder."""
    return sorted(card.parent.name for card in folder.glob("*/README.md"))


def find_weights(
    model: str, block: int, given: Path | None, trained: Path, released: Path, name: str | None = None
) -> VoiceFile:
    """The voice to use: the one given, else what the pipeline trained here, else the released one.

    Args:
        model: of the voice.
        block: in samples.
        given: its file.
        trained: folder of models trained here, which come first unless a released voice is named.
        released: folder of released voices.
        name: of a released voice; not with `given`.

    Raises:
        UserError: there is none; says what to run.
    """
    choice("model", model, MODELS)
    choice("block", block, BLOCKS)
    if name is not None:
        if given is not None:
            raise UserError("give either --voice or --weights")
        choice("voice", name, released_voices(released))
    if given is not None:
        if not given.is_file():
            raise UserError(f"{given} does not exist")
        return VoiceFile(given, GIVEN)
    places = [(trained, TRAINED), (released / RELEASED_VOICE, RELEASED)]
    for folder, origin in places if name is None else [(released / name, RELEASED)]:
        path = folder / str(block) / f"{model}.safetensors"
        if path.is_file():
            return VoiceFile(path, origin)
    if name is not None:
        raise UserError(f"the voice {name} has no {model} at {block}")
    # The U-Net is not among the models of params.yaml, unless somebody wants it.
    stage = f"dvc repro train@{model}-{block}"
    command = f"diffsynth train --model unet --block {block}" if model == "unet" else stage
    raise UserError(f"no weights for {model} at {block}: run `{command}` first")


def open_voice(
    model: str | None,
    block: int | None,
    given: Path | None,
    trained: Path,
    released: Path,
    name: str | None = None,
) -> tuple[Voice, VoiceFile]:
    """The voice of `find_weights`, and its file; LSTM and 512 by default, if no file is given.

    Raises:
        UserError: there is none, or the file given is of another model or block than was asked for.
    """
    file = find_weights(model or next(iter(MODELS)), block or BLOCKS[0], given, trained, released, name)
    voice = load_voice(file.path)
    for what, asked in (("model", model), ("block", block)):
        has = getattr(voice.config, what)
        if asked not in (None, has):
            raise UserError(f"{file.path} is a voice of {what} {has}, not {asked}")
    return voice, file
