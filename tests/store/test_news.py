"""What one process commits wakes those that wait in others; nobody hears himself."""

from contextlib import aclosing

import anyio

from actors.actor import Topic
from azr.store import SqlStore
from azr.store.news import News, heard, message
from tests.store.store_play import Player, completion, config

PATIENCE_SECONDS = 30


async def test_news_of_another_writer_is_heard_and_ones_own_is_not(postgres: str) -> None:
    async with (
        SqlStore.open(postgres, run=config()) as waiting,
        SqlStore.open(postgres, run=config()) as working,
        aclosing(waiting.news()) as listener,
    ):
        with anyio.fail_after(PATIENCE_SECONDS):
            assert await anext(listener) == set(News)  # it may have missed any
            ours, theirs = await Player(waiting).admit(), await Player(working).admit()
            await waiting.put_rollout(ours[0], completion())
            await working.release("nobody")
            assert await anext(listener) == set(News)
            await working.put_rollout(theirs[0], completion())
            assert await anext(listener) == {News.GENERATED}


async def test_runs_of_one_database_do_not_hear_each_other(postgres: str) -> None:
    async with (
        SqlStore.open(postgres, run=config(store={"run_name": "one"})) as one,
        SqlStore.open(postgres, run=config(store={"run_name": "one"})) as its_second_node,
        SqlStore.open(postgres, run=config(store={"run_name": "other"})) as other,
        aclosing(one.news()) as listener,
    ):
        with anyio.fail_after(PATIENCE_SECONDS):
            await anext(listener)
            await other.release("nobody")
            [admission] = await Player(its_second_node).admit()
            await its_second_node.put_rollout(admission, completion())
            assert await anext(listener) == {News.GENERATED}


async def test_a_file_has_no_news(path) -> None:
    async with SqlStore.open(f"sqlite:///{path}", run=config()) as store:
        assert [news async for news in store.news()] == []


def test_unknown_words_are_ignored() -> None:
    payload = message("me", [News.READY]) + ",later"
    assert heard(payload, ignoring="you") == {News.READY}
    assert heard(payload, ignoring="me") == set()


def test_every_news_wakes_a_topic() -> None:
    assert {topic.name for topic in Topic} == {news.name for news in News}
