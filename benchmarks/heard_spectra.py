"""Gains that are learned through the spectra that are heard, for pieces of a real piano that are held back.

    python benchmarks/heard_spectra.py FOLDER PIANO OUT --test NAME NAME ... --validate NAME
        [--network lstm|s6|bands|bands_lstm|bands_s6] [--ages 1|3] [--steps 1200] [--drop 0] [--rate 16000]
        [--device cpu|cuda] [--minutes 60] [--seed 0] [--workers 2]

FOLDER holds recordings and their MIDI, which is played as it is; PIANO is a piano fitted to those that are
not held back, as `benchmarks/real_piano.py` writes to OUT/piano.safetensors. The engine's bank renders the
modes and the noise of every piece once, for as many minutes of it as asked for. In training, band gains act
on their spectra, and what comes out is compared with the recording (`heard_sound.py`): mean |difference| of
mel bands in dB, spectral convergence, and a little of the difference in level. The product's own objective
compares levels in bands instead.

`--network lstm` and `s6` are the product's denoisers. `bands` shares its weights over bands
(`gain_networks.py`), and so do `bands_lstm` and `bands_s6`, which carry a recurrent state (`sub_bands.py`).
`--ages 3` gives modes three gains, between which the time since the last strike of their key decides.
`--drop` is the share of channels of the context that are dropped in training.

Printed is a row of a table for the piano alone, and one at every validation: distances of the pieces to
validate with, then of those to test with, over 40 s from second 5, at the same level; log-mel of training is
a running mean, `floor` how much louder than the recording it is where that is quietest. OUT gets the weights
of the best validation (weights.safetensors); the pieces to test with as the bank plays them with those gains
(NAME.wav), which the last row measures; and, of the product's networks with one age, a voice that `diffsynth
render --weights` plays (voice.safetensors).
"""

import argparse
import json
import math
import os
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # results and cores: see diffsynth.runs.parallel

import numpy as np
import torch
from gain_networks import SCALE, BandNetwork, RecurrentGains
from heard_pieces import AGES, FROM, SECONDS, EnginePiano, Piece, read_piece
from heard_sound import Distance, Figures, HeardSound
from heard_training import Track, gains_of, measure, train
from real_piano import PARAMS, changes
from safetensors.torch import save_file
from sub_bands import SubBandNetwork
from torch import nn

from diffsynth.audio.files import write_audio
from diffsynth.datasets.folder import find_pairs
from diffsynth.errors import UserError
from diffsynth.piano.piano import Piano, load_piano
from diffsynth.representation.gain_field import GainField
from diffsynth.representation.normaliser import MAX_GAIN, Normaliser
from diffsynth.runs.files import atomic_path
from diffsynth.runs.parallel import parallel_map
from diffsynth.synthesis.gain_voice import GainConfig, GainVoice
from diffsynth.synthesis.weights import check_saved, save_voice
from pipeline.params import Params, load_params

DENOISERS = ("lstm", "s6")  # of the product
SHARED = "bands_"  # before the name of a model whose weights bands share
NETWORKS = (*DENOISERS, "bands", *(f"{SHARED}{model}" for model in DENOISERS))


def span(rate: int) -> slice:
    """Samples that are measured of a piece."""
    return slice(int(FROM * rate), int((FROM + SECONDS) * rate))


def new_network(name: str, ages: int, drop: float, params: Params) -> nn.Module:
    """A network by its name, of the size that `params` says."""
    features = params.features
    if name == "bands":
        return BandNetwork(features, ages, drop=drop)
    if name.startswith(SHARED):
        return SubBandNetwork(name.removeprefix(SHARED), features, ages, drop=drop)
    values = ages * features.bands + features.noise_bands
    return RecurrentGains(params.model(name).new_denoiser(values, GainField.width(features)), drop)


def save_trained(path: Path, network: nn.Module, header: dict[str, object]) -> None:
    """Weights of any of the networks, and how they came about."""
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(weights, str(temporary), {"training": json.dumps(header, sort_keys=True)})


def write_voice(
    path: Path, model: str, network: RecurrentGains, piano: Piano, params: Params, header: dict[str, object]
) -> None:
    """A voice that `diffsynth render` plays."""
    denoiser = deepcopy(network.denoiser).cpu().eval().requires_grad_(False)
    with torch.no_grad():  # noise was 0 throughout, so what it would do was never learned
        for parameter in (denoiser.head.input.weight, *denoiser.head.skip.parameters()):
            parameter.zero_()
    features, audio = params.features, params.audio
    config = GainConfig(
        model=model,
        block=features.hop * audio.frame,  # within which a denoiser mixes hops: it learned from single ones
        objective="regression",
        network=params.model(model),
        audio=audio,
        features=features,
    )
    mean, scale = (np.full(features.values, value, np.float32) for value in (0.0, SCALE))
    voice = GainVoice(config, denoiser, piano, Normaliser(mean, scale))
    save_voice(path, voice, header)
    check_saved(path, voice)


def play_tests(
    pieces: list[Piece], network: nn.Module, engine: EnginePiano, out: Path, distance: Distance
) -> list[Figures]:
    """Write what the engine's bank plays with the gains of a network, and measure it."""
    rows, rate = [], engine.audio.sample_rate
    for piece in pieces:
        features = engine.field.features
        condition = torch.from_numpy(piece.rendered.condition).float()
        values = engine.ages * features.bands + features.noise_bands
        gains = gains_of(network, condition, values).clamp(-MAX_GAIN, MAX_GAIN).numpy()
        audio = engine.play(piece.events, gains)
        heard, recorded = (torch.from_numpy(sound[span(rate)]) for sound in (audio, piece.recorded))
        rows.append(distance.figures(heard, recorded))
        wav = out / f"{piece.name}.wav"
        write_audio(wav, 0.9 * audio / max(np.abs(audio).max(), 1e-9), rate)
        print(wav, flush=True)
    return rows


