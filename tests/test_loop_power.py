"""The truth study of the closed loop, small: two mice, errors of 1 and 12 um, 2 and 10 repeats."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neurostatic.closed_loop.diagonal import diagonal_entries
from neurostatic.config import Simulation

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "loop_power.py"
CONFIG = Simulation(n_cells=260, median_events=0.17, n_images=300, closed_loop_repeats=10)
SMALL_UM, LARGE_UM = 1.0, 12.0
FEW, MANY = 2, 10


def load_script():
    spec = importlib.util.spec_from_file_location("loop_power", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loop_power = load_script()


@pytest.fixture(scope="module")
def mice():
    fields = loop_power.LinearFields(loop_power.natural_images(CONFIG))
    return [loop_power.make_mouse(seed, CONFIG, fields, n_units=14) for seed in (1, 3)]


@pytest.fixture(scope="module")
def found(mice):
    rows = [loop_power.study_mouse(mouse, CONFIG, (SMALL_UM, LARGE_UM), (FEW, MANY), n_null=0) for mouse in mice]
    return {name: pd.DataFrame([row for tables in rows for row in tables[name]]) for name in rows[0]}


def test_images_are_as_good_as_they_are_meant_to_be(mice):
    for mouse in mice:
        units = mouse.units
        assert units.cnn_drive.median() == pytest.approx(loop_power.MEI_DRIVE, abs=0.01)
        assert units.close_drive.median() == pytest.approx(loop_power.MEI_DRIVE / loop_power.CLOSE_RATIO, abs=0.01)
    units = pd.concat([mouse.units for mouse in mice])
    plain = units.kind.isin(["linear", "simple"])
    assert units.linear_drive[plain].median() > 0.3  # of few natural images
    assert units.linear_drive[~plain].median() < 0.15
    assert (units[["cnn_drive", "linear_drive", "close_drive"]] < 1.01).all(axis=None)  # none beats the best image


def test_displacements_have_the_error_that_is_named(mice):
    rng = np.random.default_rng(0)
    squares = []
    for mouse in mice * 8:
        days = mouse.source, mouse.target
        tables = [loop_power.stack_coordinates(day, 5.0, CONFIG, rng) for day in days]
        for table, day in zip(tables, days, strict=True):
            truth = loop_power.known_cells(day)
            table["cell_id"] = table.unit_id.map(pd.Series(truth.cell_id.values, truth.unit_id.values))
        both = tables[0].merge(tables[1], on=["stack", "cell_id"], suffixes=("", "_later"))
        squares += [((both[f"{axis}_um_later"] - both[f"{axis}_um"]) ** 2).mean() for axis in "xyz"]
    assert np.sqrt(np.mean(squares)) == pytest.approx(5.0, rel=0.15)


def test_matches_are_worse_with_larger_errors(found):
    matches = found["matches"].groupby(["rule", "jitter_um"])[["precision", "recall"]].mean()
    for rule in (loop_power.NEAREST, loop_power.ONE_TO_ONE):
        assert matches.recall[rule, LARGE_UM] < matches.recall[rule, SMALL_UM]
    assert matches.precision[loop_power.NEAREST, LARGE_UM] < matches.precision[loop_power.NEAREST, SMALL_UM]
    assert matches.recall[loop_power.NEAREST, SMALL_UM] == 1
    assert matches.precision[loop_power.NEAREST, SMALL_UM] < 1  # who was lost has a neighbor
    assert matches.precision[loop_power.ONE_TO_ONE, SMALL_UM] == 1


def test_wrong_matches_lower_the_diagonal_as_expected(found):
    matches = found["matches"]
    worst = matches[(matches.rule == loop_power.NEAREST) & (matches.jitter_um == LARGE_UM)]
    assert worst.expected.mean() < 0.9
    assert abs(worst.measured - worst.expected).mean() < 0.05
    assert (matches.others < matches.neighbor).all()  # neighbors see the same place


def test_without_right_matches_there_is_no_diagonal(mice):
    rng = np.random.default_rng(0)
    for mouse in mice:
        ideal = loop_power.perfect_matches(mouse)
        wrong = loop_power.rematched(ideal, rng, derange=True)
        assert set(wrong.unit_id) == set(ideal.unit_id) and not wrong.right.any()
        right, other = (loop_power.summarize(mouse, matches, loop_power.RF, MANY) for matches in (ideal, wrong))
        means = [diagonal_entries(summary).mei_resp.mean() for summary in (right, other)]
        assert means[1] < 0.4 * means[0]
        p_right, p_other = (loop_power.run_tests(summary, loop_power.RF) for summary in (right, other))
        for test in loop_power.MATRIX_TESTS:
            assert p_right[test] < 0.001
            assert p_other[test] > 0.05


def test_exchanged_images_differ_in_nothing(mice):
    mouse = mice[0]
    ideal = loop_power.perfect_matches(mouse)
    rng = np.random.default_rng(0)
    swapped = [diagonal_entries(loop_power.summarize(mouse, ideal, loop_power.RF, MANY, swap=rng)) for _ in range(20)]
    as_shown = diagonal_entries(loop_power.summarize(mouse, ideal, loop_power.RF, MANY))
    assert (swapped[0].mei_n == as_shown.mei_n).all() and (swapped[0].control_n == as_shown.control_n).all()
    mean = np.mean([entries.diff_resp.mean() for entries in swapped])
    assert abs(mean) < 0.1 * as_shown.diff_resp.mean()


def test_more_repeats_give_smaller_p_values(found):
    tests = found["tests"]
    tests = tests[(tests.rule == loop_power.PERFECT) & (tests["size"] == "all") & (tests.jitter_um == SMALL_UM)]
    assert {loop_power.WILCOXON, *loop_power.MATRIX_TESTS} <= set(tests.test)
    log_p = np.log(tests.p).groupby([tests.control, tests.test, tests.n_repeats]).mean().unstack()
    pairs = log_p.drop(index=list(loop_power.MATRIX_TESTS), level="test")  # these are as small as they can be with two
    assert (pairs[MANY] <= pairs[FEW]).loc[loop_power.RF].all()
    assert pairs[MANY].mean() < pairs[FEW].mean() - 0.5
    assert pairs.loc[loop_power.CLOSE, MANY].mean() < pairs.loc[loop_power.CLOSE, FEW].mean()
    cells = found["units"].groupby(["control", "n_repeats"])[["p", "q"]].sum()
    assert cells.p[loop_power.RF, MANY] > cells.p[loop_power.RF, FEW]
    assert (cells.q <= cells.p).all()


def test_first_repeats_are_part_of_all_of_them(mice):
    mouse = mice[0]
    counts = mouse.trials.groupby(["image_class", "image_id"])["repeat"].agg(["min", "max", "size"])
    assert (counts == [0, MANY - 1, MANY]).all(axis=None)
    summary = loop_power.summarize(mouse, loop_power.perfect_matches(mouse), loop_power.RF, FEW)
    assert (summary.n_repeats == FEW).all()
