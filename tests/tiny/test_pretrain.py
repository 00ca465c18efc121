"""Pretraining on a toy shape, and the folder that ships."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from azr.errors import ModelError
from azr.tiny import model_path
from azr.tiny.batches import chunk_batches
from azr.tiny.pretrain import (
    PROGRESS_NAME,
    Progress,
    Recipe,
    learning_rate_scale,
    pretrain,
    weighted_loss,
)
from azr.tiny.vocabulary import build_tokenizer

TOY = Recipe(
    hidden_size=32,
    intermediate_size=64,
    layers=2,
    heads=2,
    key_value_heads=1,
    chunk_samples=64,
    batch_tokens=1024,
    accumulate=1,
    warmup_tokens=1,
    compiled=False,
)
MAX_SHIPPED_BYTES = 16 * 2**20


def train(folder, *, tokens: int, resume: bool = False) -> list[Progress]:
    reports: list[Progress] = []
    pretrain(folder, tokens=tokens, resume=resume, threads=1, recipe=TOY, report=reports.append)
    return reports


def test_the_loss_falls_in_twenty_steps(tmp_path):
    reports = train(tmp_path, tokens=20_000)
    assert reports[-1].loss < reports[0].loss - 1.0


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path):
    whole = train(tmp_path / "whole", tokens=9_000)
    half = whole[0].tokens
    train(tmp_path / "half", tokens=half)
    state = torch.load(tmp_path / "half" / "pretrain.pt", weights_only=True)
    assert (state["tokens"], state["chunk"]) == (half, 1)
    rest = train(tmp_path / "half", tokens=9_000, resume=True)
    assert [report.tokens for report in rest] == [report.tokens for report in whole[1:]]


def test_the_pretrained_folder_loads(tmp_path):
    train(tmp_path, tokens=1_000)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.config.tie_word_embeddings
    assert model.dtype == torch.bfloat16


def test_a_chunk_depends_only_on_seed_and_index():
    tokenizer = build_tokenizer()
    draws = [
        chunk_batches(tokenizer, seed=seed, chunk=chunk, samples=32, batch_tokens=512)
        for seed, chunk in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    first, again, later, other = ([batch.token_ids.tolist() for batch in draw] for draw in draws)
    assert first == again
    assert first != later
    assert first != other


def test_padding_has_no_weight_and_prompts_a_small_one():
    tokenizer = build_tokenizer()
    for batch in chunk_batches(tokenizer, seed=0, chunk=0, samples=64, batch_tokens=1024):
        padded = batch.token_ids == tokenizer.pad_token_id
        assert (batch.weights[padded] == 0).all()
        assert all(w in (pytest.approx(0.2), 1.0) for w in batch.weights[~padded].unique())


def test_the_loss_is_the_weighted_mean_over_targets():
    tokenizer = build_tokenizer()
    batch = chunk_batches(tokenizer, seed=0, chunk=0, samples=4, batch_tokens=4096)[0]
    logits = torch.zeros(*batch.token_ids.shape, 400)
    loss, nats, counts = weighted_loss(logits, batch)
    uniform = float(torch.log(torch.tensor(400.0)))
    assert float(loss) == pytest.approx(uniform, rel=1e-5)
    assert (nats / counts).tolist() == pytest.approx([uniform] * len(nats), rel=1e-5)


def test_the_rate_warms_up_holds_and_decays_to_zero():
    recipe = Recipe(warmup_tokens=100_000, decay_share=0.2)
    scales = [learning_rate_scale(t, 1_000_000, recipe) for t in (0, 500_000, 900_000, 1_000_000)]
    assert 0 < scales[0] < 0.1
    assert scales[1:] == [1.0, pytest.approx(0.5), 0.0]


def test_the_shipped_model_is_small_and_loads():
    files = [path for path in model_path().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_SHIPPED_BYTES
    model = AutoModelForCausalLM.from_pretrained(model_path())
    assert 2_000_000 <= model.num_parameters() <= 4_000_000
    assert model.config.model_type == "qwen2"


def test_pretraining_goes_on_from_a_folder_of_weights(tmp_path):
    train(tmp_path / "first", tokens=20_000)
    reports: list[Progress] = []
    pretrain(
        tmp_path / "second",
        tokens=1_000,
        seed=1,
        start=tmp_path / "first" / "model",
        threads=1,
        recipe=TOY,
        report=reports.append,
    )
    first = train(tmp_path / "fresh", tokens=1_000)[0]
    assert reports[0].loss < first.loss - 0.5


def test_what_is_no_model_of_this_tokenizer_is_not_continued(tmp_path):
    with pytest.raises(ModelError, match="cannot be continued"):
        pretrain(tmp_path / "out", tokens=1_000, start=tmp_path, recipe=TOY)


def test_a_budget_in_minutes_ends_when_they_are_over(tmp_path):
    reports: list[Progress] = []
    pretrain(tmp_path, tokens=1, minutes=0.002, threads=1, recipe=TOY, report=reports.append)
    told = json.loads((tmp_path / PROGRESS_NAME).read_text())
    assert told["tokens"] == reports[-1].tokens > 1
    assert told["seconds"] >= 0.12
