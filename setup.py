"""What pyproject.toml cannot say: a copy of the repository without git has to tell DVC so.

`dvc repro` refuses to run there otherwise. ZIPs that git makes say it themselves (see .dvc/config).
"""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
SETTING = "[core]\n    no_scm = true\n"


def tell_dvc(root: Path) -> None:
    """Write DVC's local configuration where there is a project of DVC, no git, and nothing said yet."""
    config, local = root / ".dvc" / "config", root / ".dvc" / "config.local"
    in_git = any((folder / ".git").exists() for folder in (root, *root.parents))
    if in_git or local.exists() or not config.is_file():
        return
    if not any(line.strip() == "no_scm = true" for line in config.read_text(encoding="utf8").splitlines()):
        local.write_text(SETTING, encoding="utf8")


tell_dvc(ROOT)
setup()
