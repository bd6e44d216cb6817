"""The distance of sounds: against the metrics of the evaluation, by hand, and of what counts alone."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from support.small_training import (
    DIFFUSION,
    FEATURES,
    TRAIN,
    examples,
    feature_set,
    make_trainer,
    run,
    spectra,
)

from diffsynth.audio.format import AudioFormat
from diffsynth.errors import UserError
from diffsynth.evaluation.log_mel import log_mel_distance
from diffsynth.representation.heard_sound import HeardSound
from diffsynth.training.spectra import SIZES, GainSpectra, SpectralDistance

RATE = 24000


def sounds(seed=0, seconds=2.0):
    """Tones that decay beside noise, a sinusoid at full scale at first, and the same a little different."""
    rng, t = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    tones = [np.exp(-a * t) * np.sin(2 * np.pi * f * t) for f, a in ((300, 2), (900, 4), (2500, 6))]
    one = 0.8 * tones[0] + 0.3 * tones[1] + 0.05 * tones[2]
    other = 1.0 * tones[0] + 0.33 * tones[1] + 0.07 * tones[2]
    return [(x + 3e-3 * rng.standard_normal(len(t))).astype(np.float32) for x in (one, other)]


def distance_of(heard, recorded, counts=None):
    a, b = (torch.from_numpy(x)[None] for x in (heard, recorded))
    counts = torch.ones_like(a) if counts is None else torch.from_numpy(counts)[None]
    return float(SpectralDistance(RATE)(a, b, counts))


def magnitudes(sound, size):
    """Without the frames that librosa centres on the ends."""
    return np.abs(librosa.stft(sound, n_fft=size, hop_length=size // 4, center=False))


def spectral_convergence(heard, recorded, size):
    a, b = magnitudes(heard, size), magnitudes(recorded, size)
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_it_is_the_log_mel_distance_and_the_spectral_convergence():
    heard, recorded = sounds()
    log_mel = log_mel_distance(magnitudes(recorded, 2048), magnitudes(heard, 2048), RATE)
    convergence = np.mean([spectral_convergence(heard, recorded, size) for size in SIZES])
    # The floor of the metric lies 80 dB below the loudest band, here below a sinusoid at full scale.
    assert distance_of(heard, recorded) == pytest.approx(log_mel + convergence, rel=0.05)
    assert distance_of(recorded, recorded) == pytest.approx(0.0, abs=0.01)


def test_a_level_that_is_off_by_3_db_is_3_db_away():
    recorded = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    louder = recorded * np.float32(10 ** (3 / 20))
    assert distance_of(louder, recorded) == pytest.approx(3.0 + 10 ** (3 / 20) - 1, abs=0.02)


def test_only_frames_within_what_counts_matter():
    heard, recorded = sounds()
    counts = np.zeros_like(heard)
    counts[12000:30000] = 1
    spoilt = heard.copy()
    spoilt[:11000] = spoilt[31000:] = 0.5
    expected = distance_of(heard, recorded, counts)
    assert distance_of(spoilt, recorded, counts) == pytest.approx(expected, rel=1e-6)
    part = slice(12000, 30000)
    # Frames lie elsewhere in what was cut out.
    assert distance_of(heard[part], recorded[part]) == pytest.approx(expected, rel=0.1)
    assert distance_of(heard, recorded, 0 * counts) == pytest.approx(0.0, abs=0.01)


def test_the_sound_of_right_gains_is_that_of_the_recording():
    data = examples(feature_set(), spectra=spectra())
    batch = data.draw(0)
    assert batch.sounds.shape[:2] == (4, 32 + 2)
    sign = batch.cond[..., :1]
    right, wrong = (data.sound_distance(x.expand_as(batch.x), batch) for x in (sign, 0 * sign))
    assert (right < 0.4 * wrong).all()
    cut = batch.counted()
    torch.testing.assert_close(cut.sounds, batch.sounds[:, 8:])
    assert (data.sound_distance(sign[:, 2:].expand_as(cut.x), cut) < 0.4 * wrong).all()


def test_how_loud_pieces_were_recorded_is_learned_beside_the_network(monkeypatch):
    louder = np.array([0.15, -0.25, 0.0, 0.3, -0.2])  # nepers, 0 in the mean
    data = feature_set(5)
    data.sounds[:, :, 0] *= np.exp(louder)[:, None, None]
    monkeypatch.setattr("support.small_training.DIFFUSION", replace(DIFFUSION, objective="spectra"))
    train = replace(TRAIN, steps=150, batch_size=8, mini_batch_size=8, validate_every=50)
    trainer, even = make_trainer("lstm", train, data), make_trainer("lstm", train)
    last = [run(each)[-1]["validation_loss"] for each in (trainer, even)]
    assert last[0] == pytest.approx(last[1], rel=0.1)
    (found,) = trainer._beside
    numbers = [trainer._data._data.piece(row // 2, row % 2) for row in range(5)]
    np.testing.assert_allclose((found - found.mean()).detach()[numbers], louder, atol=0.05)


def test_sounds_are_as_loud_as_their_piece_allows():
    folder = examples(spectra=spectra())._data
    whole = folder.read_sounds(0, 1, 0, 48)
    part = folder.read_sounds(0, 1, -2, 50)
    np.testing.assert_array_equal(part[2:-2], whole)
    assert not part[:2].any()
    assert not part[-2:].any()
    given = feature_set().sounds[1]
    ratio = whole[given != 0] / given[given != 0]
    # Levels of the set say 40 dB above -80 dB, and 1.5 nepers more, for the loudest band.
    expected = 1 / np.sqrt(2 * 1e-4 * np.exp(2 * 1.5))
    assert np.median(ratio) == pytest.approx(expected, rel=0.02)


def test_examples_without_sounds_have_no_such_distance():
    data = examples()
    batch = data.draw(0)
    assert batch.sounds is None
    with pytest.raises(UserError, match="hold no sound"):
        data.sound_distance(batch.x, batch)


def test_sequences_that_are_too_short_to_be_measured_are_refused():
    with pytest.raises(UserError, match="must hold 2048 samples"):
        examples(train=replace(TRAIN, sequence=20), spectra=spectra())
    narrow = GainSpectra(HeardSound(FEATURES, np.zeros(0), AudioFormat(RATE, 128)), RATE)
    with pytest.raises(UserError, match="window must hold two hops"):
        examples(spectra=narrow)
