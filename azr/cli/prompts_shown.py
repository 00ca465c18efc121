"""The prompt of a rollout as text: its token ids, read by the run's tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azr.config import RunConfig
from azr.errors import AzrError

if TYPE_CHECKING:
    from azr.store.history.life import RolloutLife


def prompt_text(life: RolloutLife, config: RunConfig) -> str:
    """The prompt, or in parentheses why it cannot be shown."""
    from tokenizers import Tokenizer

    from azr.model_path import resolve_model

    ids = life.sampled.prompt_token_ids
    if ids is None:
        return "(its token ids were pruned)"
    try:
        file = resolve_model(config.run.model) / "tokenizer.json"
    except AzrError as error:
        return f"({len(ids)} tokens; {error})"
    if not file.is_file():
        return f"({len(ids)} tokens; {file} is not on this machine)"
    return Tokenizer.from_file(str(file)).decode(list(ids), skip_special_tokens=False)
