import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from azr.advantages import normalise
from azr.config import RunConfig
from azr.errors import RunDirectoryError
from azr.learner import checkpoint
from azr.learner.step import Trainer
from azr.types import Batch, StepResult

type BatchAt = Callable[[int], Batch]
type Settings = dict[str, object]

SGD_WITHOUT_MOMENTUM: Settings = {"optimizer": "sgd", "momentum": 0.0}


def with_learner(config: RunConfig, **changes: object) -> RunConfig:
    return RunConfig.model_validate(
        config.model_dump() | {"learner": config.learner.model_dump() | changes}
    )


def train(of: Trainer, batch_at: BatchAt, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        batch = batch_at(of.version)
        result = of.train(batch, normalise(batch, whitening="sequence"))
        assert isinstance(result, StepResult)
        losses.append(result.loss)
    return losses


@pytest.fixture
def written(model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path) -> Path:
    of = checkpoint.load(model_path, config)
    train(of, batch_at, 2)
    return checkpoint.write(of, tmp_path / "checkpoints", keep=3)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd"}, SGD_WITHOUT_MOMENTUM], ids=str)
def test_resuming_gives_the_weights_of_uninterrupted_training_bit_for_bit(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path, settings: Settings
) -> None:
    config = with_learner(config, **settings)
    first = checkpoint.load(model_path, config)
    train(first, batch_at, 2)
    written = checkpoint.write(first, tmp_path / "checkpoints", keep=3)
    whole = checkpoint.load(model_path, config)
    losses = train(whole, batch_at, 4)
    torch.manual_seed(999)  # the checkpoint must bring its own generator state
    resumed = checkpoint.load(written, config)
    random_state = torch.get_rng_state()
    assert resumed.version == 2
    assert train(resumed, batch_at, 2) == losses[2:]
    expected = dict(whole.policy.model.named_parameters())
    for name, parameter in resumed.policy.model.named_parameters():
        assert torch.equal(parameter, expected[name]), name
    checkpoint.load(written, config)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_another_optimizer_than_the_checkpoints_starts_without_moments(
    config: RunConfig, batch_at: BatchAt, written: Path
) -> None:
    resumed = checkpoint.load(written, with_learner(config, optimizer="sgd"))
    assert resumed.version == 2
    assert not resumed.optimizer.state
    assert train(resumed, batch_at, 1)


def test_a_checkpoint_is_a_hugging_face_folder_with_its_tokenizer(written: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(written, dtype=torch.float32)
    assert model.config.tie_word_embeddings
    assert (written / "tokenizer.json").read_text() == '{"version": "1.0"}'
    assert written.name == "step-000002"
    assert checkpoint.verify(written).version == 2
    # An engine loads every safetensors file at the top of the folder.
    assert [file.name for file in written.glob("*.safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "learner/state.safetensors", "config.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_checkpoint_is_refused(
    written: Path, config: RunConfig, name: str, damage: str
) -> None:
    file = written / name
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    with pytest.raises(RunDirectoryError, match=name):
        checkpoint.load(written, config)


@pytest.mark.parametrize("text", [None, "", "{}", '{"format": 9, "version": 1, "sha256": {}}'])
def test_a_checkpoint_without_a_usable_manifest_is_refused(
    written: Path, config: RunConfig, text: str | None
) -> None:
    (written / "manifest.json").unlink()
    if text is not None:
        (written / "manifest.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"manifest|format"):
        checkpoint.load(written, config)


def test_only_the_newest_are_kept_and_leftovers_are_swept(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    leftover = tmp_path / ".unfinished-step-000001"
    leftover.mkdir()
    (leftover / "model.safetensors").write_text("half")
    of = checkpoint.load(model_path, config)
    for _ in range(4):
        train(of, batch_at, 1)
        of = checkpoint.load(checkpoint.write(of, tmp_path, keep=2), config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000003", "step-000004"]
    assert list(checkpoint.versions(tmp_path)) == [3, 4]


def test_the_tokenizer_survives_the_checkpoint_it_was_loaded_from(
    written: Path, config: RunConfig, batch_at: BatchAt
) -> None:
    of = checkpoint.load(written, config)
    train(of, batch_at, 1)
    folder = checkpoint.write(of, written.parent, keep=1)
    assert not written.exists()
    train(of, batch_at, 1)
    folder = checkpoint.write(of, written.parent, keep=1)
    assert (folder / "tokenizer.json").read_text() == '{"version": "1.0"}'


def test_writing_the_loaded_version_again_leaves_the_checkpoint_alone(
    written: Path, config: RunConfig
) -> None:
    before = written.stat().st_ino
    assert checkpoint.write(checkpoint.load(written, config), written.parent, keep=3) == written
    assert written.stat().st_ino == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_writing_after_a_resume_replaces_the_abandoned_timeline(
    model_path: Path, config: RunConfig, batch_at: BatchAt, tmp_path: Path
) -> None:
    of = checkpoint.load(model_path, config)
    for _ in range(3):
        train(of, batch_at, 1)
        checkpoint.write(of, tmp_path, keep=5)
    again = checkpoint.load(tmp_path / "step-000001", config)
    other = [replace(batch_at(v + 50), version=v, batch_id=v) for v in range(2)]
    train(again, other.__getitem__, 1)
    folder = checkpoint.write(again, tmp_path, keep=5)
    assert list(checkpoint.versions(tmp_path)) == [1, 2]
    assert torch.equal(
        next(checkpoint.load(folder, config).policy.model.parameters()),
        next(again.policy.model.parameters()),
    )


def test_a_disk_that_refuses_leaves_no_checkpoint_and_names_it(
    model_path: Path, config: RunConfig, tmp_path: Path
) -> None:
    blocked = tmp_path / "checkpoints"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(RunDirectoryError, match="could not be written"):
        checkpoint.write(checkpoint.load(model_path, config), blocked, keep=2)


@pytest.mark.parametrize("largest_file_bytes", [100, 20_000])
def test_a_full_disk_leaves_earlier_checkpoints_and_nothing_else(
    written: Path, config: RunConfig, batch_at: BatchAt, largest_file_bytes: int
) -> None:
    of = checkpoint.load(written, config)
    train(of, batch_at, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, limits[1]))
    try:
        with pytest.raises(RunDirectoryError, match="step-000003 could not be written"):
            checkpoint.write(of, written.parent, keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in written.parent.iterdir()] == ["step-000002"]
    checkpoint.verify(written)
