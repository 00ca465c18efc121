"""`azr bench`: what asynchrony buys on this machine, and what more machines would buy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from azr import config_files
from azr.cli import broadcast, scaling, serve_live
from azr.cli.preflight import check_run
from azr.errors import RunDirectoryError
from azr.run_directory import RunDirectory
from azr.types import Trajectory

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def bench() -> None:
    """Measure this machine, or model many.

    \b
    Examples:
      azr bench pipeline
      azr bench gradients
      azr bench memory
      azr bench scaling
      azr bench broadcast
      azr bench serve
      azr bench serve-live
    """


app.command("scaling")(scaling.scaling)
app.command("broadcast")(broadcast.broadcast)
app.command("serve-live")(serve_live.serve_live)


@app.command("memory")
def memory(
    models: Annotated[
        str, typer.Option("--models", metavar="NAME,...", help="Of tiny and 100m.")
    ] = "tiny,100m",
    lora_rank: Annotated[int, typer.Option(min=0, help="Train an adapter: learner.lora_rank.")] = 0,
) -> None:
    """Measure the peak memory of a learner process on CPU beside the estimate of `azr plan`.

    Each model trains two steps in float32 and in bfloat16; minutes for the larger one.

    \b
    Examples:
      azr bench memory
      azr bench memory --models tiny
      azr bench memory --models 100m --lora-rank 16
    """
    from azr.experiments import learner_memory

    typer.echo(learner_memory.HEAD)
    for name in models.split(","):
        for dtype in ("float32", "bfloat16"):
            row = anyio.run(partial(learner_memory.measure, name, dtype, lora_rank=lora_rank))
            typer.echo(learner_memory.line(row))


@app.command("pipeline")
def pipeline(
    config: Annotated[
        str, typer.Argument(metavar="[CONFIG]", help="A preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Learner steps of each of the two runs.")] = 10,
    out: Annotated[Path, typer.Option(help="A new folder for both run directories.")] = Path(
        "runs/bench-pipeline"
    ),
) -> None:
    """Play the same run asynchronously and with max_staleness = 0, and print the ratio.

    \b
    Examples:
      azr bench pipeline
      azr bench pipeline --steps 20 --out /tmp/bench
    """
    resolved = config_files.load(config, [*(overrides or []), f"run.steps={steps}"])
    if out.exists():
        raise RunDirectoryError(f"{out} exists already", hint="Choose another --out.")
    check_run(resolved, RunDirectory(out), resume=False)
    from actors import bench as measurements

    typer.echo(measurements.pipeline(resolved, out=out))


@app.command("gradients")
def gradients(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="`tiny` or a folder.")] = "tiny",
    config: Annotated[
        str, typer.Option(help="A preset or a TOML file.")
    ] = config_files.DEFAULT_PRESET,
    tasks: Annotated[int, typer.Option(min=2, help="Tasks of each type.")] = 320,
    batches: Annotated[int, typer.Option(min=2, help="Batches to compare.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the tasks.")] = 0,
) -> None:
    """Measure how much of a solver's gradient is signal, with each baseline and scaling.

    \b
    Examples:
      azr bench gradients
      azr bench gradients runs/NAME/checkpoints/step-000050 --tasks 640
    """
    resolved = config_files.load(config, [f"run.model={model}"])
    from azr.engine.environment import require_environment

    require_environment(resolved)  # before anything imports torch
    from azr.experiments import gradient_noise
    from azr.model_path import model_folder

    folder = model_folder(resolved.run)

    async def sample() -> list[Trajectory]:
        return await gradient_noise.sample_rows(folder, resolved, tasks_per_type=tasks, seed=seed)

    rows = anyio.run(sample)
    found = gradient_noise.agreements(folder, resolved, rows, batches=batches)
    typer.echo(
        f"{len(rows)} attempts in {batches} batches of {found[0].batch_rows} rows; mean cosine of"
        " two batches' gradients, and rows whose gradient would be half signal"
    )
    typer.echo(f"{'baseline':<10}{'as it is':>20}{'rescaled (AdamW)':>24}")
    for each in found:
        cells = [
            f"{c:.3f} ({each.noise_scale_rows(c):,.0f} rows)" for c in (each.raw, each.rescaled)
        ]
        typer.echo(f"{each.baseline:<10}{cells[0]:>20}{cells[1]:>24}")


@app.command("serve")
def serve(
    run_or_model: Annotated[
        str,
        typer.Argument(metavar="[RUN_OR_MODEL]", help="A run, a Hugging Face folder, or `tiny`."),
    ] = "tiny",
    config: Annotated[
        str, typer.Option(metavar="CONFIG", help="Preset or TOML file; a run brings its own.")
    ] = config_files.DEFAULT_PRESET,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    requests: Annotated[
        int, typer.Option(min=8, help="To each server under each load, in each round.")
    ] = 96,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of every answer.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Both servers in turn, so many times.")] = 3,
) -> None:
    """Compare the endpoint with vLLM's own server: 1, 8 and 32 clients, whole and streaming.

    Both serve the base model with the same engine settings; p50, time to the first byte and
    requests a second are medians over the rounds.

    \b
    Examples:
      azr bench serve
      azr bench serve tiny --rounds 5 --max-tokens 16
    """
    from azr.engine.environment import require_environment
    from azr.serve.quiet import spare_the_terminal
    from azr.serve.target import find_target

    spare_the_terminal()
    target = find_target(run_or_model, preset=config, overrides=overrides or [])
    require_environment(target.config)
    from actors import serve_bench
    from azr.serve.bench import Plan

    plan = Plan(requests=requests, max_tokens=max_tokens, rounds=rounds)
    typer.echo(serve_bench.bench(target, plan, told=lambda text: typer.echo(text, err=True)))
