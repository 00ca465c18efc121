import logging
from collections.abc import Iterator
from pathlib import Path

import alembic.config
import pytest
import sqlalchemy as sa

from azr.errors import StoreError
from azr.store import migrate
from azr.store.engine import write_engine
from azr.store.models import Base
from azr.store.views import VIEWS
from tests.store.store_play import one, select

OBJECTS = "select name, sql from sqlite_master where sql is not null and type in ('table', 'index')"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = write_engine(tmp_path / "new.sqlite")
    yield engine
    engine.dispose()


def parts(sql: str) -> list[str]:
    """The columns and constraints of a CREATE statement, in any order."""
    return sorted(line.strip().rstrip(",") for line in sql.splitlines())


def schema(engine: sa.Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(OBJECTS).all()
    return {name: parts(sql) for name, sql in rows if name != "alembic_version"}


def test_migrations_and_models_agree_to_the_last_constraint(
    engine: sa.Engine, tmp_path: Path
) -> None:
    with engine.begin() as connection:
        migrate.upgrade(connection)
    modelled = write_engine(tmp_path / "models.sqlite")
    with modelled.begin() as connection:
        Base.metadata.create_all(connection)
    assert schema(engine) == schema(modelled)
    modelled.dispose()


def test_alembic_finds_nothing_to_migrate(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        migrate.upgrade(connection)
        migrate.check(connection)


def test_upgrading_twice_changes_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        migrate.upgrade(connection)
    before = schema(engine)
    with engine.begin() as connection:
        migrate.upgrade(connection)
    assert schema(engine) == before


def test_a_full_database_can_be_downgraded_to_nothing(path: Path) -> None:
    engine = write_engine(path)
    with engine.begin() as connection:
        migrate.downgrade(connection, "base")
    assert schema(engine) == {}
    engine.dispose()


def test_every_view_answers(path: Path) -> None:
    for view in VIEWS:
        select(path, f"select * from {view}")  # noqa: S608
    assert one(path, "select count(*) from sqlite_master where type = 'view'") == len(VIEWS)


def test_a_database_of_another_program_is_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE recipe (name text)")
    with pytest.raises(StoreError, match="another program"), engine.begin() as connection:
        migrate.upgrade(connection)
    assert list(schema(engine)) == ["recipe"]


def test_a_database_of_a_newer_version_is_refused(path: Path) -> None:
    engine = write_engine(path)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="does not know"), engine.begin() as connection:
        migrate.upgrade(connection)
    engine.dispose()


def test_migrating_leaves_the_loggers_alone(engine: sa.Engine) -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    with engine.begin() as connection:
        migrate.upgrade(connection)
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_the_alembic_command_finds_everything_in_pyproject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(migrate.__file__).parents[2])
    url = f"url=sqlite:///{tmp_path / 'shell.sqlite'}"
    alembic.config.main(argv=["-x", url, "upgrade", "head"])
    assert select(tmp_path / "shell.sqlite", "select * from alembic_version") == [("0002",)]
