"""The stages that DVC makes of dvc.yaml."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
YAML = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SINGLE = ["download", "align", "shard", "fit", "features", "bounds", "compare"]
MATRIX = ["train", "infer", "evaluate"]


def config_without_git():
    """The committed configuration of DVC as it is in a ZIP of the repository (see .gitattributes)."""
    return (ROOT / ".dvc" / "config").read_text().replace("$Format:%n$", "\n")


def relative(entries):
    """Paths of entries, but for parameters, from the root of their repository."""
    paths = [(Path(entry.fs_path), entry.repo.root_dir) for entry in entries if not is_params(entry)]
    return {path.relative_to(root).as_posix() for path, root in paths}


def is_params(dependency):
    return hasattr(dependency, "params")


def params_of(stage):
    return {name for dependency in stage.deps if is_params(dependency) for name in dependency.params}


def command_of(stage):
    return stage.name.partition("@")[0]


def is_code(name):
    return name.startswith(("diffsynth/", "pipeline/"))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
