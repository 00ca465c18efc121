"""Pretraining, from scratch or from a folder of weights: tokens in, a Hugging Face folder out.

Muon on the matrices and AdamW on the rest, at a constant rate after a short
warm-up, then decayed linearly to zero over the last part of the token budget. The budget
is not part of a checkpoint: resuming with a smaller one starts the decay now. A budget in
minutes is turned into tokens at the speed so far, again before every chunk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from azr.errors import ModelError
from azr.seeds import derive_seed
from azr.task_types import MAIN_CELLS
from azr.tiny.batches import TokenBatch, chunk_batches
from azr.tiny.vocabulary import CONTEXT_TOKENS, build_tokenizer
from azr.types import Cell

CHECKPOINT_NAME = "pretrain.pt"
PROGRESS_NAME = "progress.json"
"""Beside the model: how many tokens it was trained on, and for how many seconds."""
FULL_SPEED_TOKENS_PER_SECOND = 10_000
"""Guessed for the first chunk of a budget in minutes."""

type Forward = Callable[..., CausalLMOutputWithPast]
"""The model, or the model compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Shape of the model and settings of its training."""

    hidden_size: int = 256
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    chunk_samples: int = 2048
    """Samples drawn, sorted by length and batched together; also the checkpoint grain."""
    batch_tokens: int = 2048
    """Padded tokens of one forward and backward pass."""
    accumulate: int = 2
    """Passes per optimizer step: lengths, and so kinds of sample, mix in a step."""
    muon_learning_rate: float = 4e-3
    adam_learning_rate: float = 3e-3
    warmup_tokens: int = 300_000
    decay_share: float = 0.27
    """Part of the token budget over which the rates fall to zero."""
    compiled: bool = True
    """Run through torch.compile: half a minute or more at the start, a third faster after."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One chunk's report. Losses are nats per response token."""

    tokens: int
    budget: int
    loss: float
    losses: dict[Cell, float]
    tokens_per_second: float


@dataclass(slots=True)
class _Run:
    """What changes while training, and what a checkpoint holds."""

    model: Qwen2ForCausalLM
    optimizers: tuple[torch.optim.Optimizer, ...]
    tokens: int = 0
    chunk: int = 0
    seconds: float = 0.0
    """Of training, over all resumptions."""
    nats: Tensor = field(default_factory=lambda: torch.zeros(len(MAIN_CELLS)))
    counts: Tensor = field(default_factory=lambda: torch.zeros(len(MAIN_CELLS)))


def pretrain(
    output_dir: Path,
    *,
    tokens: int,
    seed: int = 0,
    resume: bool = False,
    start: Path | None = None,
    minutes: float = 0.0,
    threads: int = 2,
    recipe: Recipe | None = None,
    report: Callable[[Progress], None] = lambda _progress: None,
    checkpoint_every_seconds: float = 120.0,
) -> Path:
    """Train on `tokens` tokens and save model and tokenizer; returns the model folder.

    The folder is `output_dir / "model"`; the checkpoint for `resume` lies beside it.
    Every checkpoint also refreshes the model folder.

    Args:
        output_dir: where everything goes.
        tokens: the budget, unless `minutes` is one.
        seed: of the weights and of the programs.
        resume: go on from the checkpoint, if there is one.
        start: a model folder of this tokenizer to begin from, instead of random weights.
        minutes: train for so long, whatever that makes in tokens; 0 = `tokens` decides.
        threads: of torch.
        recipe: shape and rates; with `start` the shape is that model's.
        report: told after every chunk.
        checkpoint_every_seconds: how much an interruption may cost.

    Raises:
        ModelError: `start` is no model that this can continue.
    """
    recipe = recipe or Recipe()
    torch.set_num_threads(threads)
    torch.manual_seed(derive_seed(seed, "weights"))
    tokenizer = build_tokenizer()
    run = _start(recipe, tokenizer, start)
    checkpoint = output_dir / CHECKPOINT_NAME
    if resume and checkpoint.exists():
        _restore(run, checkpoint)
    output_dir.mkdir(parents=True, exist_ok=True)
    forward = torch.compile(run.model, dynamic=True) if recipe.compiled else run.model
    saved_at = time.monotonic()
    while run.tokens < (budget := _budget_tokens(run, tokens, minutes)):
        report(_train_chunk(run, forward, recipe, tokenizer, seed=seed, budget=budget))
        if time.monotonic() - saved_at > checkpoint_every_seconds:
            _save(run, checkpoint, tokenizer)
            saved_at = time.monotonic()
    _save(run, checkpoint, tokenizer)
    return output_dir / "model"


