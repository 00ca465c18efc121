"""What must be true of a model folder before vLLM is started on it.

Without vLLM, torch or transformers: a wrong path should cost a second and two
lines, not half a minute and a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from azr.errors import ModelError

ARCHITECTURES = frozenset(
    {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
)
"""Those whose Hugging Face parameter names vLLM loads unchanged over a weight broadcast."""
_INDEX = "model.safetensors.index.json"
_EMBEDDING = "model.embed_tokens.weight"
_PROBE = "def f(x):\n    return [x + 1, 'a b']\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the rest of the run needs to know about a model."""

    path: Path
    architecture: str
    eos_token_ids: tuple[int, ...]
    """Sampling any of these ends a response."""
    vocab_size: int
    """Rows of the embedding; the tokenizer has at most as many tokens."""
    max_length_tokens: int
    """Longest sequence the model was built for."""
    tied_embeddings: bool


def check_model(path: str | Path) -> ModelFacts:
    """Check config, weights and tokenizer of a Hugging Face folder.

    Raises:
        ModelError: something is missing or does not fit together.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder at {folder}")
    config = _read_json(folder / "config.json")
    architecture = next(iter(config.get("architectures") or []), "")
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{folder} holds a {architecture or 'model of unnamed architecture'}, not supported",
            hint=f"Supported: {', '.join(sorted(ARCHITECTURES))}.",
        )
    vocab_size = _check_weights(folder, config)
    tokenizer = _check_tokenizer(folder, vocab_size)
    return ModelFacts(
        path=folder,
        architecture=architecture,
        eos_token_ids=_eos_token_ids(folder, config, tokenizer),
        vocab_size=vocab_size,
        max_length_tokens=_integer(config, "max_position_embeddings", folder),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file} is not a JSON object")
    return content


def _integer(config: Mapping[str, Any], key: str, folder: Path) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{folder}/config.json has no usable {key}")
    return value


def _check_weights(folder: Path, config: Mapping[str, Any]) -> int:
    """Vocabulary size, after opening the header of every weights file."""
    vocab_size = _integer(config, "vocab_size", folder)
    rows: int | None = None
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="numpy") as tensors:
                if _EMBEDDING in tensors.keys():  # noqa: SIM118 -- not a mapping
                    rows = tensors.get_slice(_EMBEDDING).get_shape()[0]
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file} cannot be read: {error}") from None
    if rows != vocab_size:
        found = "none" if rows is None else f"one of {rows} rows"
        raise ModelError(f"{folder} should have an embedding of {vocab_size} rows but has {found}")
    return vocab_size


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).exists():
        names = _read_json(folder / _INDEX).get("weight_map") or {}
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        files = [folder / "model.safetensors"]
    missing = [file.name for file in files if not file.exists()]
    if missing or not files:
        raise ModelError(f"{folder} has no weights: {missing[0] if missing else _INDEX} is missing")
    return files


def _check_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.exists():
        raise ModelError(f"{folder} has no tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # noqa: BLE001 -- the library raises bare Exception
        raise ModelError(f"{file} cannot be read: {error}") from None
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= vocab_size:
        raise ModelError(
            f"{folder}'s tokenizer has token id {largest}, beyond its {vocab_size} embedding rows"
        )
    ids = tokenizer.encode(_PROBE, add_special_tokens=False).ids
    if tokenizer.decode(ids, skip_special_tokens=False) != _PROBE:
        raise ModelError(f"{folder}'s tokenizer does not give back Python source as it was")
    return tokenizer


def _eos_token_ids(
    folder: Path, config: Mapping[str, Any], tokenizer: Tokenizer
) -> tuple[int, ...]:
    """The tokenizer's EOS and those that config.json or generation_config.json name."""
    generation_file = folder / "generation_config.json"
    generation = _read_json(generation_file) if generation_file.exists() else {}
    ids: set[int] = set()
    for declared in (config.get("eos_token_id"), generation.get("eos_token_id")):
        ids.update(declared if isinstance(declared, list) else [declared] if declared else [])
    settings_file = folder / "tokenizer_config.json"
    token = _read_json(settings_file).get("eos_token") if settings_file.exists() else None
    text = token.get("content") if isinstance(token, dict) else token
    tokenizer_eos = tokenizer.token_to_id(text) if isinstance(text, str) else None
    if tokenizer_eos is None:
        raise ModelError(f"{folder}'s tokenizer has no end-of-sequence token")
    if ids and tokenizer_eos not in ids:
        raise ModelError(
            f"{folder} disagrees about its end of sequence: the tokenizer says"
            f" {tokenizer_eos}, the model config {sorted(ids)}"
        )
    return tuple(sorted(ids | {tokenizer_eos}))
