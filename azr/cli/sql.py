"""`azr sql`: any question to a run's database, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from azr.cli.history_options import DatabaseOption, RunOption
from azr.cli.output import CsvFlag, Form, JsonFlag, chosen_form, emit, note
from azr.errors import ConfigError

if TYPE_CHECKING:
    from azr.store.history import History
    from azr.store.questions import Question

DEFAULT_ROWS = 1000
DEFAULT_SECONDS = 30.0


def sql(
    statement: Annotated[
        str | None, typer.Argument(metavar="[SELECT]", help="One query; quote it.")
    ] = None,
    database: DatabaseOption = None,
    run: RunOption = None,
    question: Annotated[
        str | None, typer.Option("--question", "-q", metavar="NAME", help="A known question.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=NUMBER", help="What it is asked about; repeatable."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = DEFAULT_ROWS,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="The query is stopped after this.")
    ] = DEFAULT_SECONDS,
    *,
    tables: Annotated[bool, typer.Option("--tables", help="List tables and views.")] = False,
    questions: Annotated[bool, typer.Option("--questions", help="List known questions.")] = False,
    as_json: JsonFlag = False,
    as_csv: CsvFlag = False,
) -> None:
    """Ask a run's database, also while it plays; nothing can be written from here.

    \b
    Examples:
      azr sql "select state, count(*) from rollout group by 1"
      azr sql "select * from v_cell_rewards" --db runs/NAME --csv > rewards.csv
      azr sql --tables
      azr sql --questions
      azr sql --question step --param step=10
    """
    form = chosen_form(as_json=as_json, as_csv=as_csv)
    if sum((statement is not None, question is not None, tables, questions)) != 1:
        raise ConfigError(
            "give one of: a query, --question NAME, --tables or --questions",
            hint='For example: azr sql "select count(*) from task"',
        )
    if questions:
        _list_questions(form)
        return
    from azr.store.history import open_history
    from azr.store.history.statements import ask, ask_question
    from azr.store.locate import locate

    given = _numbers(parameters or [])
    with open_history(locate(database), run=run) as history:
        if tables:
            _list_tables(history, form)
            return
        limits = {"max_rows": limit, "timeout_seconds": timeout}
        if question is not None:
            answer = ask_question(history, _known(question), given, **limits)
        else:
            answer = ask(history, statement or "", **limits)
    emit(answer.columns, answer.rows, form)
    if not answer.complete:
        note(f"only the first {limit:,} rows; --limit shows more")


def _list_questions(form: Form) -> None:
    from azr.store.questions import questions

    rows = [
        (question.name, question.title, ", ".join(question.parameters))
        for question in questions().values()
    ]
    emit(("name", "question", "parameters"), rows, form)


def _list_tables(history: History, form: Form) -> None:
    from azr.store.history.statements import relations

    rows = [
        (each.name, each.kind, each.meaning, ", ".join(each.columns)) for each in relations(history)
    ]
    emit(("name", "kind", "a row is", "columns"), rows, form)


def _known(name: str) -> Question:
    from azr.store.questions import questions

    found = questions().get(name)
    if found is None:
        names = ", ".join(questions())
        raise ConfigError(f"there is no question {name!r}", hint=f"Known questions: {names}.")
    return found


def _numbers(given: list[str]) -> dict[str, int]:
    """`NAME=NUMBER` words as numbers. Raises ConfigError for anything else."""
    found: dict[str, int] = {}
    for word in given:
        name, _, value = word.partition("=")
        try:
            found[name] = int(value)
        except ValueError as error:
            raise ConfigError(
                f"--param {word} is not NAME=NUMBER", hint="For example: --param step=10"
            ) from error
    return found
