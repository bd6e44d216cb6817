"""The browser of the tests: it sees what it should, and reaches nothing outside."""

import pytest

PAGE = """<!doctype html><html lang="en"><title>t</title><main><h1>t</h1>
<img src="https://example.org/a.png" alt="">
<script>console.error("told"); throw new Error("thrown")</script></main>"""


@pytest.fixture
def page(open_page, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    seen = open_page()
    seen.page.goto(f"file://{tmp_path}/page.html", wait_until="load")
    return seen


def test_requests_to_a_network_fail_and_are_seen(page):
    assert page.outside == ["https://example.org/a.png"]
    assert [url.rpartition("/")[2] for url in page.requests] == ["page.html", "a.png"]
    assert page.page.evaluate("document.images[0].naturalWidth") == 0


def test_errors_of_the_console_and_uncaught_ones_are_seen(page):
    assert "told" in page.errors
    assert any("thrown" in error for error in page.errors)


def test_flaws_of_accessibility_are_found(page):
    assert page.violations() == []
    page.page.evaluate("document.images[0].removeAttribute('alt')")
    assert [line.partition(":")[0] for line in page.violations()] == ["image-alt"]
