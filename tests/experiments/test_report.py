"""The report is made from the files alone, and says no more than they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.errors import InputError
from azr.experiments import results
from azr.experiments.comparison import compare
from azr.experiments.report import build, markdown
from azr.experiments.results import Failure, TrialResult
from tests.experiments.made_up import result

MANY = [
    result("base"),
    *(result("selfplay", seed, share=0.55 + 0.02 * seed) for seed in range(3)),
    *(result("staleness-0", seed, share=0.32) for seed in range(3)),
    result("solver-only", share=0.4),
    result("loss-cispo", share=0.56),
    result("staleness-8", share=0.5),
]


def save(folder: Path, found: list[TrialResult]) -> None:
    for each in found:
        name = "base" if each.arm == "base" else f"{each.arm}-seed{each.seed}"
        results.write(each, folder / f"{name}.json")


def test_the_report_has_every_arm_its_plots_and_its_conclusions(tmp_path: Path):
    save(tmp_path, MANY)
    failure = Failure(arm="reuse-one", seed=0, reason="out of memory", log="x")
    results.write(failure, tmp_path / "reuse-one-seed0.failed.json")
    text = build(tmp_path).read_text()
    for said in (
        "Self-play: held-out accuracy rose by",
        "95 % over seeds (3) and problems",
        "`staleness-0`",
        "self-play ends above it",
        "`reuse-one`, seed 0: out of memory",
        "## Asynchronous against synchronous",
        "2 cores of a processor",
        "- `selfplay`, seed 2: nothing was found",
        "- `solver-only`, findings by seed: 1",
    ):
        assert said in text
    for plot in (
        "gains",
        "baselines",
        "ablations",
        "staleness",
        "variants",
        "task-types",
        "training",
    ):
        assert f"({plot}.png)" in text
        assert 0 < (tmp_path / f"{plot}.png").stat().st_size < 200_000


def test_the_same_results_give_the_same_report(tmp_path: Path):
    save(tmp_path, MANY)
    first, second = (markdown(compare(results.read_all(tmp_path))) for _ in range(2))
    assert first == second


def test_a_plot_without_results_is_left_out(tmp_path: Path):
    save(tmp_path, MANY[:2])
    (tmp_path / "variants.png").write_bytes(b"an older one")
    text = build(tmp_path).read_text()
    assert "gains.png" in text
    assert "variants.png" not in text
    assert not (tmp_path / "variants.png").exists()
    assert "with one seed" in text


def test_a_base_alone_already_makes_a_report(tmp_path: Path):
    save(tmp_path, MANY[:1])
    assert "no result yet" in build(tmp_path).read_text()


def test_results_without_a_base_or_of_other_problems_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no results"):
        build(tmp_path)
    save(tmp_path, MANY[1:2])
    with pytest.raises(InputError, match="no result of the base"):
        build(tmp_path)
    base = MANY[0]
    other = base.model_copy(update={"final": base.final.model_copy(update={"per_type": 20})})
    save(tmp_path, [other])
    with pytest.raises(InputError, match="other problems than the base"):
        build(tmp_path)


def test_a_file_that_is_no_result_is_named(tmp_path: Path):
    (tmp_path / "selfplay-seed0.json").write_text('{"arm": 3}')
    with pytest.raises(InputError, match=r"selfplay-seed0\.json is not a result"):
        build(tmp_path)
