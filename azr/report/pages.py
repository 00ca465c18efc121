"""The report as pages: one self-contained HTML file, one Markdown file, terminal text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from azr.report.figures import SMOOTHING_STEPS, Plot
from azr.report.summary import Table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right;
         font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
p.about { color: #555; margin-top: 0; } figure { margin: 0 0 1rem; } code { background: #f4f4f4; }
"""

READING = (
    "Points are measured values; the thick line is their mean over the last"
    f" {SMOOTHING_STEPS}. A learner step trains on the same number of rows of each cell."
)


def html(
    title: str, about: str, tables: Sequence[Table], plots: Sequence[tuple[Plot[Any], Path]]
) -> str:
    """One page that needs no other file: the images are inside it."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>',
        *(f"<h2>{escape(table.title)}</h2>{_html_table(table)}" for table in tables),
        f"<h2>Plots</h2><p>{escape(READING)}</p>",
        *(_html_figure(plot, path) for plot, path in plots),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def markdown(
    title: str, about: str, tables: Sequence[Table], plots: Sequence[tuple[Plot[Any], Path]]
) -> str:
    """The same for a terminal or a code host; the images lie beside it."""
    parts = [f"# {title}", about]
    for table in tables:
        rule = "|".join([" --- ", *(" ---: " for _ in table.headings[1:])])
        lines = [_cells(table.headings), f"|{rule}|", *(_cells(row) for row in table.rows)]
        parts += [f"## {table.title}", "\n".join(lines)]
    parts += ["## Plots", READING]
    for plot, path in plots:
        parts += [f"### {plot.title}", plot.caption, f"![{plot.title}]({path.name})"]
    return "\n\n".join(parts) + "\n"


def text(tables: Sequence[Table]) -> str:
    """The tables in aligned columns."""
    return "\n\n".join(_text_table(table) for table in tables)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_figure(plot: Plot[Any], path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<h3>{escape(plot.title)}</h3><figure><p>{escape(plot.caption)}</p>"
        f'<img alt="{escape(plot.title)}" src="data:image/png;base64,{data}"></figure>'
    )


def _cells(row: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _text_table(table: Table) -> str:
    columns = list(zip(table.headings, *table.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    narrow = len(table.headings) > 2
    lines = [table.title]
    for row in (table.headings, *table.rows) if narrow else table.rows:
        first, *others = row
        aligned = [
            cell.rjust(width) if narrow else cell
            for cell, width in zip(others, widths[1:], strict=True)
        ]
        lines.append("  ".join(["  " + first.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join(lines)