def print_row(label: str, learned: float | None, *groups: list[Figures]) -> None:
    """One line of the table: means over the pieces of each group; nothing where there are none."""
    cells = [label, "" if learned is None else f"{learned:.3f}"]
    for rows in groups:
        for name, digits in (("log_mel", 3), ("convergence", 3), ("floor", 2)):
            mean = np.mean([getattr(row, name) for row in rows]) if rows else None
            cells.append("" if mean is None else f"{mean:.{digits}f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def read_pieces(args: argparse.Namespace, piano: Piano, params: Params) -> dict[str, list[Piece]]:
    """Pieces to train with, to validate with and to test with."""
    pairs, _ = find_pairs(args.folder)
    wanted = {"test": args.test, "validate": args.validate}
    if missing := sorted({*args.test, *args.validate} - {pair.title for pair in pairs}):
        raise UserError(f"not in {args.folder}: {', '.join(missing)}")
    if both := sorted({*args.test} & {*args.validate}):
        raise UserError(f"both to test and to validate with: {', '.join(both)}")
    if all(pair.title in (*args.test, *args.validate) for pair in pairs):
        raise UserError("no piece is left to train with")
    read = partial(
        read_piece,
        piano=piano,
        audio=params.audio,
        features=params.features,
        ages=args.ages,
        minutes=args.minutes,
    )
    groups: dict[str, list[Piece]] = {"train": [], "validate": [], "test": []}
    for piece in parallel_map(read, pairs, args.workers, "rendering"):
        groups[next((use for use, names in wanted.items() if piece.name in names), "train")].append(piece)
    return groups


def study(args: argparse.Namespace, params: Params) -> None:
    """Render, train, and play."""
    piano = replace(load_piano(args.piano), jitter=0.0)
    if not len(piano.noise.centre):
        raise UserError(f"{args.piano}: this piano has no noise")
    pieces = read_pieces(args, piano, params)
    audio, features = params.audio, params.features
    synth = HeardSound(features, piano.noise.centre, audio, args.ages).to(args.device)
    distance = Distance(audio.sample_rate).to(args.device)
    tracks = {use: [Track.of(piece, synth, distance) for piece in group] for use, group in pieces.items()}
    seconds = sum(len(track.recorded) for track in tracks["train"]) / audio.sample_rate
    print(f"{len(tracks['train'])} pieces to train with, {seconds / 60:.1f} min", flush=True)
    network, header = learn(args, tracks, synth, distance, params)
    engine = EnginePiano(piano, audio, features, args.ages)
    played = play_tests(pieces["test"], network.cpu(), engine, args.out, distance.cpu())
    print_row("by the bank", None, [], played)
    if args.ages == 1 and args.network in DENOISERS:
        write_voice(args.out / "voice.safetensors", args.network, network, piano, params, header)
        print(args.out / "voice.safetensors")


def learn(
    args: argparse.Namespace,
    tracks: dict[str, list[Track]],
    synth: HeardSound,
    distance: Distance,
    params: Params,
) -> tuple[nn.Module, dict[str, object]]:
    """The network of the best validation and how it came about; the table grows meanwhile."""
    torch.manual_seed(args.seed)
    network = new_network(args.network, args.ages, args.drop, params).to(args.device)
    config = replace(params.train, seed=args.seed)
    if args.network not in DENOISERS:
        config = replace(config, learning_rate=4e-3, weight_decay=0.1)
    header = {"network": args.network, "ages": args.ages, "drop": args.drop, **asdict(config)}
    shown = [tracks["validate"], tracks["test"]]
    rows = partial(measure, synth=synth, distance=distance, part=span(params.audio.sample_rate))
    print("| step | training | validate log-mel | SC | floor | test log-mel | SC | floor |")
    print("|---" * 8 + "|")
    print_row("piano alone", None, *(rows(None, group) for group in shown))
    best, kept = math.inf, network
    for step, learned, averaged in train(network, tracks["train"], synth, distance, config):
        found = [rows(averaged, group) for group in shown]
        print_row(str(step), learned, *found)
        mean = float(np.mean([row.log_mel for row in found[0]]))
        if mean < best:
            best, kept, header["step"] = mean, deepcopy(averaged), step
            save_trained(args.out / "weights.safetensors", kept, header)
    return kept, header


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("piano", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--validate", nargs="+", required=True)
    parser.add_argument("--network", choices=NETWORKS, default="lstm")
    parser.add_argument("--ages", type=int, choices=list(AGES), default=1)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--drop", type=float, default=0.0)
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--minutes", type=float, default=60.0, help="of every piece, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    args = parser.parse_args()
    try:
        if not 0 <= args.drop < 1:
            raise UserError(f"--drop must be at least 0 and below 1, not {args.drop}")
        if args.device == "cuda":
            if not torch.cuda.is_available():
                raise UserError("--device cuda: there is none")
            torch.set_float32_matmul_precision("high")
        study(args, load_params(PARAMS, changes(args.rate, args.steps)))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
