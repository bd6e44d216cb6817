"""Which notes of a prediction are heard, by whoever writes them down."""

from collections.abc import Callable

from diffsynth.audio.channels import mixed
from diffsynth.evaluation.metrics import Array
from diffsynth.evaluation.notes import match_notes
from diffsynth.evaluation.pair import Pair
from diffsynth.midi.events import Events, to_samples
from diffsynth.midi.strikes import soundings

Transcribe = Callable[[Array, int], Events]  # of samples, [time], and their rate in Hz


def listen(pair: Pair, events: Events, transcribe: Transcribe) -> None:
    """Find out which notes that are heard in a prediction were played.

    Args:
        pair: target and prediction; gets its `notes`.
        events: what was played, with `time` in s from the start of the target.
        transcribe: what writes down notes.
    """
    heard = transcribe(mixed(pair.prediction), pair.rate)
    length = len(pair.prediction)
    played, found = (soundings(to_samples(each, pair.rate), length) for each in (events, heard))
    pair.notes = match_notes(played, found, pair.rate)
