"""A model folder's tokenizer without its model: for nodes that sample nothing, and for the CLI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from azr.errors import ModelError


def load_tokenizer(folder: Path) -> Tokenizer:
    """Raises ModelError if the folder has none."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError(f"{file} is not on this machine")
    return Tokenizer.from_file(str(file))


def token_counter(folder: Path) -> Callable[[str], int]:
    """Lengths of texts in tokens. Raises ModelError."""
    tokenizer = load_tokenizer(folder)
    return lambda text: len(tokenizer.encode(text).ids)
