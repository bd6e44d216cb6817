"""Someone who takes a listening test in a browser, and what the browser was told."""

import json

import numpy as np
import soundfile
from playwright.sync_api import Error, expect

from support.listening_sounds import CLIPS, RATE, SYSTEMS, sound


def recognised(wav):
    """Clip and system of a WAV file, by its likeness to all that there are."""
    samples, rate = soundfile.read(wav)
    assert rate == RATE
    likeness = {
        (clip, system): np.corrcoef(samples, sound(clip, system))[0, 1]
        for clip in CLIPS
        for system in SYSTEMS
    }
    best = max(likeness, key=likeness.get)
    assert likeness[best] > 0.95 > 0.2 > sorted(likeness.values())[-2]
    return best


class Participant:
    """Someone at the page, who writes down what was played and what was answered."""

    def __init__(self, watched, address, folder):
        self.watched, self.page, self.address, self.folder = watched, watched.page, address, folder
        self.bodies, self.wavs = [], {}
        self.page.route("**/*", self.note)

    def note(self, route):
        try:
            response = route.fetch()
        except Error:  # the server has ended while a sound was on its way, which the page gets to know
            route.abort()
            return
        self.bodies.append(json.dumps(response.headers))
        if "/audio/" in response.url:
            self.wavs[response.url.rpartition("/")[2]] = response.body()
        else:
            self.bodies.append(response.text())
        route.fulfill(response=response)

    def begin(self, name):
        self.page.goto(self.address)
        self.page.get_by_label("Your name or a code").fill(name)
        self.page.keyboard.press("Enter")

    def heard(self, name):
        """What the sound of an opaque name is."""
        path = self.folder / f"{name}.wav"
        path.write_bytes(self.wavs[name])
        return recognised(path)

    def rate_page(self, number, total, value):
        """Listen and rate one page of the MOS part by keys alone."""
        expect(self.page.locator("#count")).to_have_text(f"{number} of {total}")
        expect(self.page.locator("#mos-play")).to_be_enabled()
        best = self.page.get_by_role("radio", name="5 Excellent")
        expect(best).to_be_disabled()  # nothing is rated unheard
        self.page.keyboard.press("Space")
        expect(best).to_be_enabled()
        self.page.keyboard.press(str(value))
        expect(self.page.locator("#mos-next")).to_be_enabled()
