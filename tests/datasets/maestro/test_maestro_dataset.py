"""The table of MAESTRO, and copies of it that are there already."""

import dataclasses
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_maestro import FOLDER, MAESTRO, TABLE, members, of_years, rows, served
from support.source_files import QUIET

from diffsynth.datasets.maestro.dataset import names_of, parse, prefix_of
from diffsynth.datasets.maestro.dataset import of_years as rows_of_years
from diffsynth.datasets.manifest import read_manifest, verify
from diffsynth.datasets.registry import bring
from diffsynth.errors import UserError
from diffsynth.runs.files import sha256

ROOT = Path(__file__).parents[3]


def dataset(**changes):
    return dataclasses.replace(MAESTRO, **changes)


# the table


def test_the_table_is_read_with_its_quotes_and_accents():
    found = parse(TABLE, "t")
    assert [row.year for row in found] == [2018] * 4 + [2017] * 2 + [2014]
    assert found[0].title == 'Sonata No. 9, Op. 68, "Black Mass"'
    assert (found[5].composer, found[5].split) == ("Frédéric Chopin", "validation")
    assert parse("\ufeff" + TABLE.replace("\n", "\r\n"), "t") == found


@pytest.mark.parametrize(
    ("years", "count"), [([2018], 4), ([2017, 2014], 3), ([2018, 2018], 4), ("all", 7), ([2014], 1)]
)
def test_years_are_chosen(years, count):
    found = rows_of_years(parse(TABLE, "t"), years)
    assert len(found) == count
    assert {row.year for row in found} == ({2014, 2017, 2018} if years == "all" else set(years))


@pytest.mark.parametrize(
    ("years", "message"),
    [
        ([2018, 1999, 2019], "MAESTRO has no year 1999, 2019: choose from 2014, 2017, 2018, or all"),
        ([], "dataset.years is empty: choose from 2014, 2017, 2018, or all"),
    ],
)
def test_unknown_years_are_refused_with_those_there_are(years, message):
    with pytest.raises(UserError, match=message):
        rows_of_years(parse(TABLE, "t"), years)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("canonical_title", "title", "is not the table of MAESTRO: KeyError 'canonical_title'"),
        (",test,2018", ",test,late", "is not the table of MAESTRO: ValueError"),
        (",test,2018", ",best,2018", "is not the table of MAESTRO: ValueError split 'best'"),
        (",2018/MIDI-Unprocessed_Recital1-3", ",../2018/Recital1-3", "ValueError path"),
        (",2018/MIDI-Unprocessed_Recital1-3", ",/2018/Recital1-3", "ValueError path"),
        ("Recital1-3_MID--AUDIO_02_R1_2018_wav--4", "Chamber3_MID--AUDIO_10_R3_2018_wav--2", "2 times"),
        ("Sonata Op. 1,train", '"Sonata No. 9, Op. 68, ""Black Mass""",train', None),
    ],
)
def test_what_is_no_table(old, new, message):
    assert old in TABLE
    if message is None:  # a title that another composer's piece has as well is no trouble
        assert len(parse(TABLE.replace(old, new), "t")) == 7
        return
    with pytest.raises(UserError, match=f"^t .*{message}"):
        parse(TABLE.replace(old, new), "t")


def test_a_table_without_performances_or_cut_short():
    with pytest.raises(UserError, match="t lists no performances"):
        parse(TABLE.splitlines()[0], "t")
    with pytest.raises(UserError, match="t is not the table"):
        parse(TABLE[:-200], "t")


def test_a_composition_in_two_splits_is_refused():
    line = next(line for line in TABLE.splitlines() if "Intermezzos" in line)
    again = line.replace("Chamber3", "Chamber4")
    assert len(parse(f"{TABLE}{again}\n", "t")) == 8  # another performance, of the same split
    with pytest.raises(UserError, match=r"t: .*: Intermezzos Op\. 119 is in train and validation"):
        parse(f"{TABLE}{again.replace(',validation,', ',train,')}\n", "t")


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=300) | st.integers(0, len(TABLE)).map(lambda cut: TABLE[:cut] + "\0" + TABLE[cut:]))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text, "t")
    except UserError:
        return
    assert all(".." not in row.midi.split("/") and not row.midi.startswith("/") for row in found)


def test_names_of_performances_are_theirs_alone():
    names = names_of(parse(TABLE, "t"))
    assert len(set(names)) == 7
    assert names[0] == "2018_MIDI-Unprocessed_Recital13-15_MID--AUDIO_15_R1_2018_wav--1"
    assert (prefix_of([f"{FOLDER}/README"]), prefix_of(["2018/a.wav"])) == (f"{FOLDER}/", "")


