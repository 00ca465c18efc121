"""Samples as padded token batches, chunk by chunk, each from its own seed.

A chunk depends only on the run's seed and its index, so a resumed run sees the
data that it would have seen.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from azr.seeds import derive_seed
from azr.task_types import MAIN_CELLS
from azr.tiny.samples import Sample, generate_samples

PROMPT_WEIGHT = 0.2
"""Loss weight of a prompt token; a response token weighs 1."""
LENGTH_STEP_TOKENS = 8
"""Batch widths are multiples of this, so that few shapes occur."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """S samples, padded to T tokens on the right."""

    token_ids: Tensor
    """[S, T] int64."""
    weights: Tensor
    """[S, T] float32: loss weight of each token as a target; 0 on padding."""
    cells: Tensor
    """[S] int64: index into `azr.task_types.MAIN_CELLS`."""

    @property
    def num_tokens(self) -> int:
        """Padding not counted."""
        return int((self.weights > 0).sum())


def chunk_seed(seed: int, chunk: int) -> int:
    """The seed of one chunk's samples under the seed of the whole pretraining."""
    return derive_seed(seed, "pretrain", chunk)


def chunk_batches(
    tokenizer: PreTrainedTokenizerBase, *, seed: int, chunk: int, samples: int, batch_tokens: int
) -> list[TokenBatch]:
    """The batches of one chunk: samples of similar length together, in random order."""
    own_seed = chunk_seed(seed, chunk)
    drawn = list(itertools.islice(generate_samples(own_seed), samples))
    rows = sorted(_encode(tokenizer, drawn), key=lambda row: row.length)
    batches = [_pad(tokenizer, group) for group in _groups(rows, batch_tokens)]
    random.Random(own_seed).shuffle(batches)  # noqa: S311
    return batches


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: list[int]
    response: list[int]
    cell: int

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.response)


def _encode(tokenizer: PreTrainedTokenizerBase, samples: Sequence[Sample]) -> list[_Row]:
    prompts = tokenizer([sample.prompt for sample in samples])["input_ids"]
    responses = tokenizer([sample.response for sample in samples])["input_ids"]
    return [
        _Row(prompt, [*response, tokenizer.eos_token_id], MAIN_CELLS.index(sample.cell))
        for sample, prompt, response in zip(samples, prompts, responses, strict=True)
    ]


def _groups(rows: Sequence[_Row], batch_tokens: int) -> Iterator[list[_Row]]:
    """Consecutive rows whose padded batch stays within the budget."""
    group: list[_Row] = []
    for row in rows:
        if group and _width(row) * (len(group) + 1) > batch_tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _width(row: _Row) -> int:
    return -(-row.length // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS


def _pad(tokenizer: PreTrainedTokenizerBase, rows: Sequence[_Row]) -> TokenBatch:
    width = max(map(_width, rows))
    token_ids = torch.full((len(rows), width), int(tokenizer.pad_token_id))
    weights = torch.zeros(len(rows), width)
    for index, row in enumerate(rows):
        token_ids[index, : row.length] = torch.tensor(row.prompt + row.response)
        weights[index, : len(row.prompt)] = PROMPT_WEIGHT
        weights[index, len(row.prompt) : row.length] = 1.0
    return TokenBatch(token_ids, weights, torch.tensor([row.cell for row in rows]))
