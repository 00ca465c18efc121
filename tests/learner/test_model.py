import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM

from azr import packing
from azr.config import LearnerSection
from azr.errors import ModelError
from azr.learner import model as model_module
from azr.learner.model import Policy, load, score_targets

ROWS = [([3, 9, 4], [1, 5, 2, 8]), ([7], [7, 7]), ([11, 12, 13, 14], [15])]


@pytest.fixture
def policy(model_path: Path) -> Policy:
    return load(model_path, LearnerSection())


def plain_scores(folder: Path, prompt: list[int], response: list[int]) -> torch.Tensor:
    """[len(response), V] log-probs from transformers alone."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = plain(torch.tensor([prompt + response])).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def test_packed_rows_score_as_they_do_alone(policy: Policy, model_path: Path) -> None:
    scores = policy.score(packing.pack(ROWS))
    expected = [plain_scores(model_path, *row) for row in ROWS]
    picked = [
        table.gather(1, torch.tensor(response)[:, None])[:, 0]
        for table, (_, response) in zip(expected, ROWS, strict=True)
    ]
    table = torch.cat(expected)
    torch.testing.assert_close(scores.logprob_T, torch.cat(picked), atol=1e-5, rtol=0)
    entropy = -(table.exp() * table).sum(-1)
    torch.testing.assert_close(scores.entropy_T, entropy, atol=1e-5, rtol=0)


def test_packed_gradients_are_the_sum_of_the_rows(policy: Policy) -> None:
    def gradient(packs: list) -> torch.Tensor:
        policy.model.zero_grad()
        for rows in packs:
            policy.score(packing.pack(rows)).logprob_T.sum().backward()
        return torch.cat(
            [p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]
        )

    together, apart = gradient([ROWS]), gradient([[row] for row in ROWS])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_sequence_logprobs_keep_the_callers_order(policy: Policy, model_path: Path) -> None:
    sequences = [[5, 6, 7], [8], [], [1, 2, 3, 4, 5, 6], [9, 1]]
    found = policy.sequence_logprobs(sequences, budget_tokens=4)
    assert [len(row) for row in found] == [2, 0, 0, 5, 1]
    for sequence, row in zip(sequences, found, strict=True):
        if row:
            table = plain_scores(model_path, sequence[:1], sequence[1:])
            expected = [table[i, t].item() for i, t in enumerate(sequence[1:])]
            assert row == pytest.approx(expected, abs=1e-5)


def test_chunked_heads_give_the_same_scores_and_gradients() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False)
    target = torch.randint(50, (23,))
    results = []
    for limit in (10**9, 50 * 4):
        hidden = torch.randn(23, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        head.zero_grad()
        scores = score_targets(
            hidden, target, head, vocabulary=50, entropy_gradient=True, logits_per_chunk=limit
        )
        (scores.logprob_T.sum() + scores.entropy_T.square().sum()).backward()
        results.append((scores.logprob_T, scores.entropy_T, hidden.grad, head.weight.grad))
        head.weight.grad = None
    for whole, chunked in zip(*results, strict=True):
        torch.testing.assert_close(whole, chunked)


def test_gradient_checkpointing_does_not_change_gradients(model_path: Path) -> None:
    gradients = []
    for switch in (False, True):
        policy = load(model_path, LearnerSection(gradient_checkpointing=switch))
        policy.score(packing.pack(ROWS)).logprob_T.sum().backward()
        gradients.append([p.grad for p in policy.model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_bfloat16_computes_near_float32_on_float32_masters(
    policy: Policy, model_path: Path
) -> None:
    rounded = load(model_path, LearnerSection(dtype="bfloat16"))
    assert {p.dtype for p in rounded.model.parameters()} == {torch.float32}
    exact = policy.score(packing.pack(ROWS)).logprob_T
    found = rounded.score(packing.pack(ROWS)).logprob_T
    assert found.dtype is torch.float32
    gap = (found - exact).abs().max().item()
    assert 0 < gap < 0.5


def test_sliding_windows_shorter_than_a_row_are_honoured(tmp_path: Path) -> None:
    torch.manual_seed(2)
    windowed = MistralForCausalLM(
        MistralConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            sliding_window=3,
            initializer_range=0.5,
        )
    )
    windowed.save_pretrained(tmp_path)
    policy = load(tmp_path, LearnerSection())
    prompt, response = [1, 2, 3, 4], [5, 6, 7, 8]
    table = plain_scores(tmp_path, prompt, response)
    expected = torch.stack([table[i, t] for i, t in enumerate(response)])
    found = policy.score(packing.pack([(prompt, response), ([9], [9])])).logprob_T[:4]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_folder_without_weights_is_refused(model_path: Path, tmp_path: Path) -> None:
    shutil.copy(model_path / "config.json", tmp_path)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tmp_path, LearnerSection())
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tmp_path / "nowhere", LearnerSection())


def test_a_model_that_lacks_a_weight_is_refused(model_path: Path, tmp_path: Path) -> None:
    shutil.copytree(model_path, tmp_path, dirs_exist_ok=True)
    fields = json.loads((tmp_path / "config.json").read_text())
    fields |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ModelError, match=r"lacks .* weights"):
        load(tmp_path, LearnerSection())


def test_a_model_whose_packed_forward_disagrees_is_refused(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "AGREEMENT_NATS", 0.0)
    with pytest.raises(ModelError, match="not supported"):
        load(model_path, LearnerSection())
