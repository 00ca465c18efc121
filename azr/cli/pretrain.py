"""`azr pretrain`: make the tiny base model again, from nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the model and its checkpoint.")
    ],
    tokens: Annotated[
        int, typer.Option(min=1, help="Token budget; the shipped model had 14 million.")
    ] = 14_000_000,
    seed: Annotated[int, typer.Option(help="Root of the weights and of the programs.")] = 0,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with these weights: `tiny` or a folder of `azr pretrain`.",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, help="Train for so long instead of --tokens; 0: by tokens.")
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of torch.")] = 2,
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in OUT.")
    ] = False,
) -> None:
    """Pretrain the tiny base model on synthetic programs and their traces.

    \b
    Examples:
      azr pretrain models/tiny
      azr pretrain models/tiny --tokens 30000000 --resume
      azr pretrain models/more --from tiny --minutes 40 --seed 1
      azr run --set run.model=models/tiny/model
    """
    from azr.model_path import resolve_model
    from azr.tiny.pretrain import Progress, Recipe
    from azr.tiny.pretrain import pretrain as train

    def report(progress: Progress) -> None:
        share = progress.tokens / progress.budget
        typer.echo(
            f"{progress.tokens / 1e6:.1f}M tokens ({share:.0%}) | loss {progress.loss:.3f} nats"
            f" | {progress.tokens_per_second:,.0f} tokens/s"
        )

    recipe = Recipe(compiled=shutil.which("g++") is not None)
    if not recipe.compiled:
        typer.echo("no C++ compiler found: training runs uncompiled, about a third slower")
    folder = train(
        out,
        tokens=tokens,
        seed=seed,
        resume=resume,
        start=None if start is None else resolve_model(start),
        minutes=minutes,
        threads=threads,
        recipe=recipe,
        report=report,
    )
    typer.echo(f"model: {folder}")
