"""A real browser without a network: what a page asks for and what it complains about is written down.

The browser is the system's Chromium, driven by Playwright. Files and loopback are all that it reaches:
any other request fails, and stands in `Watched.requests` like the others.
"""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WITHIN = ("data", "blob")  # schemes of what a page holds itself
PHONE = (390, 844)  # pixels
# Names of hosts lead nowhere, also for what Playwright does not see, such as prefetched names.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
QUIET = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--mute-audio"]


@dataclass
class Watched:
    """A page with what was seen of it.

    Attributes:
        page: of Playwright.
        errors: messages of level error on the console, and exceptions that nothing caught.
        requests: addresses of all that was asked for, the page itself first; what lies within a page
            (data:, blob:) does not count.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self):
        """Requests that went neither to a file nor to this machine."""
        return [url for url in self.requests if not is_local(url)]

    def violations(self):
        """What axe-core finds wrong with the accessibility of the page, one line each."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {node['target']} {node['html'][:200]}" for each in found for node in each["nodes"]
        ]


def is_local(url):
    """Whether an address leads to a file or to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "file" or parts.netloc.rpartition(":")[0] in LOOPBACK or parts.netloc in LOOPBACK


@contextmanager
def chromium():
    """A browser; the test is skipped where none is installed."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=[OFFLINE, *QUIET], chromium_sandbox=False, timeout=60000
        )
        yield browser
        browser.close()


@contextmanager
def watched(browser, size=(1280, 900), scheme="light", **options):
    """A new page, with cookies and storage of its own.

    Args:
        browser: of `chromium`.
        size: width and height of the window in pixels.
        scheme: "light" or "dark", which the reader prefers.
        options: others of Playwright's `new_context`, such as `has_touch`.
    """
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
    context.set_default_timeout(20000)
    context.route(
        lambda url: urlsplit(url).scheme not in (*WITHIN, "file") and not is_local(url),
        lambda route: route.abort("internetdisconnected"),
    )
    seen = Watched(context.new_page())
    context.on("request", lambda request: _note(seen, request.url))
    context.on(
        "console", lambda message: seen.errors.append(message.text) if message.type == "error" else None
    )
    context.on("weberror", lambda error: seen.errors.append(str(error.error)))
    yield seen
    # What a page still asks for now, such as a sound, is answered by nobody.
    seen.page.unroute_all(behavior="ignoreErrors")
    context.close()


def _note(seen, url):
    if urlsplit(url).scheme not in WITHIN:
        seen.requests.append(url)
