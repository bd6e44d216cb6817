"""Write .dvc/plots/page.html, the template of `dvc plots show`, with Vega in it: the page needs no network.

python benchmarks/plots_page.py

To be run again, and the file committed, where constraints.txt gets another version of vl-convert-python,
which brings Vega (BSD 3-clause).
"""

from pathlib import Path

from diffsynth.comparison.report import vega

PAGE = Path(__file__).parents[1] / ".dvc" / "plots" / "page.html"
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>diffsynth: plots</title>
<link rel="icon" href="data:,">
<style>
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: #fff; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; }
main { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; }
main > div { max-width: 100%; overflow-x: auto; } main img { max-width: 100%; height: auto; }
p { margin: 0; font-size: .85rem; color: #565e68; }
</style>
<script>"""
TAIL = """</script>
</head>
<body>
<h1>Plots</h1>
<main>
{plot_divs}
</main>
<script>for (const image of document.images) image.alt ||= image.closest("[id]").id;</script>
</body>
</html>
"""


def page() -> str:
    """The template."""
    return f"{HEAD}{vega()}{TAIL}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf8")
