"""`azr db crash-test`: kill what plays, and see that nothing is lost or doubled."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_KILLS = 50


def crash_test(
    url: Annotated[
        str,
        typer.Option(
            metavar="sqlite|postgresql|URL",
            help="A new file, a server of its own (killed, too), or an empty database.",
        ),
    ] = "sqlite",
    kills: Annotated[int, typer.Option(min=1, help="How often something is killed.")] = (
        DEFAULT_KILLS
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of what is killed, and when.")] = 0,
) -> None:
    """Kill processes that put, lease, judge, claim and commit; then check every law.

    The laws: what was acknowledged is there, no rollout is in the weights twice, the
    weights saw what the database says, counts and numbers have no gap, and no lease
    outlives its end. docs/results/store-crash-test.md has results.

    \b
    Examples:
      azr db crash-test
      azr db crash-test --url postgresql --kills 200
      azr db crash-test --url postgresql://me@server/scratch --kills 200 --seed 7
    """
    from azr.store.crash.world import run

    result = run(url, kills=kills, seed_number=seed, tell=typer.echo)
    typer.echo(f"{url}: {result}")
