"""Scores in words, as JSON and as CSV. Shares are printed in percent."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from azr.benchmarks.attempts import Decoding
from azr.benchmarks.paper import PaperTable
from azr.benchmarks.scores import ALL, CODE, MATH, BenchmarkScore, averages
from azr.benchmarks.sitting import Effort
from azr.evals.estimates import Estimate
from azr.store.eval_results import KeptResponse, ResponseKey

AVERAGES = (CODE, MATH, ALL)


def shown_ks(samples: int) -> list[int]:
    """Powers of two up to the number of samples, and that number."""
    return sorted({2**power for power in range(11) if 2**power < samples} | {samples})


def score_table(found: Sequence[BenchmarkScore], samples: int) -> str:
    """A row for each benchmark and average."""
    ks = shown_ks(samples)
    rows = [
        ["", "questions", *(f"pass@{k}" for k in ks), "cut off", "no answer", "prompt too long"]
    ]
    for score in found:
        mark = "*" if score.notes else ""
        rows.append(
            [
                score.spec.title + mark,
                str(len(score.solved)),
                *(percent(score.estimate(k)) for k in ks),
                _share(score.truncated, score.num_responses),
                _share(score.unanswered, score.num_responses),
                _share(score.unasked, score.num_responses),
            ]
        )
    means = {k: averages(found, k) for k in ks}
    rows += [
        [name, "", *(percent(means[k][name]) for k in ks), "", "", ""]
        for name in AVERAGES
        if name in means[ks[0]]
    ]
    notes = [f"* {score.spec.title}: {', '.join(score.notes)}" for score in found if score.notes]
    return "\n".join([*aligned(rows), *notes])


def comparison_table(name: str, found: Sequence[BenchmarkScore], paper: PaperTable) -> str:
    """Ours beside the paper's rows, in the columns that both have figures for."""
    ours = {score.spec.title: score.estimate() for score in found} | averages(found)
    known = {column for row in paper.rows for column in row.scores}
    columns = [
        column for column in (*(score.spec.title for score in found), *AVERAGES) if column in known
    ]
    rows = [["", *columns]]
    rows.append([name, *(f"{100 * ours[c].mean:5.1f}" if c in ours else "-" for c in columns)])
    # In lines of their own, because two intervals beside each other are wider than a terminal.
    lows = (f"{100 * ours[c].low:5.1f}" if c in ours else "" for c in columns)
    highs = (f"{100 * ours[c].high:5.1f}" if c in ours else "" for c in columns)
    rows += [["  95 % from", *lows], ["  95 % to", *highs]]
    group = ""
    for row in paper.rows:
        if row.group != group:
            group = row.group
            rows.append([f"the paper: {group}", *("" for _ in columns)])
        rows.append(
            [
                f"  {row.label}",
                *(f"{row.scores[c]:5.1f}" if c in row.scores else "-" for c in columns),
            ]
        )
    partial = "Ours are not whole benchmarks (*): they do not compare with the paper's."
    notes = [partial] if any(score.notes for score in found) else []
    return "\n".join([*aligned(rows), *notes, f"source: {paper.source}"])


def effort_lines(effort: Effort, max_sequences: int) -> list[str]:
    """What it took, and how busy the engine was."""
    if not effort.sampled:
        return [f"{effort.marked} responses graded; all were sampled before"]
    return [
        f"{effort.sampled} responses sampled, {effort.tokens:,} tokens in"
        f" {effort.sampling_seconds:.1f} s; {effort.marked} graded,"
        f" {effort.marked_meanwhile} of them while others were sampled",
        f"engine busy {100 * effort.busy_share:.1f} % of that time, {effort.in_flight:.1f} of"
        f" {max_sequences} requests in flight on average",
    ]


def document(found: Sequence[BenchmarkScore], decoding: Decoding) -> dict[str, Any]:
    """Every figure, for programs."""
    ks = shown_ks(decoding.samples)
    return {
        "benchmarks": [
            {
                "benchmark": score.spec.name,
                "title": score.spec.title,
                "questions": len(score.solved),
                "responses": score.num_responses,
                "pass_at": {str(k): fields(score.estimate(k)) for k in ks},
                "truncated": score.truncated,
                "prompt_too_long": score.unasked,
                "no_answer": score.unanswered,
                "num_tokens": score.num_tokens,
                "notes": list(score.notes),
            }
            for score in found
        ],
        "averages": {
            str(k): {name: fields(one) for name, one in averages(found, k).items()} for k in ks
        },
    }


def responses_csv(responses: Mapping[ResponseKey, KeptResponse]) -> str:
    """A row for each response, its text last."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["benchmark", "question", "sample", "correct", "reason", "tokens", "finish_reason", "text"]
    )
    for key, response in responses.items():
        writer.writerow(
            [
                key.benchmark,
                key.question,
                key.sample,
                int(response.correct is True),
                response.reason,
                response.num_tokens,
                response.finish_reason,
                response.text,
            ]
        )
    return out.getvalue()


def fields(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def percent(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:5.1f} [{100 * estimate.low:.1f} to {100 * estimate.high:.1f}]"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %" if total else "-"
