import json
import logging
from collections.abc import Iterator
from pathlib import Path

import alembic.config
import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import IntegrityError

from azr.errors import StoreError
from azr.membership import ReplicaState
from azr.store import SqlStore, migrate
from azr.store.engine import Needs, Session, open_database
from azr.store.models import Base
from azr.store.views import VIEWS
from azr.types import PolicyVersion, VersionSpan
from tests.store.store_play import Player, config, one, select

type Schema = dict[str, list[str]]

PLAIN = Needs(traceable=False)


@pytest.fixture
def session(empty_url: str) -> Iterator[Session]:
    yield from opened(empty_url)


@pytest.fixture
def begun(url: str) -> Iterator[Session]:
    yield from opened(url)


def opened(url: str) -> Iterator[Session]:
    session = open_database(url).session()
    yield session
    session.close()


def schema(session: Session) -> Schema:
    """Columns and constraints of every table, in any order."""
    with session.transaction(PLAIN) as connection:
        look = sa.inspect(connection)
        lists = (
            look.get_multi_columns(),
            look.get_multi_foreign_keys(),
            look.get_multi_unique_constraints(),
            look.get_multi_check_constraints(),
            look.get_multi_indexes(),
        )
        keys = look.get_multi_pk_constraint()
        return {
            table: sorted(map(_words, (key, *(fact for of in lists for fact in of[None, table]))))
            for (_, table), key in keys.items()
            if table != "alembic_version"
        }


def _words(fact: object) -> str:
    """A fact of the inspector's, where the SQL of a condition is its text."""
    if isinstance(fact, dict):
        return str({name: _words(value) for name, value in fact.items()})
    return str(fact)


def test_migrations_and_models_agree_to_the_last_constraint(session: Session) -> None:
    with session.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    migrated = schema(session)
    with session.transaction(PLAIN) as connection:
        migrate.downgrade(connection, "base")
        Base.metadata.create_all(connection)
    assert migrated == schema(session)


def test_alembic_finds_nothing_to_migrate(begun: Session) -> None:
    with begun.transaction(PLAIN) as connection:
        migrate.check(connection)


def test_upgrading_twice_changes_nothing(begun: Session) -> None:
    before = schema(begun)
    with begun.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    assert schema(begun) == before


def test_a_full_database_can_be_downgraded_to_nothing(begun: Session) -> None:
    with begun.transaction(PLAIN) as connection:
        migrate.downgrade(connection, "base")
    assert schema(begun) == {}


def test_every_view_answers(url: str) -> None:
    for view in VIEWS:
        select(url, f"select * from {view}")  # noqa: S608


def test_a_database_of_another_program_is_left_alone(session: Session) -> None:
    with session.transaction(PLAIN) as connection:
        connection.exec_driver_sql("CREATE TABLE recipe (name text)")
    with pytest.raises(StoreError, match="another program"), session.transaction(PLAIN) as c:
        migrate.upgrade(c)
    assert list(schema(session)) == ["recipe"]


async def test_a_database_of_a_newer_version_is_refused(url: str, begun: Session) -> None:
    with begun.transaction(PLAIN) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version of azr") as caught:
        async with SqlStore.open(url, run=config()):
            raise AssertionError("opened")
    assert caught.value.hint


def test_a_database_of_the_first_version_keeps_its_rows(empty_url: str, session: Session) -> None:
    with session.transaction(PLAIN) as connection:
        command.upgrade(migrate.alembic_config(connection), "0001")
        play_in_the_first_version(connection)
    with session.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
        migrate.check(connection)
    assert select(empty_url, "select run_id, name, learner_version from runs order by 1") == [
        (1, "run 1", 3),
        (2, "", 4),
    ]
    assert select(empty_url, "select version, state from policy_version") == [(4, "live")]
    assert one(empty_url, "select program from task where run_id = 2") == "def f(): pass"


async def test_a_run_of_the_first_version_is_continued(empty_url: str, session: Session) -> None:
    with session.transaction(PLAIN) as connection:
        command.upgrade(migrate.alembic_config(connection), "0001")
        play_in_the_first_version(connection)
    async with SqlStore.open(empty_url, run=config()) as store:
        version: PolicyVersion = await store.learner_version()
        assert (store.run_id, version) == (2, 4)


async def test_a_run_survives_a_downgrade_without_its_lineages(url: str, begun: Session) -> None:
    async with SqlStore.open(url, run=config()) as store:
        player = Player(store)
        await player.seed()
        await store.recover(0)
        rollout_id = await player.propose()
        await store.register_node("n", name="n", machine="", address="", pid=1, duties=())
        await store.record_replica("r", node_id="n", state=ReplicaState.HEALTHY, version=0)
    assert spans(url) == [[0, 0, 4, 1]]
    with begun.transaction(PLAIN) as connection:
        migrate.downgrade(connection, "0003")
    assert spans(url) == [[0, 0, 4]]  # what older programs read
    async with SqlStore.open(url, run=config()) as store:
        assert await store.learner_position() == (0, 0)
        [rollout] = await store.lease_rollouts(owner="w", at_most=9)
    assert rollout.rollout_id == rollout_id
    assert rollout.completion.version_spans == (VersionSpan(0, 0, 4),)


