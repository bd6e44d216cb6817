"""The page of the comparison in a real browser, opened from disk."""

import numpy as np
import pytest
from support.browser import PHONE
from support.report_page import EVERY, NAMES, RATE, SECONDS, write_segments, write_sound
from support.scores import write_all
from test_tables import compare

# What the page sends to the loudspeaker goes to a tap on the thread of the audio as well, which keeps the
# time of every sample: on the thread of the page, blocks would be lost where the machine is busy.
TAP = """async () => {
  const source = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process([[samples]]) {
      if (samples) this.port.postMessage([currentFrame, samples]);
      return true;
    }
  });`;
  const context = player.context = new AudioContext();
  await context.audioWorklet.addModule("data:text/javascript," + encodeURIComponent(source));
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1,
    channelCountMode: "explicit" });
  window.heard = [];
  tap.port.onmessage = ({ data: [frame, samples] }) => {
    samples.forEach((sample, i) => { if (Math.abs(sample) > 0.05) window.heard.push(frame + i); });
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to === context.destination) connect.call(this, tap);
    return connect.call(this, to, ...rest);
  };
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of eight models and all bounds, two clips."""
    reports = write_all(tmp_path_factory.mktemp("compared"))
    write_sound(reports.parent)
    write_segments(reports.parent)
    assert compare(reports) == 0
    return reports.parent / "out" / "report.html"


@pytest.fixture
def page(report, open_page):
    def opened(**options):
        seen = open_page(**options)
        seen.page.goto(report.as_uri())
        seen.page.wait_for_selector("#chart-rtf svg")
        seen.page.wait_for_function("document.getElementById('difference').width > 100")
        return seen

    return opened


def position(page):
    return page.evaluate("player.position")


def test_it_opens_from_disk_without_a_network_and_without_an_error(page, report):
    for options in ({}, {"scheme": "dark"}, {"size": PHONE}):
        seen = page(**options)
        assert seen.requests == [report.as_uri()]
        assert seen.errors == []
        assert seen.violations() == []
        width = seen.page.evaluate("document.documentElement.scrollWidth")
        assert width <= options.get("size", (1280,))[0]
    assert report.stat().st_size < 20e6


def test_it_shows_every_number_and_what_can_be_told(page):
    seen = page()
    rows = seen.page.locator(".numbers tbody tr")
    assert rows.count() == 13
    assert seen.page.locator(".chart svg").count() == 14
    assert seen.page.get_by_role("columnheader", name="Best model").count() == 1
    told = seen.page.locator(".told tbody tr", has_text="Zimtohrli").inner_text().split("\t")
    assert told[0].startswith("Zimtohrli distance")
    assert len(told) == 5  # measure, best, alike, beside the piano alone, beside another piano
    headings = seen.page.locator(".told thead th").all_inner_texts()
    assert [heading.casefold() for heading in headings[3:]] == [
        "beside the piano alone",
        "beside another piano",
    ]
    assert told[3:] == ["≈ no difference seen"] * 2
    assert seen.page.locator("input[name=system]").count() == 13


def test_a_change_of_system_goes_on_at_the_same_moment(page):
    """Clicks are half a second apart in every system; so they are where one takes over from another."""
    seen = page()
    seen.page.evaluate(TAP)
    seen.page.keyboard.press(" ")
    seen.page.wait_for_function("player.position > 1.1")
    before = seen.page.evaluate("[player.position, player.context.currentTime]")
    seen.page.keyboard.press("5")
    seen.page.wait_for_function("player.position > 2.3")
    seen.page.locator("input[value=low_pass]").check()
    seen.page.wait_for_function("player.position > 3.4")
    seen.page.keyboard.press("x")
    seen.page.wait_for_function("player.position > 4.3")
    after = seen.page.evaluate("[player.position, player.context.currentTime]")
    assert after[0] - before[0] == pytest.approx(after[1] - before[1], abs=0.02)
    seen.page.keyboard.press(" ")
    loud = np.sort(seen.page.evaluate("heard")) / seen.page.evaluate("player.context.sampleRate")
    times = loud[np.diff(loud, prepend=-1.0) > 0.2]
    assert len(times) >= 7
    np.testing.assert_allclose(np.diff(times), EVERY, atol=0.02)
    assert seen.errors == []


def test_what_plays_is_the_recording_from_its_first_sample(page):
    """MP3 may not shift a clip: its clicks are where they were."""
    seen = page()
    decoded = seen.page.evaluate("""async () => {
      player.context = new AudioContext({ sampleRate: 24000 });
      return Array.from((await player.buffer("recording")).getChannelData(0));
    }""")
    loud = np.flatnonzero(np.abs(decoded) > 0.3 * np.max(np.abs(decoded)))
    first = loud[np.diff(loud, prepend=-RATE) > 0.2 * RATE] / RATE
    np.testing.assert_allclose(first, np.arange(0.25, SECONDS, EVERY), atol=0.01)


def test_levels_are_matched_and_the_difference_is_none(page):
    seen = page()
    seen.page.keyboard.press("1")
    seen.page.wait_for_function(
        "document.getElementById('cap-difference').textContent.startsWith('lstm at 512')"
    )
    extremes = seen.page.evaluate("""async () => {
      const [a, b] = [await player.levels("recording"), await player.levels("lstm-512")];
      return Math.max(...a.shades.map((shade, i) => Math.abs(shade - b.shades[i])));
    }""")
    assert extremes <= 1


def test_the_keyboard_alone_reaches_everything(page):
    seen = page()
    seen.page.keyboard.press("n")
    assert seen.page.evaluate("player.clip") == 1
    assert seen.page.locator("input[name=clip]:checked").get_attribute("value") == "1"
    seen.page.keyboard.press("]")
    assert seen.page.locator("input[name=system]:checked").get_attribute("value") == "lstm-512"
    seen.page.keyboard.press("r")
    seen.page.keyboard.press("x")
    assert seen.page.evaluate("player.system") == "lstm-512"
    seen.page.keyboard.press(".")
    assert position(seen.page) == pytest.approx(1.0)
    seen.page.keyboard.press(",")
    assert position(seen.page) == 0
    seen.page.locator("#position").focus()
    seen.page.keyboard.press("End")
    assert position(seen.page) == pytest.approx(SECONDS, abs=0.02)
    reached = set()
    for _ in range(40):
        seen.page.keyboard.press("Tab")
        reached.add(seen.page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"theme", "play", "ab", "position", "system", "clip"} <= reached
    assert seen.errors == []


def test_names_of_performances_are_text(page):
    labels = page().page.locator("input[name=clip] + span").all_inner_texts()
    assert labels == [name.replace("_", " ") for name in NAMES]
