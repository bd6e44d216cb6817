"""The same test for webMUSHRA (https://github.com/audiolabs/webMUSHRA), which runs on a web server.

The keys are those of its `doc/experimenter.md`. A MOS page is a `likert_single_stimulus`, whose five points
are those of ITU-T P.800; webMUSHRA makes the low anchor itself.
"""

from pathlib import Path
from typing import Any

import yaml

from diffsynth.audio.files import write_audio
from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.design import MOS, WORDS, Design
from diffsynth.listening.stimuli import Stimuli
from diffsynth.runs.files import atomic_folder

CONFIG = "listening.yaml"
RESOURCES = "resources/diffsynth"  # below webMUSHRA's folder `configs`
MUSHRA_TEXT = "How near is each of these to the reference? One of them is the reference itself."
MOS_TEXT = "How good does this sound?"


def export(folder: Path, design: Design, stimuli: Stimuli, rate: int) -> Path:
    """Write `listening.yaml` and its WAV files, to be copied into the folder `configs` of webMUSHRA.

    Args:
        folder: to write; replaced as a whole.
        design: of the test.
        stimuli: at one loudness, without the anchors.
        rate: of the stimuli in Hz.

    Returns:
        The file of the configuration.

    Raises:
        UserError: the folder holds something else.
    """
    with atomic_folder(folder, CONFIG) as temporary:
        for clip, systems in stimuli.items():
            for system, samples in systems.items():
                write_audio(temporary / RESOURCES / clip / f"{system}.wav", samples, rate)
        text = yaml.safe_dump(configuration(design), sort_keys=False, allow_unicode=True, width=110)
        (temporary / CONFIG).write_text(text, encoding="utf8")
    return folder / CONFIG


def configuration(design: Design) -> dict[str, Any]:
    """The configuration of a test; orders are drawn by webMUSHRA."""
    parts: list[Any] = [["random", *_pages(design, kind)] for kind in design.kinds]
    finish = {
        "type": "finish",
        "name": "Thank you",
        "content": "Thank you for listening.",
        "showResults": False,
        "writeResults": True,
    }
    return {
        "testname": "Listening test",
        "testId": "diffsynth",
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": False,
        "remoteService": "service/write.php",
        "pages": [*parts, finish],
    }


def _pages(design: Design, kind: str) -> list[dict[str, Any]]:
    if kind == MOS:
        return [_mos_page(clip, system) for clip in design.clips for system in design.systems]
    return [_mushra_page(clip, design.systems) for clip in design.clips]


def _mos_page(clip: str, system: str) -> dict[str, Any]:
    return {
        "type": "likert_single_stimulus",
        "id": f"mos_{clip}_{system}",
        "name": "Quality",
        "content": MOS_TEXT,
        "mustRate": True,
        "mustPlayback": "processUpdate",
        "stimuli": {system: _place(clip, system)},
        "response": [{"value": value, "label": f"{value} {word}"} for value, word in enumerate(WORDS, 1)],
    }


def _mushra_page(clip: str, systems: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "mushra",
        "id": f"mushra_{clip}",
        "name": "MUSHRA",
        "content": MUSHRA_TEXT,
        "showWaveform": False,
        "enableLooping": True,
        "randomize": True,
        "showConditionNames": False,
        "reference": _place(clip, REFERENCE),
        "createAnchor35": True,
        "createAnchor70": False,
        "stimuli": {system: _place(clip, system) for system in systems if system != REFERENCE},
    }


def _place(clip: str, system: str) -> str:
    return f"configs/{RESOURCES}/{clip}/{system}.wav"
