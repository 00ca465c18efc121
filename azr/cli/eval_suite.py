"""`azr eval --suite`: benchmarks that others report on, measured and kept."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import typer
from anyio.to_thread import run_sync
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from azr.cli.errors import EXIT_INTERRUPTED
from azr.config import RunConfig
from azr.errors import InputError, RunDirectoryError

if TYPE_CHECKING:
    from azr.benchmarks.attempts import Plan
    from azr.benchmarks.catalogue import BenchmarkSpec
    from azr.benchmarks.loading import LoadedBenchmark
    from azr.benchmarks.scores import BenchmarkScore
    from azr.benchmarks.sitting import Sat
    from azr.evals.subjects import Policy, Subject

REQUEST_SECONDS = 4 * 3600.0
"""A response of 16,000 tokens may wait for many others."""
PAGES, SCORES_FILE, CSV_FILE = "pages", "scores.json", "responses.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What the command line asked for."""

    suite: str
    template: str
    samples: int
    """0: one greedy response."""
    temperature: float
    top_p: float
    seed: int
    limit: int | None
    max_tokens: int | None
    data: Path | None
    download: bool
    compare: str
    """`paper` or `none`."""
    out: Path | None
    as_json: bool


def run_suite(
    found: Subject, find_policies: Callable[[], Sequence[Policy]], options: SuiteOptions
) -> None:
    """Measure policies on benchmarks, and print and write what was found.

    `find_policies` imports torch, and is asked once it is known that there is data.

    Raises InputError, ModelError, EngineError, SandboxError or StoreError.
    """
    config = _roomy(found.config)
    benchmarks = _loaded(options)
    plan = _plan(benchmarks, config, options)
    policies = find_policies()
    folder = _folder(options.out or found.results / "benchmarks")
    sittings = _measured(plan, config, policies, folder)
    document: dict[str, Any] = {"subject": found.name, "policies": []}
    for policy, sat in sittings:
        name = found.name if found.run is None else f"{found.name}, step {policy.version}"
        own = folder if len(policies) == 1 else folder / f"step-{policy.version}"
        report = _Report(name=name, policy=policy, plan=plan, sat=sat, config=config)
        document["policies"].append(report.facts())
        report.write(_folder(own))
        if not options.as_json:
            typer.echo(report.words(compare=options.compare == "paper") + "\n")
    _write(folder / SCORES_FILE, json.dumps(document, indent=2) + "\n")
    if options.as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"every response, verdict and reason: {folder} (pages/index.html, {CSV_FILE})")


def _roomy(config: RunConfig) -> RunConfig:
    """With time for long responses; nobody waits for a single one here."""
    seconds = max(config.engine.request_timeout_seconds, REQUEST_SECONDS)
    engine = config.engine.model_copy(update={"request_timeout_seconds": seconds})
    return config.model_copy(update={"engine": engine})


def _loaded(options: SuiteOptions) -> tuple[LoadedBenchmark, ...]:
    from azr.benchmarks.catalogue import choose
    from azr.benchmarks.loading import default_folder, load, require

    specs = choose(options.suite)
    folder = (options.data or default_folder()).expanduser()
    if options.download:
        _download(specs, folder)
    require(specs, folder)
    return tuple(load(spec, folder) for spec in specs)


def _download(specs: Sequence[BenchmarkSpec], folder: Path) -> None:
    from azr.benchmarks.fetching import fetch
    from azr.benchmarks.loading import missing

    files = {file.name: file for spec in specs for file in missing(spec, folder)}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for file in files.values():
            task = bar.add_task(file.name, total=file.num_bytes or None)
            fetch(file, folder, on_bytes=_advancer(bar, task))


def _advancer(bar: Progress, task: Any) -> Callable[[int], None]:  # noqa: ANN401 -- rich's TaskID
    return lambda count: bar.advance(task, count)


def _plan(
    benchmarks: tuple[LoadedBenchmark, ...], config: RunConfig, options: SuiteOptions
) -> Plan:
    from azr.benchmarks.attempts import Decoding, Plan
    from azr.benchmarks.prompts import template

    if options.samples and options.temperature <= 0:
        raise InputError(
            f"--samples {options.samples} at --temperature {options.temperature:g} would all be"
            " the same",
            hint="The paper's pass@k is at --temperature 0.6.",
        )
    sampled = Decoding(
        temperature=options.temperature,
        top_p=options.top_p,
        samples=options.samples,
        seed=options.seed,
        stop=config.prompts.stop,
    )
    context = config.engine.max_model_len_tokens
    return Plan(
        benchmarks=benchmarks,
        template=template(options.template, config.prompts),
        decoding=sampled if options.samples else Decoding(stop=config.prompts.stop),
        limit=options.limit,
        max_tokens=min(options.max_tokens or context, context),
    )


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(
            f"{folder} cannot be written: {error.strerror}", hint="Choose another --out."
        ) from error
    return folder


