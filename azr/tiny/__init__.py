"""The tiny base model: a Qwen2 of 2.4 million parameters, pretrained on synthetic tasks.

`operations` and `programs` define the synthetic language, `samples` words it as the
six prompts and their responses, `vocabulary` builds the tokenizer, `pretrain`
trains, `measure` counts what the result can do. The weights are in `model/`.
"""

from __future__ import annotations

from pathlib import Path


def model_path() -> Path:
    """The folder of the shipped model, in Hugging Face format."""
    return Path(__file__).parent / "model"
