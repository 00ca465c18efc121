"""Propose and solve: self-play's prompts, parsing and verdicts, in a real jail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from azr.sandbox import SandboxPool
from azr.serve.app import build_app
from azr.serve.tasks import PastTasks
from azr.store import SqlStore
from azr.store.locate import Located
from azr.types import SamplingRequest
from tests.serve.echo import Echo, config, inside
from tests.serve.served import drafts

PROGRAM = "def f(x):\n    return [x, x + 1]"
PROPOSAL = f"a list</think><answer>```python\n{PROGRAM}\n```\n```input\n3\n```\n</answer>"
IMPURE = PROPOSAL.replace("[x, x + 1]", "list(set('abcdefghij'))")


def answered(kind: str, text: str) -> str:
    return f"I count</think>\n<answer>\n```{kind}\n{text}\n```\n</answer>"


type Post = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def post(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """Ask an endpoint whose policy says `says`; one jail of each seed behind it."""
    file = tmp_path_factory.mktemp("history") / "azr.sqlite"
    settings = config()
    generous = {"workers": 1, "wall_seconds": 20.0, "cpu_seconds": 10}
    sandbox = settings.sandbox.model_copy(update=generous)

    async def fill() -> None:
        async with SqlStore.open(f"sqlite:///{file}", run=settings) as store:
            await store.add_seed_tasks(drafts())

    portal.call(fill)
    with portal.wrap_async_context_manager(SandboxPool.open(sandbox)) as pool:

        def post(path: str, body: dict[str, Any], says: str = "") -> httpx.Response:
            def said(request: SamplingRequest) -> str:
                seen.append(request)
                return says

            within = inside(Echo(says=said), sandbox=pool, past=PastTasks(Located(file)))

            async def send() -> httpx.Response:
                transport = httpx.ASGITransport(build_app(within))
                async with httpx.AsyncClient(transport=transport, base_url="http://d") as http:
                    if body:
                        return await http.post(path, json=body)
                    return await http.get(path)

            return portal.call(send)

        yield post


seen: list[SamplingRequest] = []
"""What the policy was asked, newest last."""


def test_a_valid_proposal_is_a_task_with_its_output(post: Post):
    found = post("/v1/azr/propose", {"type": "deduction", "references": []}, PROPOSAL)
    assert found.status_code == 200
    assert found.headers["x-azr-policy-version"] == "5"
    document = found.json()
    assert (document["judgement"], document["verdict"]) == ("valid", "ok")
    assert document["task"]["examples"] == [{"input": "3", "output": "[3, 4]"}]
    assert document["thinking"] == "a list"
    assert document["policy_version"] == 5


def test_a_proposal_that_differs_from_run_to_run_is_invalid(post: Post):
    document = post("/v1/azr/propose", {"type": "abduction", "references": []}, IMPURE).json()
    assert document["task"] is None
    assert document["judgement"] == "invalid"
    assert document["verdict"] == "nondeterministic"


def test_a_proposal_without_the_blocks_has_a_bad_format(post: Post):
    document = post("/v1/azr/propose", {"type": "deduction"}, "no idea").json()
    assert (document["judgement"], document["task"]) == ("bad_format", None)


def test_references_are_drawn_from_the_history_or_named(post: Post):
    drawn = post("/v1/azr/propose", {"type": "deduction", "seed": 1}, "-").json()
    assert len(drawn["references"]) == 4
    named = post("/v1/azr/propose", {"type": "deduction", "references": [2, 1]}, "-").json()
    assert named["references"] == [2, 1]
    assert seen[-1].prompt.count("```python") == 2
    missing = post("/v1/azr/propose", {"type": "deduction", "references": [99]})
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "task_not_found"


def test_induction_is_proposed_for_a_given_program(post: Post):
    post("/v1/azr/propose", {"type": "induction", "program": PROGRAM}, "-")
    assert PROGRAM in seen[-1].prompt


def test_an_error_proposal_is_a_task_if_it_fails(post: Post):
    body = {"type": "error", "references": [1]}
    document = post("/v1/azr/propose", body, PROPOSAL.replace("[x,", "[x['a'],")).json()
    assert document["task"]["examples"] == [{"input": "3", "output": "TypeError"}]
    assert seen[-1].prompt.startswith("propose error\n```python\n")
    document = post("/v1/azr/propose", body, PROPOSAL).json()
    assert (document["task"], document["verdict"]) == (None, "no_error")
    fine = {"type": "error", "program": PROGRAM, "examples": [{"input": "3"}]}
    refused = post("/v1/azr/solve", {"task": fine}, "-")
    assert refused.status_code == 422
    assert "no_error" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("task", "right", "wrong"),
    [
        (
            {"type": "error", "program": PROGRAM, "examples": [{"input": "'x'"}]},
            answered("output", "TypeError"),
            answered("output", "KeyError"),
        ),
        (
            {
                "type": "error",
                "program": PROGRAM,
                "examples": [{"input": "'x'", "output": "builtins.TypeError"}],
            },
            answered("output", "TypeError"),
            answered("output", "ValueError"),
        ),
        (
            {"type": "deduction", "program": PROGRAM, "examples": [{"input": "3"}]},
            answered("output", "[3, 4]"),
            answered("output", "[3, 5]"),
        ),
        (
            {
                "type": "abduction",
                "program": PROGRAM,
                "examples": [{"input": "", "output": "[8, 9]"}],
            },
            answered("input", "8"),
            answered("input", "9"),
        ),
        (
            {
                "type": "induction",
                "examples": [{"input": "1", "output": "2"}, {"input": "5", "output": "6"}],
            },
            answered("python", "def f(x):\n    return x + 1"),
            answered("python", "def f(x):\n    return x * 2"),
        ),
    ],
    ids=["error", "named error", "deduction", "abduction", "induction"],
)
def test_an_answer_is_judged_by_the_jail(post: Post, task: dict[str, Any], right: str, wrong: str):
    solved = post("/v1/azr/solve", {"task": task}, right).json()
    assert (solved["judgement"], solved["solved"]) == ("correct", True)
    assert solved["thinking"] == "I count"
    failed = post("/v1/azr/solve", {"task": task}, wrong).json()
    assert (failed["judgement"], failed["solved"]) == ("wrong", False)
    silent = post("/v1/azr/solve", {"task": task}, "hm").json()
    assert (silent["judgement"], silent["answer"]) == ("bad_format", None)


def test_a_task_of_the_history_can_be_solved_by_its_number(post: Post):
    document = post("/v1/azr/solve", {"task_id": 1}, answered("output", "1")).json()
    assert document["task"]["program"] == "def f(x):\n    return x + 0"
    assert document["solved"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"task_id": 1, "task": {"type": "deduction", "examples": [{"input": "1"}]}},
        {"task": {"type": "deduction", "examples": [{"input": "1"}]}},
        {"task": {"type": "deduction", "program": "def f(x", "examples": [{"input": "1"}]}},
        {"task": {"type": "induction", "examples": [{"input": "1", "output": "1"}]}},
        {"task": {"type": "induction", "examples": [{"input": "1"}, {"input": "2"}]}},
        {
            "task": {
                "type": "abduction",
                "program": PROGRAM,
                "examples": [{"input": "", "output": "__import__('os')"}],
            }
        },
    ],
)
def test_what_is_no_task_is_refused(post: Post, body: dict[str, Any]):
    refused = post("/v1/azr/solve", body or {"temperature": 1})
    assert refused.status_code == 422
    assert refused.json()["error"]["message"]


def test_the_history_is_listed_a_page_at_a_time(post: Post):
    first = post("/v1/azr/tasks?type=abduction&limit=3", {}).json()
    assert [task["type"] for task in first["data"]] == ["abduction"] * 3
    assert first["has_more"]
    rest = post(f"/v1/azr/tasks?type=abduction&limit=3&offset={first['next_offset']}", {}).json()
    assert (len(rest["data"]), rest["has_more"], rest["next_offset"]) == (1, False, None)
    ids = [task["task_id"] for task in first["data"] + rest["data"]]
    assert ids == sorted(ids, reverse=True)
    assert post("/v1/azr/tasks?text=x%20%2B%202", {}).json()["data"][0]["attempts"] == 0


def test_the_status_says_what_is_served_and_where_the_run_stands(post: Post):
    status = post("/v1/azr/status", {}).json()
    assert status["policy_version"] == 5
    assert status["kept_versions"] == [0, 5]
    assert status["run"]["buffer_sizes"]["deduction"] == 4
