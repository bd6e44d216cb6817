"""Seven performances of MAESTRO, its real names and splits with generated sound, as a server has them."""

import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import soundfile

from diffsynth.datasets.maestro.fetch import fetch_maestro
from diffsynth.datasets.maestro.http_ranges import Patience
from diffsynth.datasets.manifest import read_manifest, verify
from diffsynth.datasets.source import Means
from diffsynth.midi.events import NOTE_ON, make_events
from diffsynth.midi.files import write_midi
from pipeline.params import load_params
from support.range_server import zip_bytes

# Rows of the real table: MAESTRO v3.0.0 (C. Hawthorne et al., ICLR 2019), CC BY-NC-SA 4.0.
TABLE = """\
canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration
Alexander Scriabin,"Sonata No. 9, Op. 68, ""Black Mass""\
",test,2018,2018/MIDI-Unprocessed_Recital13-15_MID--AUDIO_15_R1_2018_wav--1.midi,\
2018/MIDI-Unprocessed_Recital13-15_MID--AUDIO_15_R1_2018_wav--1.wav,520.215825937
Alexander Scriabin,"Sonata No. 2 in G-sharp Minor, Op. 19\
",train,2018,2018/MIDI-Unprocessed_Recital17-19_MID--AUDIO_18_R1_2018_wav--2.midi,\
2018/MIDI-Unprocessed_Recital17-19_MID--AUDIO_18_R1_2018_wav--2.wav,685.005992344
Claude Debussy,"L'isle joyeuse, L. 106\
",train,2018,2018/MIDI-Unprocessed_Recital1-3_MID--AUDIO_02_R1_2018_wav--4.midi,\
2018/MIDI-Unprocessed_Recital1-3_MID--AUDIO_02_R1_2018_wav--4.wav,349.685814844
Johannes Brahms,Intermezzos Op. 119\
,validation,2018,2018/MIDI-Unprocessed_Chamber3_MID--AUDIO_10_R3_2018_wav--2.midi,\
2018/MIDI-Unprocessed_Chamber3_MID--AUDIO_10_R3_2018_wav--2.wav,834.47566125
Alban Berg,Sonata Op. 1\
,train,2017,2017/MIDI-Unprocessed_066_PIANO066_MID--AUDIO-split_07-07-17_Piano-e_3-02_wav--3.midi,\
2017/MIDI-Unprocessed_066_PIANO066_MID--AUDIO-split_07-07-17_Piano-e_3-02_wav--3.wav,464.649432608
Frédéric Chopin,Berceuse Op. 57 in D-flat Major\
,validation,2017,2017/MIDI-Unprocessed_083_PIANO083_MID--AUDIO-split_07-09-17_Piano-e_2_-06_wav--5.midi,\
2017/MIDI-Unprocessed_083_PIANO083_MID--AUDIO-split_07-09-17_Piano-e_2_-06_wav--5.wav,265.093786504
César Franck,"Prélude, chorale, et fugue, M. 21\
",train,2014,2014/MIDI-UNPROCESSED_16-18_R1_2014_MID--AUDIO_16_R1_2014_wav--3.midi,\
2014/MIDI-UNPROCESSED_16-18_R1_2014_MID--AUDIO_16_R1_2014_wav--3.wav,706.374827813
"""
FOLDER = "maestro-v3.0.0"
ARCHIVE, LIST = f"{FOLDER}.zip", f"{FOLDER}.csv"
ROOT = Path(__file__).parents[2]
MAESTRO = load_params(ROOT / "params.yaml", {"dataset.name": "maestro"}).dataset
QUICK = Patience(first=0.001, timeout=10)


def rows():
    """Paths below the folder of the dataset, by performance."""
    return [line.split(",")[-3:-1] for line in TABLE.splitlines()[1:]]


def members(folder):
    """Contents of every file of the archive by name; `folder` is for temporary files."""
    found = {f"{FOLDER}/LICENSE": b"CC BY-NC-SA 4.0\n", f"{FOLDER}/README": b"See LICENSE.\n"}
    found[f"{FOLDER}/{FOLDER}.csv"] = TABLE.encode()
    for number, (midi, audio) in enumerate(rows()):
        found[f"{FOLDER}/{midi}"] = midi_bytes(folder, 60 + number)
        found[f"{FOLDER}/{audio}"] = wav_bytes(1.0 + 0.3 * number, number, 48000 if number % 2 else 44100)
    return found


def served(contents):
    """Files of the server: the table, and the archive, whose LICENSE and third recording are only stored."""
    stored = {f"{FOLDER}/LICENSE", f"{FOLDER}/{rows()[2][1]}"}
    packed = {
        name: (content, zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED)
        for name, content in contents.items()
    }
    return {f"{FOLDER}.csv": TABLE.encode(), f"{FOLDER}.zip": zip_bytes(packed)}


def of_years(contents, *years):
    """The members that belong to some years, and those that belong to all."""
    all_years = {"2014", "2017", "2018"}
    return {
        name: content
        for name, content in contents.items()
        if name.split("/")[1] not in all_years - set(map(str, years))
    }


def compressed(files, name):
    """Bytes that a member takes in the archive."""
    with zipfile.ZipFile(io.BytesIO(files[f"{FOLDER}.zip"])) as archive:
        return archive.getinfo(name).compress_size


def wav_bytes(seconds, seed, rate=48000):
    """Stereo 16-bit noise that fades, which deflates a little, like music."""
    count = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(0, 0.1, (count, 2)) * np.linspace(1, 0, count)[:, None]
    file = io.BytesIO()
    soundfile.write(file, noise, rate, "PCM_16", format="WAV")
    return file.getvalue()


def midi_bytes(folder, key):
    """A MIDI file of one note."""
    path = folder / "one.mid"
    write_midi(path, make_events([(0.1, NOTE_ON, key, 80), (0.5, 0, key, 0)]))
    content = path.read_bytes()
    path.unlink()
    return content


def dataset(server, **changes):
    """Parameters of the download from a server."""
    return dataclasses.replace(MAESTRO, **{"url": server.url, **changes})


def fetch(server, out, say=lambda _: None, connections=4, earlier=None, **changes):
    """The download."""
    asked, means = dataset(server, **changes), Means(1, connections, False, earlier or {}, say)
    return fetch_maestro(asked.url, asked.years, out, means, QUICK)


def listing(folder):
    """Files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_brought(out, expected):
    """The folder holds these files and a true manifest, nothing else."""
    assert listing(out) == {*expected, "manifest.json"}
    for name, content in expected.items():
        assert (out / name).read_bytes() == content, name
    verify(out, read_manifest(out))
