"""What the demo must find on its virtual mouse; needs the results of `make demo`."""

from pathlib import Path

import pytest

from neurostatic.config import STIMULUS_SETS
from neurostatic.statistics import compare_pairs
from neurostatic.store import read_table

NONLINEAR = ("complex", "end_stopped", "curved")
RESULTS = Path(__file__).parents[1] / "results"
pytestmark = pytest.mark.skipif(not (RESULTS / "report.html").exists(), reason="`make demo` has not been run here")


def test_the_mouse_is_as_noisy_as_a_real_one():
    oracle = read_table(RESULTS / "selection/mouse1.csv").oracle
    assert 0.20 <= oracle.median() <= 0.40
    assert oracle.quantile(0.05) < 0.1 and oracle.quantile(0.95) > 0.5
    ceiling = read_table(RESULTS / "truth/ceiling.csv").noiseless_correlation
    assert 0.40 <= ceiling.mean() <= 0.50


def test_meis_drive_the_true_cells():
    recovery = read_table(RESULTS / "truth/recovery.csv")
    assert len(recovery) >= 12
    assert recovery.mei_drive_ratio.median() >= 0.70
    nonlinear = recovery[recovery.kind.isin(NONLINEAR)]
    assert len(nonlinear) >= 5
    assert nonlinear.mei_drive_ratio.median() > nonlinear.rf_drive_ratio.median()


@pytest.mark.parametrize("kind", STIMULUS_SETS)
def test_cells_are_found_again_and_prefer_their_own_image(kind):
    recovery = read_table(RESULTS / "truth/recovery.csv")
    assert recovery.match_correct.notna().sum() >= 12
    assert recovery.match_correct.mean() >= 0.95
    tests = read_table(RESULTS / "closed_loop/loop1/tests.csv").set_index(["kind", "response", "test"])
    for response in ("normalized", "zscore"):
        assert tests.p_value[kind, response, "diagonal_permutation"] < 0.001


@pytest.mark.parametrize(("kind", "wins"), [("mei_vs_rf", 0.9), ("mei_vs_gabor", 0.6), ("mei_vs_natural", 0.75)])
def test_nonlinear_cells_prefer_their_mei_to_the_control(kind, wins):
    """In truth, clearly; and as measured, on the whole."""
    shown = read_table(RESULTS / "truth/stimuli.csv")
    true = shown[(shown.stimulus_set == kind) & shown.kind.isin(NONLINEAR)]
    n, fraction, _, p_value = compare_pairs(true.true_mei, true.true_control)
    assert n >= 12 and fraction >= wins and p_value < 0.05
    diagonal = read_table(RESULTS / "closed_loop/loop1/diagonal.csv")
    measured = diagonal[(diagonal.kind == kind) & (diagonal.response == "normalized")]
    measured = measured[measured.unit_id.isin(true.unit_id)]
    assert compare_pairs(measured.mei_resp, measured.control_resp)[1] > 0.5


@pytest.mark.parametrize("kind", STIMULUS_SETS)
def test_every_stimulus_is_right_in_cd_m2(kind):
    qc = read_table(RESULTS / f"stimuli/mouse1/{kind}/qc.csv")
    assert ((qc.mean_cd_m2 / 10 - 1).abs() < 0.05).all() and ((qc.contrast_cd_m2 / 2 - 1).abs() < 0.05).all()