def model_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Qwen2Config:
    """A Qwen2 with tied embeddings, its vocabulary padded to a multiple of 8."""
    return Qwen2Config(
        vocab_size=-(-len(tokenizer) // 8) * 8,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )


def learning_rate_scale(tokens: int, budget: int, recipe: Recipe) -> float:
    """Warm-up, constant, linear decay: a factor in [0, 1]."""
    rising = (tokens + recipe.batch_tokens) / max(1, recipe.warmup_tokens)
    falling = (budget - tokens) / max(1.0, recipe.decay_share * budget)
    return max(0.0, min(1.0, rising, falling))


def weighted_loss(logits: Tensor, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted mean loss; per sample [S], the summed nats and count of response tokens."""
    targets, weights = batch.token_ids[:, 1:], batch.weights[:, 1:]
    nats = cross_entropy(logits[:, :-1].float().transpose(1, 2), targets, reduction="none")
    answered = (weights == 1.0).float()
    loss = (nats * weights).sum() / weights.sum()
    return loss, (nats.detach() * answered).sum(1), answered.sum(1)


def _budget_tokens(run: _Run, tokens: int, minutes: float) -> int:
    """All tokens of the run: as told, or what its minutes come to at the speed so far."""
    if not minutes:
        return tokens
    limit = minutes * 60
    if run.seconds >= limit:
        return run.tokens
    speed = run.tokens / run.seconds if run.seconds else FULL_SPEED_TOKENS_PER_SECOND
    return run.tokens + max(1, round(speed * (limit - run.seconds)))


def _first_model(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, start: Path | None
) -> Qwen2ForCausalLM:
    """New weights, or those of a folder in float32."""
    fresh = model_config(recipe, tokenizer)
    if start is None:
        return Qwen2ForCausalLM(fresh)
    try:
        model = Qwen2ForCausalLM.from_pretrained(start, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{start} cannot be continued: {error}") from error
    if model.config.vocab_size != fresh.vocab_size:
        raise ModelError(
            f"{start} has {model.config.vocab_size} token embeddings, not {fresh.vocab_size}",
            hint="Only models that `azr pretrain` made can be pretrained further.",
        )
    return model


def _start(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, start: Path | None) -> _Run:
    model = _first_model(recipe, tokenizer, start)
    matrices = [p for name, p in model.model.layers.named_parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(
        matrices,
        lr=recipe.muon_learning_rate,
        weight_decay=0.05,
        adjust_lr_fn="match_rms_adamw",
    )
    adam = torch.optim.AdamW(
        others, lr=recipe.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return _Run(model, (muon, adam))


def _train_chunk(
    run: _Run,
    forward: Forward,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    budget: int,
) -> Progress:
    started, before = time.monotonic(), run.tokens
    run.nats.zero_()
    run.counts.zero_()
    batches = chunk_batches(
        tokenizer,
        seed=seed,
        chunk=run.chunk,
        samples=recipe.chunk_samples,
        batch_tokens=recipe.batch_tokens,
    )
    for group in _in_groups(batches, recipe.accumulate):
        _step(run, forward, group, learning_rate_scale(run.tokens, budget, recipe))
    run.chunk += 1
    run.seconds += time.monotonic() - started
    losses = {
        cell: float(run.nats[i] / run.counts[i])
        for i, cell in enumerate(MAIN_CELLS)
        if run.counts[i]
    }
    return Progress(
        tokens=run.tokens,
        budget=budget,
        loss=float(run.nats.sum() / run.counts.sum()),
        losses=losses,
        tokens_per_second=(run.tokens - before) / (time.monotonic() - started),
    )


def _in_groups(batches: list[TokenBatch], size: int) -> Iterator[list[TokenBatch]]:
    for start in range(0, len(batches), size):
        yield batches[start : start + size]


def _step(run: _Run, forward: Forward, group: list[TokenBatch], scale: float) -> None:
    """One optimizer step over the passes of a group."""
    for batch in group:
        with torch.autocast("cpu", torch.bfloat16):
            logits = cast("Tensor", forward(input_ids=batch.token_ids, use_cache=False).logits)
        loss, nats, counts = weighted_loss(logits, batch)
        (loss / len(group)).backward()
        run.nats.index_add_(0, batch.cells, nats)
        run.counts.index_add_(0, batch.cells, counts)
        run.tokens += batch.num_tokens
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    for optimizer in run.optimizers:
        for parameters in optimizer.param_groups:
            parameters["lr"] = parameters["peak"] * scale
        optimizer.step()
        optimizer.zero_grad()


def _save(run: _Run, checkpoint: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """The resumable state, then the model as it would be shipped (bfloat16)."""
    state = {
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "tokens": run.tokens,
        "chunk": run.chunk,
        "seconds": run.seconds,
    }
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(checkpoint)
    save_model(run.model, tokenizer, checkpoint.parent / "model")
    told = json.dumps({"tokens": run.tokens, "seconds": round(run.seconds, 1)})
    (checkpoint.parent / PROGRESS_NAME).write_text(told + "\n", encoding="utf-8")


def save_model(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights as bfloat16, configuration and tokenizer."""
    copy = Qwen2ForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _restore(run: _Run, checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    run.model.load_state_dict(state["model"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.tokens, run.chunk = state["tokens"], state["chunk"]
    run.seconds = state.get("seconds", 0.0)
