"""Greedy decoding and loading other weights in place, on real vLLM."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from azr.errors import ModelError
from azr.types import Completion, SamplingRequest
from tests.engine.engine_host import Bench, EngineHost

pytestmark = pytest.mark.timeout(300)

PROMPTS = ("def f(x):", "x = 1", "return", "for x in", "# a", "import")
SEQUENCES = [[5, 17, 40, 8, 99, 3], [200, 4, 4, 61]]
SETTINGS = {"max_sequences": 8}
"""Unlike those of other tests, so that this replica is opened anew and theirs after it."""


async def greedy(bench: Bench) -> list[Completion]:
    requests = [SamplingRequest(prompt=p, max_tokens=16, temperature=0.0) for p in PROMPTS]
    return await bench.replica.sample(requests)


async def loaded(bench: Bench, folder: str) -> tuple[list[list[float]], Completion]:
    """Scores and a greedy completion under the folder's weights."""
    await greedy(bench)  # leaves old weights' keys and values in the prefix cache
    await bench.replica.load(Path(folder), 7)
    completions = await greedy(bench)
    scores = await bench.replica.prompt_logprobs(SEQUENCES)
    await bench.replica.load(Path(bench.model_path), 0)
    return scores, completions[1]


async def load_a_stranger(bench: Bench, folder: str) -> bool:
    try:
        await bench.replica.load(Path(folder), 1)
    except ModelError:
        return len(await greedy(bench)) == len(PROMPTS)
    return False


def reference_scores(folder: Path) -> list[list[float]]:
    """Scores of SEQUENCES by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    with torch.no_grad():
        for sequence in SEQUENCES:
            table = model(torch.tensor([sequence])).logits[0, :-1].log_softmax(-1)
            scores.append(table.gather(1, torch.tensor(sequence[1:])[:, None])[:, 0].tolist())
    return scores


def likeliest(folder: Path, completion: Completion) -> list[int]:
    """At each sampled position, the token that transformers finds likeliest."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([[*completion.prompt_token_ids, *completion.token_ids]])
    with torch.no_grad():
        choices = model(ids).logits[0].argmax(-1).tolist()
    return choices[len(completion.prompt_token_ids) - 1 : -1]


@pytest.fixture(scope="module")
def other_weights(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with every weight moved."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_qwen2, tmp_path_factory.mktemp("other") / "model"))
    generator = torch.Generator().manual_seed(3)
    weights = load_file(folder / "model.safetensors")
    moved = {
        name: value + 0.1 * torch.randn(value.shape, generator=generator)
        for name, value in weights.items()
    }
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_greedy_is_the_likeliest_token_and_carries_no_logprobs_to_train_on(
    engine_host: EngineHost, tiny_qwen2: Path
):
    first = engine_host.opened(**SETTINGS).run(greedy)
    again = engine_host.opened(**SETTINGS).run(greedy)
    assert [c.text for c in first] == [c.text for c in again]
    assert list(first[1].token_ids) == likeliest(tiny_qwen2, first[1])
    assert {c.behaviour_logprobs for c in first} == {()}


def test_loaded_weights_are_those_of_the_folder(engine_host: EngineHost, other_weights: Path):
    scores, completion = engine_host.opened(**SETTINGS).run(loaded, str(other_weights))
    for row, expected in zip(scores, reference_scores(other_weights), strict=True):
        assert row == pytest.approx(expected, abs=1e-3)
    assert list(completion.token_ids) == likeliest(other_weights, completion)
    assert completion.oldest_version == completion.newest_version == 7


def test_another_kind_of_model_is_refused_and_the_old_serves_on(engine_host: EngineHost):
    from azr.tiny import model_path

    assert engine_host.opened(**SETTINGS).run(load_a_stranger, str(model_path()))
