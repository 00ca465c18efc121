"""A run's database in the browser: Datasette, with words for tables and the questions.

It listens on this machine only and can write nothing: the file is opened read-only,
so that it may be browsed while a run writes it. Where this user may not even make
SQLite's shared-memory file beside it, nobody here writes it, and it is opened as
immutable.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azr.errors import StoreError
from azr.store.history import open_history
from azr.store.history.statements import relations
from azr.store.questions import Question, questions

if TYPE_CHECKING:
    from datasette.app import Datasette

LOOPBACK = "127.0.0.1"
SETTINGS = {"sql_time_limit_ms": 10_000, "max_returned_rows": 2000, "allow_download": False}


def site(path: Path, *, run: int | None = None) -> Datasette:
    """The pages of a database file. Raises StoreError if it cannot be read."""
    from datasette.app import Datasette  # noqa: PLC0415 -- heavy, and needed here only

    shared = os.access(path.parent, os.W_OK)
    return Datasette(
        [str(path)] if shared else [],
        immutables=[] if shared else [str(path)],
        metadata=metadata(path, run=run),
        settings=SETTINGS,
        pdb=False,
    )


def metadata(path: Path, *, run: int | None = None) -> dict[str, Any]:
    """What Datasette shows beside the data: meanings, and the questions as queries."""
    with open_history(path, run=run) as history:
        described = {
            relation.name: {"description": relation.meaning} for relation in relations(history)
        }
        run_id = history.run_id
    if run_id is None:
        raise StoreError(f"{path} holds no run yet", hint="Wait until its node is up.")
    queries = {name: _canned(question, run_id) for name, question in questions().items()}
    return {
        "title": f"azr run {run_id}",
        "databases": {path.stem: {"tables": described, "queries": queries}},
    }


@contextmanager
def listening(port: int) -> Generator[tuple[socket.socket, str]]:
    """A socket on this machine only, and its URL. Raises StoreError for a taken port."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError as error:
            raise StoreError(
                f"port {port} cannot be used: {error.strerror}",
                hint="Choose another --port, or 0 for a free one.",
            ) from error
        yield server, f"http://{LOOPBACK}:{server.getsockname()[1]}/"


def serve(datasette: Datasette, server: socket.socket) -> None:
    """Answer until Ctrl-C."""
    import uvicorn  # noqa: PLC0415

    config = uvicorn.Config(datasette.app(), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[server])


def _canned(question: Question, run_id: int) -> dict[str, str]:
    """A question with its run filled in; an empty field of its form means the default."""
    sql = question.sql
    for name, parameter in question.parameters.items():
        sql = re.sub(rf":{name}\b", f"coalesce(nullif(:{name}, ''), ({parameter.default}))", sql)
    return {
        "sql": re.sub(r":run\b", str(run_id), sql),
        "title": question.title,
        "description": question.about,
    }
