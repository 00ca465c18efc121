"""From what a user names (a run directory, a file, a URL, or nothing) to a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azr import config_files
from azr.config import StoreSection
from azr.errors import StoreError
from azr.run_directory import RUNS_FOLDER, RunDirectory
from azr.store.engine import database_path, open_database


@dataclass(frozen=True, slots=True)
class Located:
    """A database and, where it is known, the run directory that it belongs to."""

    database: Path | str
    """What `open_history` takes: a file, or a URL."""
    directory: RunDirectory | None = None
    run_name: str = ""
    """Which run of the database; empty for the latest, or the only one."""

    def __str__(self) -> str:
        """As its user names it, without a password."""
        return open_database(self.database).name

    @property
    def url(self) -> str:
        """What `SqlStore.open` takes."""
        if isinstance(self.database, str):
            return self.database
        return f"sqlite:///{self.database}"


def locate(target: str | None) -> Located:
    """The database of a run directory, a file or a URL; of the newest run for None.

    Raises:
        RunDirectoryError: a directory that holds no run.
        StoreError: nothing there, or no run under `runs/` yet.
    """
    if target is None:
        return of_directory(_newest_run())
    if "://" in target:
        return _of_url(target)
    path = Path(target)
    if path.is_dir():
        return of_directory(RunDirectory(path))
    if not path.is_file():
        raise StoreError(
            f"there is no run at {target}",
            hint="Give a run directory, a database file, or a URL such as sqlite:///PATH.",
        )
    return Located(path)


def of_directory(directory: RunDirectory) -> Located:
    """The database that a run directory's config names, or the one in it."""
    store = config_files.load(directory.existing().config).store
    if not store.url:
        return Located(directory.database, directory)
    return Located(_of_url(store.url).database, directory, store.run_name)


def of_new_run(store: StoreSection) -> Located:
    """The database of a run that has not begun. StoreError for what cannot be one."""
    return Located(_of_url(store.url).database, run_name=store.run_name)


def _of_url(url: str) -> Located:
    return Located(database_path(url) if url.startswith("sqlite") else url)


def _newest_run() -> RunDirectory:
    """The run under `runs/` whose config was written last."""
    configs = [RunDirectory(path).config for path in RUNS_FOLDER.glob("*/")]
    known = [(config.stat().st_mtime_ns, config) for config in configs if config.is_file()]
    if not known:
        raise StoreError(
            f"there is no run under {RUNS_FOLDER.absolute()}",
            hint="Start one with `azr run`, or name its directory, database file or URL.",
        )
    return RunDirectory(max(known)[1].parent)
