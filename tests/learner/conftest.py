"""A tiny random Qwen2 (grouped heads, tied embeddings) and batches for it."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.config import RunConfig
from azr.task_types import MAIN_CELLS
from azr.types import Batch, Trajectory

VOCABULARY = 67


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Wider than elsewhere, so that tests can share a process that takes seconds to start."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with random weights, large enough that rows matter."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(5)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            initializer_range=0.2,
        )
    )
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    return folder


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return RunConfig.model_validate(
        {"learner": {"batch_rollouts": 2, "learning_rate": 1e-3, "micro_batch_tokens": 64}}
    )


def make_batch(version: int, *, rows_per_cell: int = 2) -> Batch:
    """Random rows whose behaviour log-probs are near those of an untrained model."""
    rng = random.Random(version)  # noqa: S311
    rows = []
    for cell in MAIN_CELLS:
        for index in range(rows_per_cell):
            length = rng.randint(1, 9)
            rows.append(
                Trajectory(
                    rollout_id=len(rows),
                    cell=cell,
                    prompt_token_ids=tuple(rng.choices(range(VOCABULARY), k=rng.randint(1, 12))),
                    token_ids=tuple(rng.choices(range(VOCABULARY), k=length)),
                    behaviour_logprobs=tuple(rng.uniform(-5.5, -3.0) for _ in range(length)),
                    reward=rng.choice([-1.0, -0.5, 0.0, 1.0]),
                    staleness=index % 2,
                    group=index,
                )
            )
    return Batch(batch_id=100 + version, version=version, trajectories=tuple(rows))


@pytest.fixture(scope="session")
def batch_at() -> Callable[[int], Batch]:
    return make_batch
