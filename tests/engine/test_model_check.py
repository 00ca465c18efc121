"""A model folder that cannot be used is named in two lines, before vLLM starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from azr.engine.model_check import check_model
from azr.errors import ModelError

type Spoil = Callable[[Path], None]


def rewrite(name: str, **changes: object) -> Spoil:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | changes))

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def overwrite(name: str, text: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(text)

    return spoil


def test_facts_of_a_good_folder(tiny_qwen2: Path) -> None:
    facts = check_model(tiny_qwen2)
    assert facts.architecture == "Qwen2ForCausalLM"
    assert facts.eos_token_ids == (1,)
    assert facts.vocab_size == json.loads((tiny_qwen2 / "config.json").read_text())["vocab_size"]
    assert facts.max_length_tokens == 512
    assert facts.tied_embeddings


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("config.json"), "has no config.json"),
        (overwrite("config.json", "{"), "cannot be read"),
        (rewrite("config.json", architectures=["GPT2LMHeadModel"]), "not supported"),
        (rewrite("config.json", architectures=None), "unnamed architecture"),
        (rewrite("config.json", vocab_size=999), "embedding of 999 rows"),
        (rewrite("config.json", max_position_embeddings=None), "max_position_embeddings"),
        (remove("model.safetensors"), "model.safetensors is missing"),
        (overwrite("model.safetensors", "not tensors"), "cannot be read"),
        (remove("tokenizer.json"), "has no tokenizer.json"),
        (overwrite("tokenizer.json", "[]"), "cannot be read"),
        (rewrite("tokenizer_config.json", eos_token=None), "no end-of-sequence token"),
        (rewrite("config.json", eos_token_id=7), "disagrees about its end of sequence"),
        (rewrite("tokenizer.json", decoder=None), "does not give back Python source"),
    ],
)
def test_a_spoiled_folder_says_what_is_wrong(
    tiny_qwen2: Path, tmp_path: Path, spoil: Spoil, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_qwen2, folder)
    if message == "disagrees about its end of sequence":
        rewrite("generation_config.json", eos_token_id=7)(folder)
    spoil(folder)
    with pytest.raises(ModelError, match=message) as error:
        check_model(folder)
    assert "\n" not in str(error.value)
    assert error.value.hint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder at "):
        check_model(tmp_path / "nowhere")