# a local copy


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return members(tmp_path_factory.mktemp("members"))


@pytest.fixture(params=["archive", "archive beside its table", "folder", "folder above"])
def copy(request, contents, tmp_path):
    """The root of a local copy."""
    base = tmp_path / "copy"
    base.mkdir()
    if request.param == "archive":
        (base / "m.zip").write_bytes(served(contents)[f"{FOLDER}.zip"])
        return base / "m.zip"
    if request.param == "archive beside its table":
        (base / f"{FOLDER}.csv").write_text(TABLE, encoding="utf8")
        with zipfile.ZipFile(base / "m.zip", "w") as archive:
            for name, content in contents.items():
                if not name.endswith(".csv"):
                    archive.writestr(name, content)
        return base / "m.zip"
    for name, content in contents.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    return base / FOLDER if request.param == "folder" else base


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode, sha256(path)) for path in files(folder)}


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_copy_is_used_and_left_alone(copy, contents, tmp_path):
    before, out = state(tmp_path / "copy"), tmp_path / "raw"
    for _ in range(2):
        manifest = bring(dataset(root=str(copy), years=[2018, 2014]), out, QUIET)
    expected = of_years(contents, 2018, 2014)
    assert {path.relative_to(out).as_posix() for path in files(out)} == {*expected, "manifest.json"}
    for name, content in expected.items():
        assert (out / name).read_bytes() == content
        assert os.stat(out / name).st_nlink == 1  # a copy: a change here is none there
    assert manifest == read_manifest(out)
    verify(out, manifest)
    assert [p.split for p in manifest.performances].count("train") == 3
    assert state(tmp_path / "copy") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "raw"]


def test_durations_titles_and_clipping_are_those_of_the_files(contents, tmp_path):
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    midi, audio = rows()[0]
    loud = bytearray(contents[f"{FOLDER}/{audio}"])
    loud[44 : 44 + 400] = b"\xff\x7f" * 200
    (tmp_path / FOLDER / audio).write_bytes(loud)
    manifest = bring(dataset(root=str(tmp_path / FOLDER)), tmp_path / "raw", QUIET)
    first = next(p for p in manifest.performances if p.midi == f"{FOLDER}/{midi}")
    assert first.title == 'Alexander Scriabin: Sonata No. 9, Op. 68, "Black Mass"'
    assert first.split == "test"
    assert first.duration == pytest.approx(1.0, abs=1e-4)
    assert first.clipped == 2 * 99
    assert manifest.set_aside == []


def test_what_is_missing_or_no_sound_is_set_aside(contents, tmp_path):
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (first, one), (_, two), (_, three), _ = rows()[:4]
    (tmp_path / FOLDER / first).unlink()
    (tmp_path / FOLDER / two).unlink()
    (tmp_path / FOLDER / three).write_bytes(b"RIFFnothing")
    manifest = bring(dataset(root=str(tmp_path / FOLDER)), tmp_path / "raw", QUIET)
    assert len(manifest.performances) == 1
    reasons = {item.name: item.reason for item in manifest.set_aside}
    assert reasons.keys() == {one, two, three}
    assert reasons[one] == f"there is no {first}"
    assert reasons[two] == f"there is no {two}"
    assert reasons[three].startswith("not a readable audio file: ")


def test_a_damaged_archive_leaves_nothing(contents, tmp_path):
    archive = bytearray(served(contents)[f"{FOLDER}.zip"])
    archive[archive.index(rows()[2][1].encode()) + 5000] ^= 1
    (tmp_path / "m.zip").write_bytes(archive)
    with pytest.raises(UserError, match=r"m\.zip is damaged at maestro-v3\.0\.0/2018/.*wav--4\.wav: "):
        bring(dataset(root=str(tmp_path / "m.zip")), tmp_path / "raw", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["m.zip"]


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("nowhere.zip", "nowhere.zip does not exist"),
        ("empty", f"empty holds no {FOLDER}.csv, so it is no copy of MAESTRO"),
        ("text.zip", "text.zip is not a complete ZIP archive"),
        ("bare.zip", f"there is no {FOLDER}.csv in .*bare.zip or beside it"),
        ("table", "table has none of the files that its .*csv lists; there is no 2018/"),
    ],
)
def test_what_is_no_copy(tmp_path, root, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / f"{FOLDER}.csv").write_text(TABLE, encoding="utf8")
    (tmp_path / "text.zip").write_text("not yet downloaded")
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(UserError, match=message):
        bring(dataset(root=str(tmp_path / root)), tmp_path / "raw", QUIET)
    assert not (tmp_path / "raw").exists()
