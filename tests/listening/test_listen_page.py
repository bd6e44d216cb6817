"""The listening test as a participant takes it: a real server, a real browser, keys and clicks."""

import csv
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from support.listening_sounds import CLIPS, PLACES, RATE, SYSTEMS
from support.participant import Participant

from diffsynth.listening.answers import AnswerBook
from diffsynth.listening.clips import Clip
from diffsynth.listening.design import KINDS, Design, plan
from diffsynth.listening.server import ListeningServer
from diffsynth.listening.session import Session
from diffsynth.listening.stimuli import digests, match_loudness, read_stimuli

ROOT = Path(__file__).parents[2]


def words(sounds, out, *more):
    """A `diffsynth listen` of these sounds as the words of a process."""
    places = ["--aligned", sounds / "aligned", "--renders", sounds / "renders", "--out", out]
    return [sys.executable, "-m", "pipeline", "listen", *map(str, [*places, *more])]


@contextmanager
def served(sounds, out, kind="mos", systems=SYSTEMS[1:], clips=CLIPS):
    """A running test in this process: its thread and address."""
    folders = {"recording": sounds / "aligned", **{name: PLACES[name](sounds) for name in systems}}
    chosen = [Clip(name) for name in clips]
    design = Design(KINDS[kind], tuple(folders), tuple(clips), 10.0, 0)
    stimuli, _ = match_loudness(read_stimuli(folders, chosen, 10.0)[0], RATE)
    book = AnswerBook(out)
    session = Session(book, design, stimuli, RATE, book.open(design, digests(folders, chosen), -23.0), 1)
    server = ListeningServer()
    thread = threading.Thread(target=server.run, args=[session])
    thread.start()
    try:
        yield thread, server.address.rstrip("/")
    finally:
        session.over.set()
        thread.join(20)


