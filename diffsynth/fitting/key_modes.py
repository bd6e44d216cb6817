"""The modes of one key over its strokes (`diffsynth.fitting.strokes`), played and correlated fast.

Strokes of one key never overlap, and all inner products of its modes have closed forms: geometric series.
After the damper's fall the modes go on with faster decays.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffsynth.fitting.strokes import Pieces, Strokes
from diffsynth.fitting.takes import Take
from diffsynth.piano.piano import Piano

FRAME = 128  # samples: one row of a product with the table of turns
DAMPED = 6.9  # nepers (60 dB) after which damped strings count as silent
LONGEST_TAIL = 3.0  # s, where hardly anything damps them


class KeyModes:
    """The modes of one key at fixed poles, over its strokes.

    Args:
        pole: [p] 1/s, 2 pi i frequency - decay.
        exponent: [p] of velocity.
        release: 1/s, added to the decay once the damper is down.
        strokes: of the key.
        rate: samples per second.
        turn: [n, p] factor of each mode in each strike, beside the gain; 1 where it is left out.
    """

    def __init__(
        self,
        pole: NDArray[np.complex128],
        exponent: NDArray[np.float64],
        release: float,
        strokes: Strokes,
        rate: int,
        turn: NDArray[np.complex128] | None = None,
    ) -> None:
        shape = len(strokes.velocity), len(pole)
        self.turn = np.ones(shape, dtype=np.complex128) if turn is None else turn
        self.pole, self.rate, self.strokes = pole / rate, rate, strokes
        self._gain = strokes.velocity[:, None] ** exponent
        self.release = release / rate
        self._table = _turns(self.pole)
        tail = min(DAMPED / max(release, 1e-9), LONGEST_TAIL)
        self._tail = int(np.ceil(tail * rate / FRAME)) * FRAME
        frames = -(-int(strokes.free.max(initial=0)) // FRAME) + 1
        self._powers = np.exp(self.pole * (FRAME * np.arange(frames))[:, None]).astype(np.complex64)
        samples = FRAME * np.arange(self._tail // FRAME)[:, None]
        self._damped = np.exp((self.pole - self.release) * samples).astype(np.complex64)
        self._damped_table = _turns(self.pole - self.release)
        self.state = self._states()

    def _states(self) -> NDArray[np.complex128]:
        """[n, p] what a strike starts with: itself and what is left of those before."""
        age = self.strokes.age[:, None]
        states = self._gain * self.turn * np.exp(self.pole * age)
        for row, carry in enumerate(self.strokes.carry.tolist()):
            if carry:
                states[row] += states[row - 1] * np.exp(self.pole * carry)
        return states

    def add(self, amplitude: NDArray[np.complex128], audio: Sequence[NDArray[np.float32]]) -> None:
        """Add to the audio of all recordings, in place, what modes of these amplitudes sound like."""
        strokes = self.strokes
        for n, (index, onset, free) in enumerate(
            zip(strokes.recording.tolist(), strokes.onset.tolist(), strokes.free.tolist(), strict=True)
        ):
            start = amplitude * self.state[n]
            target = audio[index]
            self._play(start, self._powers[: -(-free // FRAME)], self._table, target[onset : onset + free])
            left = self._left(n)
            if left is not None:
                left = left * amplitude
                tail = target[onset + free : onset + free + self._tail]
                self._play(left, self._damped[: -(-len(tail) // FRAME)], self._damped_table, tail)

    def play(self, n: int, amplitude: NDArray[np.complex128], length: int) -> NDArray[np.float32]:
        """[length] the sound of a stroke until its damper falls."""
        sound = np.zeros(length, dtype=np.float32)
        self._play(amplitude * self.state[n], self._powers[: -(-length // FRAME)], self._table, sound)
        return sound

    def tail(self, n: int, amplitude: NDArray[np.complex128], length: int) -> NDArray[np.float32]:
        """[length] the sound of a stroke once its damper has fallen; silence if none falls."""
        sound, left = np.zeros(length, dtype=np.float32), self._left(n)
        if left is not None:
            frames = self._damped[: -(-length // FRAME)]
            self._play(left * amplitude, frames, self._damped_table, sound[: FRAME * len(frames)])
        return sound

    def _left(self, n: int) -> NDArray[np.complex128] | None:
        """[p] what goes on as if damped when a stroke ends, if anything does."""
        strokes, left = self.strokes, self.state[n] * np.exp(self.pole * self.strokes.free[n])
        if strokes.damps[n]:
            return left
        held_on = n + 1 < len(strokes.age) and strokes.age[n + 1] > 0
        return left - self.state[n + 1] if held_on else None

    @staticmethod
    def _play(
        start: NDArray[np.complex128],
        powers: NDArray[np.complex64],
        table: NDArray[np.float32],
        target: NDArray[np.float32],
    ) -> None:
        rows = powers * start.astype(np.complex64)
        target += (rows.view(np.float32) @ table).reshape(-1)[: len(target)]

    def project(
        self, rest: Sequence[NDArray[np.float32]], pieces: Pieces
    ) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
        """Weighted inner products of what is left over with every mode, and with t times every mode, t in s.

        Args:
            rest: audio of all recordings.
            pieces: [m] that count; t is counted from the onset of the stroke.

        Returns:
            Two arrays [m, p]: weight times the sum over t of rest(t) conj(state z^t), and with t.
        """
        plain = np.empty((len(pieces.stroke), len(self.pole)), dtype=np.complex128)
        timed = np.empty_like(plain)
        within = (np.arange(FRAME) / self.rate).astype(np.float32)
        begin = self.strokes.onset[pieces.stroke] + pieces.offset
        recording, states = self.strokes.recording[pieces.stroke], self._weighted(pieces, pieces.weight)
        for row, (start, length) in enumerate(zip(begin.tolist(), pieces.length.tolist(), strict=True)):
            frames = -(-length // FRAME)
            padded = np.zeros((frames, FRAME), dtype=np.float32)
            padded.reshape(-1)[:length] = rest[recording[row]][start : start + length]
            powers, state = self._powers[:frames].conj(), states[row].conj()
            sums = self._correlate(padded) * powers
            later = self._correlate((padded * within).astype(np.float32)) * powers
            time = ((FRAME * np.arange(frames) + pieces.offset[row]) / self.rate).astype(np.float32)
            plain[row] = state * sums.sum(axis=0, dtype=np.complex128)
            timed[row] = state * (time @ sums + later.sum(axis=0))
        return plain, timed

    def _weighted(self, pieces: Pieces, weight: NDArray[np.float64]) -> NDArray[np.complex128]:
        """[m, p] what modes have come to where pieces begin, times some weight."""
        turned = np.exp(self.pole * pieces.offset[:, None])
        return np.asarray(weight[:, None] * self.state[pieces.stroke] * turned)

    def _correlate(self, frames: NDArray[np.float32]) -> NDArray[np.complex64]:
        return np.ascontiguousarray(frames @ self._table.T).view(np.complex64)

    def products(self, pieces: Pieces) -> list[list[NDArray[np.complex128]]]:
        """Weighted inner products of modes m = state z^t over pieces, times t^0, t^1 and t^2 (s).

        Returns:
            Three matrices [p, p] of sum t^i conj(m_p) m_q, then three of sum t^i m_p m_q.
        """
        state = self._weighted(pieces, np.sqrt(pieces.weight))
        times = pieces.offset.astype(np.float64), (pieces.offset + pieces.length).astype(np.float64)
        end = state * np.exp(pieces.length[:, None] * self.pole)
        hermitian = _series(
            state.conj(), state, end.conj(), end, *times, self.pole.conj()[:, None] + self.pole
        )
        plain = _series(state, state, end, end, *times, self.pole[:, None] + self.pole)
        return [[matrix / self.rate**i for i, matrix in enumerate(sums)] for sums in (hermitian, plain)]


def _turns(pole: NDArray[np.complex128]) -> NDArray[np.float32]:
    """Rows Re z^t and -Im z^t of every mode in turn, as the parts of complex numbers lie in memory."""
    turns = np.exp(pole[:, None] * np.arange(FRAME))
    return np.stack([turns.real, -turns.imag], axis=1).reshape(-1, FRAME).astype(np.float32)


def _series(
    left: NDArray[np.complex128],
    right: NDArray[np.complex128],
    left_end: NDArray[np.complex128],
    right_end: NDArray[np.complex128],
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    exponent: NDArray[np.complex128],
) -> list[NDArray[np.complex128]]:
    """Sums over pieces of t^i w^(t - first) left right, first <= t < last, w = exp(exponent), i = 0, 1, 2."""
    w, gap = np.exp(exponent), -np.expm1(exponent)  # 1 - w, exact for slow modes that turn alike
    edges = [
        (left * first[:, None] ** i).T @ right - (left_end * last[:, None] ** i).T @ right_end
        for i in range(3)
    ]
    # Sums by parts: the differences of t^i are 1 and 2 t + 1.
    plain = edges[0] / gap
    once = (edges[1] + w * plain) / gap
    return [plain, once, (edges[2] + w * (2 * once + plain)) / gap]


def remainder(
    piano: Piano, recordings: Sequence[Take], strokes: Sequence[Strokes]
) -> list[NDArray[np.float32]]:
    """What a piano does not explain of recordings of one rate, [time] each."""
    rest = [-recording.audio for recording in recordings]
    for key in np.unique(piano.key).tolist():
        modes = modes_of(piano, key, strokes[key], recordings[0].rate)
        modes.add(piano.amplitude[piano.key == key], rest)
    return [-audio for audio in rest]


def modes_of(
    piano: Piano, key: int, strokes: Strokes, rate: int, turn: NDArray[np.complex128] | None = None
) -> KeyModes:
    """The modes of a key over its strokes."""
    mine = piano.key == key
    pole = 2j * np.pi * piano.frequency[mine] - piano.decay[mine]
    return KeyModes(pole, piano.exponents[mine], float(piano.releases[key]), strokes, rate, turn)
