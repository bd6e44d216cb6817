"""The pipeline as DVC sees it."""

import pytest
import yaml
from dvc.repo import Repo
from support.pipeline_stages import PARAMS, ROOT, config_without_git, write

from diffsynth.models.registry import MODELS


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    """The pipeline with all models: a folder with nothing but dvc.yaml and the parameters."""
    folder = tmp_path_factory.mktemp("pipeline")
    write(folder / "dvc.yaml", (ROOT / "dvc.yaml").read_text())
    write(folder / "params.yaml", yaml.safe_dump({**PARAMS, "models": list(MODELS)}))
    write(folder / ".dvc" / "config", config_without_git())
    return Repo(str(folder))


@pytest.fixture(scope="module")
def stages(repo):
    """Every stage that DVC makes of dvc.yaml, by name."""
    return {stage.name: stage for stage in repo.index.stages}