def test_a_run_that_made_a_step_in_an_older_version_is_playing(
    empty_url: str, session: Session
) -> None:
    with session.transaction(PLAIN) as connection:
        command.upgrade(migrate.alembic_config(connection), "0003")
        connection.exec_driver_sql(
            "insert into runs (name, config, learner_version, created_at)"
            " values ('new', '{}', 0, 0), ('old', '{}', 3, 0)"
        )
        migrate.upgrade(connection)
    phases = select(empty_url, "select name, phase, lineage from runs order by name")
    assert phases == [("new", "seeding", 0), ("old", "playing", 0)]


def test_a_database_of_three_task_types_takes_a_fourth(empty_url: str, session: Session) -> None:
    with session.transaction(PLAIN) as connection:
        command.upgrade(migrate.alembic_config(connection), "0001")
        play_in_the_first_version(connection)
        command.upgrade(migrate.alembic_config(connection), "0006")
    assert refuses_error_tasks(session)
    with session.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
        migrate.check(connection)
    assert one(empty_url, "select program from task where run_id = 2") == "def f(): pass"
    assert not refuses_error_tasks(session)
    with session.transaction(PLAIN) as connection, pytest.raises(StoreError, match="error tasks"):
        migrate.downgrade(connection, "0006")


def test_without_error_tasks_the_fourth_type_can_be_taken_back(begun: Session) -> None:
    before = schema(begun)
    with begun.transaction(PLAIN) as connection:
        migrate.downgrade(connection, "0006")
    assert refuses_error_tasks(begun)
    with begun.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    assert schema(begun) == before


async def test_every_connection_learns_of_the_fourth_type(url: str, begun: Session) -> None:
    with begun.transaction(PLAIN) as connection:
        migrate.downgrade(connection, "0006")
    other = open_database(url).session()
    assert refuses_error_tasks(other)
    with begun.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    assert not refuses_error_tasks(other)
    other.close()


def refuses_error_tasks(session: Session) -> bool:
    """Whether a buffer's CHECK keeps one out."""
    new = (
        "insert into task_block (run_id, task_type, visible_from, num_before, num_tasks,"
        " first_ordinal, last_ordinal) select max(run_id), 'error', 0, 0, 1, 0, 0 from runs"
    )
    try:
        with session.transaction(PLAIN) as connection:
            connection.exec_driver_sql(new)
    except IntegrityError:
        return True
    return False


def spans(url: str) -> list[list[int]]:
    """Those of the only rollout."""
    found = one(url, "select version_spans from rollout_payload")
    return json.loads(found) if isinstance(found, str) else found  # SQLite gives text


def play_in_the_first_version(connection: sa.Connection) -> None:
    """Two runs, a policy version and a task, in the columns of revision 0001."""
    for statement in (
        "insert into runs (config, learner_version, created_at) values ('{}', 3, 0)",
        "insert into runs (config, learner_version, created_at) values ('{}', 4, 0)",
        "insert into policy_version (run_id, version, state, durable, created_at)"
        " values (2, 4, 'live', false, 0)",
        "insert into task (run_id, task_type, ordinal, origin, program, examples, message,"
        " content_hash, visible_from, num_attempts, num_solved, created_at)"
        " values (2, 'deduction', 0, 'seed', 'def f(): pass', '[]', '', 'x', 0, 0, 0, 0)",
    ):
        connection.exec_driver_sql(statement)


def test_migrating_leaves_the_loggers_alone(session: Session) -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    with session.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_the_alembic_command_upgrades_and_downgrades(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(migrate.__file__).parents[2])
    shell = ["-x", f"url={empty_url}"]
    alembic.config.main(argv=[*shell, "upgrade", "head"])
    assert select(empty_url, "select * from alembic_version") == [(migrate.head(),)]
    alembic.config.main(argv=[*shell, "check"])
    alembic.config.main(argv=[*shell, "downgrade", "base"])
    assert select(empty_url, "select * from alembic_version") == []


def test_views_of_another_version_are_made_again(url: str, begun: Session) -> None:
    with begun.transaction(PLAIN) as connection:
        connection.exec_driver_sql("DROP VIEW v_queue")
        connection.exec_driver_sql("CREATE VIEW v_queue AS SELECT 1 AS old")
    with begun.transaction(PLAIN) as connection:
        migrate.upgrade(connection)
    assert not select(url, "select run_id from v_queue")
