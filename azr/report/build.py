"""Writes a run's report from its database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.diagnosis.watch import findings
from azr.report import analysis_files, pages
from azr.report.analysis import Analysis, OnRead, Sampling, analyse
from azr.report.analysis_figures import ANALYSIS_PLOTS, analysis_tables
from azr.report.benchmarks import BENCHMARK_PLOT
from azr.report.figures import PLOTS, Plot
from azr.report.history import History, read_history
from azr.report.summary import tables
from azr.report.watch import WATCH_PLOTS, watch_table
from azr.run_directory import RunDirectory
from azr.store.history import open_history
from azr.store.locate import of_directory


@dataclass(frozen=True, slots=True)
class Report:
    """A written report."""

    history: History
    index: Path
    """The HTML page."""


def build(
    directory: RunDirectory,
    sampling: Sampling | None = None,
    on_read: OnRead = lambda _done, _all: None,
) -> Report:
    """Read the run's database and write `report/`, over an older report."""
    database = of_directory(directory)
    history = read_history(database)
    with open_history(database) as connection:
        analysis = analyse(connection, sampling, on_read)
    return write(history, analysis, directory)


def write(history: History, analysis: Analysis, directory: RunDirectory) -> Report:
    """Draw and write the report of a run."""
    directory.report.mkdir(parents=True, exist_ok=True)
    analysis_files.write(analysis, directory.report)
    shown = [BENCHMARK_PLOT] if history.benchmarks else []
    plots = (*shown, *PLOTS, *WATCH_PLOTS)
    drawn: list[tuple[Plot[Any], Path]] = [
        *((plot, plot.save(history, directory.report)) for plot in plots),
        *((plot, plot.save(analysis, directory.report)) for plot in ANALYSIS_PLOTS),
    ]
    title = f"Run {directory.root.absolute().name}"
    about = (
        f"Absolute Zero self-play of {history.model}: {len(history.steps)} of"
        f" {history.total_steps} learner steps. Written {time.strftime('%Y-%m-%d %H:%M:%S')}"
        " from the run's database."
    )
    found = [*tables(history), *analysis_tables(analysis), watch_table(history)]
    index = directory.report / "index.html"
    index.write_text(pages.html(title, about, found, drawn), encoding="utf-8")
    (directory.report / "report.md").write_text(
        pages.markdown(title, about, found, drawn), encoding="utf-8"
    )
    return Report(history, index)


def terminal_summary(report: Report) -> str:
    """The report's tables, what lasts of the findings, and where its page lies."""
    lasting = [str(found) for found in findings(report.history.watch) if not found.until_step]
    parts = [pages.text(tables(report.history)), *lasting, f"report: {report.index}"]
    return "\n\n".join(parts)