def _measured(
    plan: Plan, config: RunConfig, policies: Sequence[Policy], folder: Path
) -> list[tuple[Policy, Sat]]:
    """Sit, with progress bars on stderr, so that stdout holds the result alone."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # vLLM's and torch's own, of one another
        total = plan.num_attempts * len(policies)
        bars = [bar.add_task(name, total=total) for name in ("sampled", "graded")]
        try:
            return anyio.run(
                _sit, plan, config, policies, folder, [_advancer(bar, b) for b in bars]
            )
        except KeyboardInterrupt:
            again = "the same command goes on there"
            typer.echo(f"stopped: what was sampled is in {folder}, and {again}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


async def _sit(
    plan: Plan,
    config: RunConfig,
    policies: Sequence[Policy],
    folder: Path,
    listeners: Sequence[Callable[[int], None]],
) -> list[tuple[Policy, Sat]]:
    """One engine, one set of graders and one results file for all policies."""
    from azr.benchmarks.fingerprint import fingerprint
    from azr.benchmarks.grading import Graders
    from azr.benchmarks.loading import default_folder
    from azr.benchmarks.sitting import NoEngine, Sitting, all_sampled
    from azr.engine.activity import Activity
    from azr.engine.replica import VllmReplica
    from azr.store.eval_results import FILE, EvalResults

    subjects = [await run_sync(fingerprint, policy.folder) for policy in policies]
    kinds = {benchmark.spec.kind for benchmark in plan.benchmarks}
    first = policies[0]
    async with AsyncExitStack() as stack:
        results = stack.enter_context(EvalResults.open(folder / FILE))
        graders = await stack.enter_async_context(
            Graders.open(kinds, config.sandbox, kept=default_folder() / "canonical")
        )
        replica = None
        if not all([await run_sync(all_sampled, plan, one, results) for one in subjects]):
            replica = await stack.enter_async_context(
                VllmReplica.open(first.folder, config, name="eval", version=first.version)
            )
        found: list[tuple[Policy, Sat]] = []
        for policy, subject in zip(policies, subjects, strict=True):
            if policy is not first and replica is not None:
                await replica.load(policy.folder, policy.version)
            sitting = Sitting(
                plan=plan,
                subject=subject,
                engine=replica or NoEngine(),
                activity=replica.activity if replica else Activity(),
                settings=config.engine,
                graders=graders,
                results=results,
                on_sampled=listeners[0],
                on_marked=listeners[1],
            )
            found.append((policy, await sitting.run()))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """One policy's results, in words, as facts and as files."""

    name: str
    policy: Policy
    plan: Plan
    sat: Sat
    config: RunConfig

    @property
    def title(self) -> str:
        decoding = self.plan.decoding.label(self.plan.max_tokens)
        return f"{self.name} | template {self.plan.template.name} | {decoding}"

    def words(self, *, compare: bool) -> str:
        from azr.benchmarks import tables
        from azr.benchmarks.paper import paper_table

        found = self._scores()
        parts = [
            self.title,
            "percent right, with 95 % intervals over questions",
            "",
            tables.score_table(found, self.plan.decoding.samples),
        ]
        if compare:
            parts += ["", tables.comparison_table(self.name, found, paper_table())]
        parts += ["", *tables.effort_lines(self.sat.effort, self.config.engine.max_sequences)]
        return "\n".join(parts)

    def facts(self) -> dict[str, Any]:
        from azr.benchmarks import tables

        effort = self.sat.effort
        return {
            "name": self.name,
            "version": self.policy.version,
            "folder": str(self.policy.folder),
            "template": self.plan.template.name,
            "decoding": self.plan.decoding.label(self.plan.max_tokens),
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "files": [
                {"name": file.name, "sha256": file.sha256, "bytes": file.num_bytes}
                for benchmark in self.plan.benchmarks
                for file in benchmark.files
            ],
            **tables.document(self._scores(), self.plan.decoding),
            "effort": {
                "seconds": effort.seconds,
                "sampled": effort.sampled,
                "graded": effort.marked,
                "graded_while_sampling": effort.marked_meanwhile,
                "engine_busy_share": effort.busy_share,
                "engine_requests_in_flight": effort.in_flight,
            },
        }

    def write(self, folder: Path) -> None:
        from azr.benchmarks import tables
        from azr.benchmarks.pages import write_pages

        responses = self.sat.responses
        write_pages(folder / PAGES, self.plan, self._scores(), responses, title=self.title)
        _write(folder / CSV_FILE, tables.responses_csv(responses))

    def _scores(self) -> tuple[BenchmarkScore, ...]:
        from azr.benchmarks.scores import scores

        return scores(self.plan, self.sat.responses)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="replace")
