"""`azr bench scaling`: what a run on many machines would do, on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from azr import config_files
from azr.config import RunConfig
from azr.errors import ConfigError
from azr.scaling import laptop, tables
from azr.scaling.cluster import estimate
from azr.scaling.inputs import (
    EARLIER_TINY_LENGTHS,
    MODELS,
    POSTGRES,
    SQLITE,
    TINY_LENGTHS,
    Inputs,
    Model,
)
from azr.scaling.laptop import LaptopEstimate

DEFAULT_NODES = "1,2,4,8,16,32,64"


def scaling(
    config: Annotated[
        str, typer.Argument(metavar="[CONFIG]", help="A preset or a TOML file.")
    ] = "base",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting; repeatable."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="Replace an input; repeatable."),
    ] = None,
    models: Annotated[
        str, typer.Option("--models", metavar="SIZE,...", help=f"Of {', '.join(MODELS)}.")
    ] = ",".join(MODELS),
    nodes: Annotated[
        str, typer.Option("--nodes", metavar="N,N,...", help="Numbers of nodes, ascending.")
    ] = DEFAULT_NODES,
    *,
    sources: Annotated[
        bool, typer.Option("--sources", help="Print every input with its unit and source.")
    ] = False,
    tiny: Annotated[
        bool,
        typer.Option("--tiny", help="Predict what docs/results measured on two cores instead."),
    ] = False,
) -> None:
    """Model throughput, bytes and database load of 1 to 64 nodes; nothing is measured.

    The first table says what a run does; the second, how many seconds a step would take
    if only that resource mattered. The largest number of a line sets the pace.

    \b
    Examples:
      azr bench scaling
      azr bench scaling --models 7B --nodes 2,4 --set learner.solve_rollouts=512
      azr bench scaling --input learner_mfu=0.3 --input solve_response_tokens=4000
      azr bench scaling --sources
      azr bench scaling --tiny
    """
    inputs = Inputs().changed(dict(_assignment(text) for text in given or []))
    if sources:
        typer.echo(tables.sources(inputs))
        return
    if tiny:
        typer.echo(tables.laptops(_laptops()) + "\n")
        typer.echo(tables.calls({"SQLite": SQLITE, "PostgreSQL": POSTGRES}))
        return
    resolved = config_files.load(config, overrides or [])
    counts = _counts(nodes)
    for model in _models(models):
        estimates = [estimate(model, resolved, inputs, count) for count in counts]
        typer.echo(tables.throughput(model, estimates) + "\n")
        typer.echo(tables.seconds(estimates) + "\n")
        typer.echo(tables.verdict(model, estimates) + "\n")


def earlier_tiny() -> RunConfig:
    """The tiny preset with the batches that docs/results/pipeline-bench.md played."""
    return config_files.load(
        "tiny-cpu",
        [
            "learner.batch_rollouts=16",
            "learner.solve_rollouts=0",
            "learner.skip_zero_advantage=false",
        ],
    )


def _laptops() -> dict[str, LaptopEstimate]:
    present = config_files.load("tiny-cpu", [])
    return {
        "pipeline-bench.md": laptop.estimate(earlier_tiny(), EARLIER_TINY_LENGTHS),
        "README.md": laptop.estimate(present, TINY_LENGTHS),
    }


def _assignment(text: str) -> tuple[str, float]:
    """Raises ConfigError for anything but NAME=NUMBER."""
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise ConfigError(
            f"--input {text} is not NAME=NUMBER", hint="For example: --input learner_mfu=0.3"
        ) from None


def _counts(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) != len(parts) or numbers != sorted(set(numbers)) or numbers[0] < 1:
        raise ConfigError(
            f"--nodes {text} is not a list of ascending numbers from 1 on",
            hint=f"For example: --nodes {DEFAULT_NODES}",
        )
    return numbers


def _models(text: str) -> Sequence[Model]:
    names = [part.strip() for part in text.split(",")]
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise ConfigError(
            f"--models {unknown[0]} is not one of {', '.join(MODELS)}",
            hint="For example: --models 7B",
        )
    return [MODELS[name] for name in names]
