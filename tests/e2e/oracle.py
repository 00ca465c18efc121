"""Algorithm 1 told synchronously with the real parts: `python -m tests.e2e.oracle CONFIG OUT`.

CONFIG is a run's config as JSON. OUT gets, for each step, the loss and every row's
cell, text, reward and advantage. A process of its own, because an engine takes its
process's environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from azr.advantages import normalise
from azr.buffers import Buffers
from azr.config import RunConfig
from azr.engine.canary import sample_canary
from azr.engine.replica import VllmReplica
from azr.engine.weight_channel import GlooWeightChannel
from azr.learner.link import LearnerProcess
from azr.model_path import resolve_model
from azr.sandbox import SandboxPool
from azr.seeding import Seeder
from azr.selfplay import SelfPlay
from azr.types import Batch


async def tell(config: RunConfig, scratch: Path) -> list[dict[str, object]]:
    model = resolve_model(config.run.model)

    async def ignore(*_: object) -> None:
        pass

    async with (
        SandboxPool.open(config.sandbox) as sandbox,
        LearnerProcess.open(model, config, scratch) as learner,
        VllmReplica.open(model, config, name="oracle", version=0) as replica,
    ):
        channel = GlooWeightChannel(
            learner,
            [replica],
            engine=config.engine,
            canary=await sample_canary(replica),
            record=ignore,
        )
        await channel.publish(0)

        def fits(prompt: str) -> bool:
            return replica.count_tokens(prompt) <= config.prompts.max_prompt_tokens

        seeder = Seeder(
            engine=replica, sandbox=sandbox, config=config, fits=fits, on_rollout=ignore
        )
        buffers = Buffers(play=config.selfplay, root_seed=config.run.seed)
        for draft in await seeder.seed():
            buffers.add(draft, visible_from=0)
        game = SelfPlay(
            config=config,
            engine=replica,
            sandbox=sandbox,
            learner=learner,
            fits=fits,
            buffers=buffers,
        )
        steps: list[dict[str, object]] = []
        for _ in range(config.run.steps):
            batch, result = await game.synchronous_step()
            await channel.publish(game.version)
            steps.append({"loss": result.loss, "rows": _rows(batch, config, replica)})
        return steps


def _rows(batch: Batch, config: RunConfig, replica: VllmReplica) -> list[list[object]]:
    learner = config.learner
    advantages = normalise(batch, whitening=learner.whitening, baseline=learner.baseline)
    tokenizer = replica.llm.get_tokenizer()
    return [
        [
            row.cell.role,
            row.cell.task_type,
            tokenizer.decode(list(row.token_ids)),
            row.reward,
            advantage,
        ]
        for row, advantage in zip(batch.trajectories, advantages, strict=True)
    ]


if __name__ == "__main__":
    settings, out = Path(sys.argv[1]), Path(sys.argv[2])
    told = anyio.run(tell, RunConfig.model_validate_json(settings.read_text()), out.parent)
    out.write_text(json.dumps(told))
