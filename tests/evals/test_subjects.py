"""Which weights `azr eval` measures."""

import json
from pathlib import Path

import pytest

from azr import config_files
from azr.config import RunConfig
from azr.errors import AzrError, InputError, RunDirectoryError
from azr.evals.subjects import Subject, find_policies, find_subject
from azr.learner.checkpoint import MANIFEST
from azr.model_path import resolve_model
from azr.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run of the tiny model with checkpoints at 5, 10 and 12 that list no files."""
    directory = RunDirectory(tmp_path / "my-run")
    for version in (5, 10, 12):
        folder = directory.checkpoints / f"step-{version:06}"
        folder.mkdir(parents=True)
        manifest = {"format": 1, "version": version, "sha256": {}}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    config_files.write(RunConfig(), directory.config)
    return directory


def subject(run: RunDirectory) -> Subject:
    return find_subject(str(run.root), preset="tiny-cpu", overrides=[])


@pytest.mark.parametrize(
    ("asked", "versions"),
    [
        (None, [12]),
        ("5", [5]),
        ("0", [0]),
        ("all", [0, 5, 10, 12]),
        ("every:10", [0, 10, 12]),
    ],
)
def test_a_run_gives_the_checkpoints_asked_for(
    run: RunDirectory, asked: str | None, versions: list[int]
):
    assert [policy.version for policy in find_policies(subject(run), asked)] == versions


def test_step_zero_is_the_base_model(run: RunDirectory):
    assert find_policies(subject(run), "0")[0].folder == resolve_model("tiny")


def test_results_lie_beside_the_run(run: RunDirectory):
    assert subject(run).results == run.root / "evals"


def test_a_model_takes_its_settings_from_the_preset():
    found = find_subject("tiny", preset="tiny-cpu", overrides=["prompts.max_response_tokens=64"])
    assert found.config.prompts.max_response_tokens == 64
    assert found.results == Path("evals/tiny")
    assert [policy.folder for policy in find_policies(found, None)] == [resolve_model("tiny")]


@pytest.mark.parametrize("asked", ["7", "every:0", "newest", "-5"])
def test_a_checkpoint_that_is_not_there_is_an_error_that_names_those_that_are(
    run: RunDirectory, asked: str
):
    with pytest.raises(InputError) as caught:
        find_policies(subject(run), asked)
    assert "0, 5, 10, 12" in caught.value.hint


def test_a_model_has_no_checkpoints():
    with pytest.raises(InputError, match="no checkpoints"):
        find_policies(find_subject("tiny", preset="tiny-cpu", overrides=[]), "5")


def test_a_corrupt_checkpoint_is_refused(run: RunDirectory):
    (run.checkpoints / "step-000010" / MANIFEST).write_text("{}")
    with pytest.raises(RunDirectoryError, match="no usable manifest"):
        find_policies(subject(run), "10")


def test_a_run_without_checkpoints_points_to_its_base(tmp_path: Path):
    directory = RunDirectory(tmp_path)
    config_files.write(RunConfig(), directory.config)
    with pytest.raises(InputError, match="no checkpoint yet") as caught:
        find_policies(subject(directory), None)
    assert "--checkpoint 0" in caught.value.hint


def test_neither_run_nor_model_is_an_error():
    with pytest.raises(AzrError, match="neither a run directory nor a model folder"):
        find_subject("nowhere", preset="tiny-cpu", overrides=[])
