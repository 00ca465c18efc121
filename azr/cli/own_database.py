"""The PostgreSQL server that a run of several nodes brings along when it is given no database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from azr.config import RunConfig
from azr.placement import Where
from azr.run_directory import RunDirectory


@contextmanager
def own_database(
    config: RunConfig, directory: RunDirectory, where: Where, *, detach: bool
) -> Generator[RunConfig]:
    """The config with the URL of the run's own server, which runs meanwhile; or as it is.

    A run that began with a server of its own goes on with it, however many nodes it has.
    Raises StoreError if PostgreSQL is not installed or does not start.
    """
    is_wanted = where.nodes > 1 and not config.store.url
    if not is_wanted and not directory.postgres.is_dir():
        yield config
        return
    from azr.store.managed_server import managed_server

    with managed_server(directory.postgres, detached=detach) as server:
        store = config.store.model_copy(update={"url": server.url})
        yield config.model_copy(update={"store": store})
