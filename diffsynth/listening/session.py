"""What the page may know: sounds and pages under names that say nothing, and whose turn it is."""

import hashlib
import io
import threading
from typing import Any

import soundfile

from diffsynth.audio.files import Audio, sixteen_bits
from diffsynth.errors import UserError
from diffsynth.listening.answers import AnswerBook, Answers
from diffsynth.listening.clips import REFERENCE
from diffsynth.listening.design import MUSHRA, SCALES, WORDS, Design, Trial
from diffsynth.listening.stimuli import ANCHOR, Stimuli, low_anchor

OPEN = "open reference"  # what a MUSHRA page names; the same sound as the hidden one under another name
VOLUME = "volume"  # the sound by which a participant sets the volume


class Session:
    """A listening test that is under way.

    Names of sounds are keyed hashes of participant, page and system: two participants, two pages, and the
    hidden and the open reference share none. All sounds of a clip have the same number of bytes.

    Args:
        book: where answers are kept.
        design: of the test.
        stimuli: at one loudness, without the anchors.
        rate: of the stimuli in Hz.
        secret: key of the names.
        wanted: number of participants after which the test is over.
    """

    def __init__(
        self, book: AnswerBook, design: Design, stimuli: Stimuli, rate: int, secret: str, wanted: int
    ) -> None:
        self._book, self._design, self._wanted = book, design, wanted
        self._secret = secret.encode()
        self._lock = threading.Lock()
        self.over = threading.Event()
        self._wav = {
            (clip, system): _wav(samples, rate)
            for clip, systems in stimuli.items()
            for system, samples in systems.items()
        }
        for clip, systems in stimuli.items() if MUSHRA in design.kinds else ():
            self._wav[clip, ANCHOR] = _wav(low_anchor(systems[REFERENCE], rate), rate)
        first = (design.clips[0], REFERENCE)
        self._sounds = {self._name(VOLUME): self._wav[first]}

    def welcome(self) -> dict[str, Any]:
        """What the first page shows."""
        words = [{"value": value, "word": word} for value, word in enumerate(WORDS, 1)]
        return {"parts": list(self._design.kinds), "words": words, "volume": self._name(VOLUME)}

    def sound(self, name: str) -> bytes | None:
        """A WAV file by its opaque name; None if no page that was shown has it."""
        return self._sounds.get(name)

    def state(self, participant: str) -> dict[str, Any]:
        """The page that a participant is to see, with what is rated on it already.

        Raises:
            UserError: the name is not one.
        """
        with self._lock:
            return self._page(self._book.answers(self._design, participant))

    def rate(self, participant: str, page: str, sound: str, value: int) -> dict[str, Any]:
        """Keep one rating.

        Raises:
            UserError: the page is not open or has no such sound, or the value is not on its scale.
        """
        with self._lock:
            answers, index = self._open(participant, page)
            systems = {self._name(participant, index, name): name for name in answers.trials[index].systems}
            if sound not in systems:
                raise UserError("this page has no such sound")
            answers.rate(index, systems[sound], value)
            self._book.save(answers)
            return self._page(answers)

    def finish(self, participant: str, page: str) -> dict[str, Any]:
        """Close a page; returns the next one.

        Raises:
            UserError: the page is not open, or not all of it is rated.
        """
        with self._lock:
            answers, index = self._open(participant, page)
            answers.finish(index)
            self._book.save(answers)
            return self._page(answers)

    def check_over(self) -> None:
        """Set `over` once as many participants as wanted have finished."""
        with self._lock:
            if sum(answers.current is None for answers in self._book.everyone(self._design)) >= self._wanted:
                self.over.set()

    def _open(self, participant: str, page: str) -> tuple[Answers, int]:
        answers = self._book.answers(self._design, participant)
        index = answers.current
        if index is None or page != self._name(answers.participant, index):
            raise UserError("this page is not open")
        return answers, index

    def _page(self, answers: Answers) -> dict[str, Any]:
        """The current page under opaque names, whose sounds can then be fetched."""
        index, total = answers.current, len(answers.trials)
        if index is None:
            return {"participant": answers.participant, "finished": True, "total": total}
        trial, given = answers.trials[index], answers.ratings[index]
        names = self._publish(answers.participant, index, trial)
        low, high = SCALES[trial.kind]
        return {
            "participant": answers.participant,
            "finished": False,
            "page": self._name(answers.participant, index),
            "kind": trial.kind,
            "number": index + 1,
            "total": total,
            "low": low,
            "high": high,
            "sounds": [names[system] for system in trial.systems],
            "reference": names.get(OPEN),
            "ratings": {names[system]: value for system, value in given.items()},
        }

    def _publish(self, participant: str, index: int, trial: Trial) -> dict[str, str]:
        """Names of the sounds of a page, by system."""
        names = {system: self._name(participant, index, system) for system in trial.systems}
        for system, name in names.items():
            self._sounds[name] = self._wav[trial.clip, system]
        if trial.kind == MUSHRA:
            names[OPEN] = self._name(participant, index, OPEN)
            self._sounds[names[OPEN]] = self._wav[trial.clip, REFERENCE]
        return names

    def _name(self, *words: object) -> str:
        return hashlib.blake2b(repr(words).encode(), key=self._secret, digest_size=8).hexdigest()


def _wav(samples: Audio, rate: int) -> bytes:
    """A WAV file of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sixteen_bits(samples), rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
