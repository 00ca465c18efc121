"""`azr why`: the whole life of one rollout."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from azr.cli.history_options import DatabaseOption, RunOption
from azr.cli.output import JsonFlag, console


def why(
    rollout: Annotated[int, typer.Argument(metavar="ROLLOUT", help="A rollout's id.")],
    database: DatabaseOption = None,
    run: RunOption = None,
    *,
    as_json: JsonFlag = False,
) -> None:
    """Tell a rollout's life: admission, text, verdict, reward, training or drop.

    \b
    Examples:
      azr why 345
      azr why 345 --db runs/NAME --json
    """
    from azr.cli.life_page import life_page
    from azr.cli.run_tokenizer import prompt_text
    from azr.store import queries
    from azr.store.history import open_history
    from azr.store.history.life import rollout_life
    from azr.store.locate import locate

    with open_history(locate(database), run=run) as history:
        life = rollout_life(history, rollout)
        config = queries.run_config(history)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(life), indent=2, ensure_ascii=False))
    else:
        console().print(life_page(life, config, prompt=prompt_text(life, config)))
