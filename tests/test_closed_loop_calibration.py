"""Floor 5: over simulated loops, p values are uniform where there is nothing, and intervals cover at their rate."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurostatic.closed_loop import diagonal_entries, loop_tests, pool_confusions, scan_confusion
from neurostatic.closed_loop.confusion import ENTRY

N_LOOPS, N_POPULATIONS, N_UNITS, N_REPEATS = 500, 300, 24, 8
UNITS = np.arange(N_UNITS)
NAMES = pd.DataFrame(
    [(kind, image, cell) for kind in ("cnn", "linear") for image in UNITS for cell in UNITS], columns=ENTRY
)


def simulated_loop(rng, gain_mei=0.0, gain_control=0.0, spread=0.0):
    """Pooled raw table of a loop: gamma noise, images that excite all cells more or less, own images that excite more.

    gain_mei, gain_control: how much more the own image excites, on average; spread: its standard deviation over cells.
    """
    drive = rng.gamma(20, 1 / 20, (2, N_UNITS, 1))  # (kind, image, 1) of the image, to all cells alike
    base = rng.gamma(4, 1 / 4, N_UNITS)
    gain = np.array([gain_mei, gain_control])[:, None] + rng.normal(0, spread, (2, N_UNITS))
    mean = drive * base * (1 + np.eye(N_UNITS) * gain[:, None])
    trials = rng.gamma(3, mean / 3, (N_REPEATS, 2, N_UNITS, N_UNITS))
    sem = trials.std(0, ddof=1) / np.sqrt(N_REPEATS)
    return NAMES.assign(mu_resp=trials.mean(0).ravel(), sem_resp=sem.ravel(), n_repeats=N_REPEATS)


@pytest.fixture(scope="module")
def null_loops() -> list[pd.DataFrame]:
    """Loops in which no image excites its own cell more than the others."""
    rng = np.random.default_rng(0)
    return [simulated_loop(rng) for _ in range(N_LOOPS)]


@pytest.fixture(scope="module")
def null_tests(null_loops) -> pd.DataFrame:
    tests = [
        loop_tests({"": loop}, "raw", seed, n_permutations=400, n_resamples=300) for seed, loop in enumerate(null_loops)
    ]
    return pd.concat(tests)


@pytest.mark.parametrize(
    "test", ["diagonal_permutation", "mei_vs_control_wilcoxon", "mean_difference", "ratio_of_means"]
)
def test_p_values_of_loops_without_an_effect_are_uniform(null_tests, test):
    p = null_tests[null_tests.test == test].p_value
    assert len(p) == N_LOOPS
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert abs((p < 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / N_LOOPS)


def test_counting_own_best_images_rejects_no_more_often_than_it_says(null_tests):
    p = null_tests[null_tests.test == "own_best_permutation"].p_value
    for level in (0.05, 0.1, 0.25, 0.5):
        assert (p <= level).mean() < level + 3 * np.sqrt(level * (1 - level) / N_LOOPS)
    assert (p <= 0.05).mean() > 0.005
    chance = null_tests[null_tests.test == "own_best_permutation"].estimate.mean()
    assert abs(chance - 1 / N_UNITS) < 3 * np.sqrt(1 / N_UNITS / N_LOOPS / N_UNITS)


def own_images(mei, control):
    """Pooled table of the own images alone, from trials (trial, unit)."""
    kinds = {"cnn": mei, "linear": control}
    tables = [
        pd.DataFrame({"image_unit_id": range(x.shape[1]), "matched_unit_id": range(x.shape[1]), "mu_resp": x.mean(0)})
        .assign(model_type=kind, sem_resp=x.std(0, ddof=1) / np.sqrt(len(x)), n_repeats=len(x))
        for kind, x in kinds.items()
    ]  # fmt: skip
    return pd.concat(tables)


def test_welch_p_values_of_units_are_uniform():
    """Two images that excite a cell alike, in as many loops as there are units here."""
    entries = diagonal_entries(own_images(*np.random.default_rng(1).gamma(3, 1 / 3, (2, N_REPEATS, N_LOOPS))))
    assert len(entries) == N_LOOPS and stats.kstest(entries.p_value, "uniform").pvalue > 0.01
    covered = (entries.diff_low <= 0) & (entries.diff_high >= 0)
    assert abs(covered.mean() - 0.95) < 3 * np.sqrt(0.05 * 0.95 / N_LOOPS)


def test_false_discoveries_stay_below_q():
    """Half of the units have no effect: of those with q < 0.1 at most a tenth are among them."""
    rng = np.random.default_rng(2)
    false, found = 0, 0
    for _ in range(100):
        n, effect = 40, np.arange(40) < 20
        mei, control = rng.normal(np.where(effect, 1.2, 0.0), 1.0, (15, n)), rng.normal(0, 1, (15, n))
        kept = diagonal_entries(own_images(mei, control)).q_value.to_numpy() < 0.1
        found, false = found + kept.sum(), false + (kept & ~effect).sum()
    assert found > 1000 and 0.02 < false / found < 0.08  # expected: 0.1 times the half that has none


def test_intervals_of_loops_with_an_effect_cover_at_their_rate():
    rng = np.random.default_rng(3)
    covered = []
    for seed in range(N_LOOPS):
        loop = simulated_loop(rng, 1.0, 0.4, spread=0.2)
        tests = loop_tests({"": loop}, "raw", seed, n_permutations=100, n_resamples=300).set_index("test")
        true = {"mean_difference": 0.6, "ratio_of_means": 2.0 / 1.4, "mei_mean": 2.0, "control_mean": 1.4,
                "diagonal_permutation": 1.0}  # fmt: skip
        covered.append({name: tests.low[name] <= value <= tests.high[name] for name, value in true.items()})
    rates = pd.DataFrame(covered).mean()
    # Over 3,000 loops 0.935 to 0.945: products of skewed bases and drives, of 24 cells, cost about 1 %.
    assert rates.between(0.915, 0.98).all(), rates.to_dict()


@pytest.fixture(scope="module")
def populations() -> pd.DataFrame:
    """Tests of populations of five animals, each with a preference of its own, none on average; a few cells each."""
    rng, tests = np.random.default_rng(4), []
    n, animals = 12, dict.fromkeys("abcde")
    few = NAMES[(NAMES.image_unit_id < n) & (NAMES.matched_unit_id < n)]
    for seed in range(N_POPULATIONS):
        loops = {name: simulated_loop(rng, 0.5 + rng.normal(0, 0.25), 0.5, 0.2).loc[few.index] for name in animals}
        options = {"response": "raw", "seed": seed, "n_permutations": 100, "n_resamples": 300}
        tests.append(loop_tests(loops, animals={name: name for name in loops}, **options))
    return pd.concat(tests)


@pytest.mark.parametrize(("test", "true"), [("mean_difference", 0.0), ("ratio_of_means", 1.0)])
def test_populations_are_judged_by_their_animals(populations, test, true):
    rows = populations[populations.test == test]
    assert len(rows) == N_POPULATIONS and (rows.n_animals == 5).all()
    covered = (rows.low <= true) & (rows.high >= true)
    assert abs(covered.mean() - 0.95) < 3 * np.sqrt(0.05 * 0.95 / N_POPULATIONS)
    assert stats.kstest(rows.p_value, "uniform").pvalue > 0.01


def test_cells_know_nothing_of_animals(populations):
    """The negative control: a test that takes cells as independent finds a preference that animals do not share."""
    p = populations[populations.test == "mei_vs_control_wilcoxon"].p_value
    assert (p < 0.05).mean() > 0.15


def test_normalization_and_pooling_leave_tests_calibrated():
    """From trials to p, with two scans in which a cell's gain differs."""
    rng, n, found = np.random.default_rng(5), 10, []
    trial_class = np.repeat(["multi_cnn_mei", "multi_lin_rf"], n * N_REPEATS)
    owner = np.tile(np.repeat(np.arange(n), N_REPEATS), 2)
    shown = np.arange(2 * n).repeat(N_REPEATS)
    same = pd.DataFrame({"src_unit_id": range(n), "unit_id": range(n)})
    for seed in range(200):
        drive, base = rng.gamma(20, 1 / 20, 2 * n)[shown, None], rng.gamma(4, 1 / 4, n)
        scans = [rng.gamma(3, gain * drive * base / 3) for gain in (1, 2)]
        arguments = (np.arange(n), trial_class, owner, np.ones(len(owner), bool), same, "normalized")
        pooled = pool_confusions([scan_confusion(responses, *arguments) for responses in scans])
        found.append(loop_tests({"": pooled}, "normalized", seed, n_permutations=200, n_resamples=200))
    p = pd.concat(found).set_index("test").p_value
    for test in ("diagonal_permutation", "mei_vs_control_wilcoxon", "mean_difference"):
        assert stats.kstest(p[test], "uniform").pvalue > 0.01, test