@contextmanager
def listening(sounds, out, *more):
    """A running test in a process of its own: the process and its address."""
    process = subprocess.Popen(
        words(sounds, out, *more),
        cwd=sounds,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield process, re.match(r"(http://127\.0\.0\.1:\d+)/ ", line)[1]
    finally:
        process.kill()
        process.wait()


def report(sounds, out, *more):
    """What `--results` prints."""
    done = subprocess.run(
        words(sounds, out, "--results", *more),
        cwd=sounds,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def participant(open_page, tmp_path):
    return lambda address, **options: Participant(open_page(**options), address, tmp_path)


def test_twenty_ratings_with_a_reload_in_the_middle(sounds, tmp_path, participant):
    values = np.random.default_rng(8).integers(1, 6, 20)
    out = tmp_path / "listening"
    with listening(sounds, out) as (process, address):
        person = participant(address)
        person.begin("Anna")
        clicked = {}
        for number, value in enumerate(values, 1):
            person.rate_page(number, 20, value)
            if number in (1, 10):  # rated, not confirmed: the rating is kept
                person.page.reload()
                expect(person.page.locator(f"#mos-scale input[value='{value}']")).to_be_checked()
                expect(person.page.locator("#mos-next")).to_be_enabled()
            name = list(person.wavs)[-1]
            clicked[person.heard(name)] = int(value)
            person.page.keyboard.press("Enter")
        expect(person.page.get_by_role("heading", name="Thank you")).to_be_visible()
        assert process.wait(timeout=20) == 0  # ends by itself
        assert "diffsynth listen --results" in process.stdout.read()
    assert person.watched.errors == []
    assert person.watched.outside == []
    report(sounds, out)
    names = {system: system for system in SYSTEMS} | {"reference": "recording"}
    found = rows(out / "results" / "mos-ratings.csv")
    given = {(row["trial_id"], names[row["rating_stimulus"]]): int(row["rating_score"]) for row in found}
    assert given == clicked
    assert set(clicked) == {(clip, system) for clip in CLIPS for system in SYSTEMS}

    # Nothing that the browser was told speaks of systems or clips, or orders them.
    assert len(person.wavs) == 20
    told = " ".join([*person.bodies, *person.watched.requests])
    assert not [word for word in (*SYSTEMS, *CLIPS, "lstm", "s6") if re.search(rf"\b{word}\b", told, re.I)]
    assert {len(wav) for wav in person.wavs.values()} == {44 + 2 * round(0.6 * RATE)}
    assert list(person.wavs) != sorted(person.wavs)

    # Means, intervals and tests, computed anew.
    for row in rows(out / "results" / "mos.csv"):
        own = [value for (_, system), value in clicked.items() if system == row["system"]]
        half = 3.182446 * np.std(own, ddof=1) / 2  # Student's t with 3 degrees of freedom
        found = [float(row[key]) for key in ("mean", "low", "high")]
        assert found == pytest.approx([np.mean(own), np.mean(own) - half, np.mean(own) + half], rel=1e-4)
    tests = rows(out / "results" / "mos-tests.csv")
    assert len(tests) == 10
    for row in tests:
        pairs = [clicked[clip, row["first"]] - clicked[clip, row["second"]] for clip in CLIPS]
        assert float(row["difference"]) == pytest.approx(np.mean(pairs))
    assert (out / "results" / "mos.png").read_bytes().startswith(b"\x89PNG")


def test_a_mushra_page_by_keys_and_by_pointer(sounds, tmp_path, participant):
    out = tmp_path / "listening"
    with served(sounds, out, "mushra", clips=["bravo"]) as (thread, address):
        person = participant(address)
        person.begin("ben")
        play = person.page.locator("#mushra-play")
        expect(play).to_be_visible()  # before, nothing has turned it off
        expect(play).to_be_enabled()
        assert person.watched.violations() == []
        lines = person.page.locator("#mushra-rows li")
        assert lines.count() == 6
        names = [lines.nth(index).get_attribute("data-sound") for index in range(6)]
        assert len(set(person.wavs)) == 7  # the open reference is another file than the hidden one
        for index in range(5):
            person.page.keyboard.press("ArrowDown")
            expect(lines.nth(index).get_by_role("slider")).to_be_focused()
            person.page.keyboard.press("PageUp")
            for _ in range(index):
                person.page.keyboard.press("ArrowRight")
            expect(lines.nth(index).locator("output")).to_have_text(str(60 + index))
        expect(person.page.locator("#mushra-rows li.kept")).to_have_count(5)
        expect(person.page.locator("#mushra-hint")).to_have_text("1 to hear, 1 to rate")
        person.page.reload()
        expect(lines.nth(4).locator("output")).to_have_text("64")
        lines.nth(5).get_by_role("button").click()
        lines.nth(5).get_by_role("slider").fill("7")
        expect(person.page.locator("#mushra-next")).to_be_enabled()
        played = [person.heard(name) for name in names]
        person.page.get_by_role("button", name="Next").click()
        expect(person.page.get_by_role("heading", name="Thank you")).to_be_visible()
        thread.join(20)
        assert not thread.is_alive()
    assert person.watched.errors == []
    (path,) = (out / "ratings").iterdir()
    (trial,) = json.loads(path.read_text())["trials"]
    (expected,) = plan(Design(("mushra",), SYSTEMS, ("bravo",), 10.0, 0), "ben")
    assert trial["systems"] == list(expected.systems)
    assert trial["ratings"] == dict(zip(expected.systems, [60, 61, 62, 63, 64, 7], strict=True))
    # At this rate there is nothing above 4 kHz that the anchor could lack.
    assert played == [("bravo", {"anchor35": "recording"}.get(name, name)) for name in expected.systems]


@pytest.mark.parametrize("kind", ["mos", "mushra"])
def test_the_page_can_be_used_by_everyone(kind, sounds, tmp_path, participant):
    with served(sounds, tmp_path / "l", kind, ["s6-512"]) as (_, address):
        for options in ({}, {"size": (390, 844), "scheme": "dark", "has_touch": True}):
            person = participant(address, **options)
            person.page.goto(address)
            expect(person.page.get_by_label("Your name or a code")).to_be_focused()
            assert person.watched.violations() == []
            person.begin("carol")
            expect(person.page.locator(f"#{kind}-play")).to_be_visible()
            expect(person.page.locator(f"#{kind}-play")).to_be_enabled()
            assert person.watched.violations() == []
            width = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert person.page.evaluate(width) == 0


def post(address, call, host=None, **fields):
    """Status and answer of a request."""
    headers = {"Content-Type": "application/json", **({"Host": host} if host else {})}
    request = urllib.request.Request(f"{address}/api/{call}", json.dumps(fields).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_what_the_page_would_not_send_is_refused_and_a_new_start_goes_on(sounds, tmp_path):
    out = tmp_path / "l"
    with served(sounds, out) as (_, address):
        status, first = post(address, "state", participant="dora")
        other = post(address, "state", participant="emil")[1]
        assert status == 200
        page, (name,) = first["page"], first["sounds"]
        assert not {page, name} & {other["page"], *other["sounds"]}
        rating = {"participant": "dora", "page": page, "sound": name}
        for fields in (
            {**rating, "value": 6},
            {**rating, "value": 0},
            {**rating, "value": 2.5},
            {**rating, "value": True},
            {**rating, "value": 3, "sound": "0" * 16},
            {**rating, "value": 3, "page": other["page"]},
            {**rating, "value": 3, "participant": "../dora"},
            {**rating, "value": 3, "more": 1},
            rating,
        ):
            assert post(address, "rate", **fields)[0] == 400, fields
        assert post(address, "finish", participant="dora", page=page)[0] == 400  # not rated yet
        assert post(address, "rate", host="evil.example", **rating, value=3)[0] == 404
        assert not out.joinpath("ratings").exists()
        assert post(address, "rate", **rating, value=3)[1]["ratings"] == {name: 3}
    with served(sounds, out) as (_, address):
        again = post(address, "state", participant="dora")[1]
        assert again["ratings"] == {name: 3}
        assert post(address, "finish", participant="dora", page=page)[1]["number"] == 2
