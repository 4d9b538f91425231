"""Floor 5: confusion tables of scans, their pool, matrices and diagonals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neurostatic.closed_loop import (
    NothingToCompareError,
    cells_without_scale,
    confusion_dataset,
    confusion_matrix,
    diagonal_entries,
    diagonal_targets,
    pool_confusions,
    scan_confusion,
    set_confusion,
)
from neurostatic.problems import InputError
from neurostatic.store import read_arrays, read_table, write_arrays

SCANS = np.load(Path(__file__).parent / "data" / "closed_loop_scans.npz", allow_pickle=False)
CLASSES = {"cnn": "cnn", "linear": "linear"}
UNIT_MAP = pd.DataFrame({"src_unit_id": [0, 1, 2], "unit_id": [100, 101, 102]})


def golden_scan(name, response):
    owner = SCANS[f"{name}_image_owner"]
    return scan_confusion(
        SCANS[f"{name}_responses"],
        [100, 101, 102],
        SCANS[f"{name}_image_class"],
        owner,
        np.ones(len(owner), dtype=bool),
        UNIT_MAP,
        response,
        CLASSES,
    )


def diagonal(table, model_type, column):
    rows = table[(table["model_type"] == model_type) & (table["image_unit_id"] == table["matched_unit_id"])]
    return rows[column].to_numpy()


def entry(n, mu, var, owner=1, cell=1, model_type="cnn"):
    row = [model_type, owner, cell, 7, mu, var, n]
    ids = ["model_type", "image_unit_id", "matched_unit_id", "target_unit_id"]
    return pd.DataFrame([row], columns=[*ids, "mu_resp", "var_resp", "n_repeats"])


def small_scan(response, responses, **changes):
    """Four trials of the MEIs of units 1 and 2, shown to cells 11 and 12."""
    arguments = {
        "unit_ids": [11, 12],
        "trial_class": ["multi_cnn_mei"] * 4,
        "trial_owner": [1, 1, 2, 2],
        "trial_centered": [True] * 4,
        "unit_map": pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [11, 12]}),
    }
    return scan_confusion(responses, response=response, **(arguments | changes))


R = np.array([[0, 2], [1, 4], [2, 6], [5, 8]], dtype=float)


def test_normalization_over_all_trials_with_ddof_1():
    last_only = {"trial_centered": [False, False, False, True]}
    normalized = small_scan("normalized", R, **last_only)
    np.testing.assert_allclose(normalized["mu_resp"], [2.314550, 3.098387], rtol=1e-5)
    np.testing.assert_allclose(normalized["mu_resp"], R[3] / [2.160247, 2.581989], rtol=1e-5)
    np.testing.assert_allclose(small_scan("raw", R, **last_only)["mu_resp"], R[3])
    for trial, expected in enumerate([-0.925820, -0.462910, 0, 1.388730]):
        zscore = small_scan("zscore", R, trial_centered=np.arange(4) == trial)
        np.testing.assert_allclose(zscore["mu_resp"].iloc[0], expected, rtol=1e-5, atol=1e-12)


def test_one_scan():
    scan = golden_scan("A", "normalized")
    assert len(scan) == 2 * 3 * 3
    np.testing.assert_allclose(diagonal(scan, "cnn", "mu_resp"), [3.283269, 3.483874, 3.501146], rtol=1e-5)
    np.testing.assert_allclose(diagonal(scan, "cnn", "var_resp"), [0.055247, 0.459901, 0.761357], rtol=1e-5)
    np.testing.assert_allclose(diagonal(scan, "linear", "mu_resp"), [1.727762, 1.982323, 2.253952], rtol=1e-5)
    assert (scan["n_repeats"] == 4).all()
    assert (scan["target_unit_id"] == scan["matched_unit_id"] + 100).all()


def test_pooling_two_entries():
    pooled = pool_confusions([entry(4, 2, 1), entry(6, 3, 4)]).iloc[0]
    np.testing.assert_allclose(
        pooled[["mu_resp", "var_resp", "sem_resp"]].astype(float), [2.6, 3.377778, 0.581187], rtol=1e-5
    )
    assert (pooled["n_repeats"], pooled["n_scans"]) == (10, 2)


def test_pooling_two_scans():
    pooled = pool_confusions([golden_scan("A", "normalized"), golden_scan("B", "normalized")])
    np.testing.assert_allclose(diagonal(pooled, "cnn", "mu_resp"), [3.296465, 3.405744, 3.436778], rtol=1e-5)
    np.testing.assert_allclose(diagonal(pooled, "cnn", "sem_resp"), [0.221583, 0.208716, 0.266068], rtol=1e-5)


def test_pooling_is_the_mean_and_sem_of_the_concatenated_trials():
    pooled = pool_confusions([golden_scan("A", "normalized"), golden_scan("B", "normalized")])
    trials = []
    for name in "AB":
        kept = (SCANS[f"{name}_image_class"] == "cnn") & (SCANS[f"{name}_image_owner"] == 1)
        trials.append((SCANS[f"{name}_responses"] / SCANS[f"{name}_responses"].std(0, ddof=1))[kept])
    trials = np.concatenate(trials)
    rows = pooled[(pooled["model_type"] == "cnn") & (pooled["image_unit_id"] == 1)]
    np.testing.assert_allclose(rows["mu_resp"], trials.mean(0), rtol=1e-12)
    np.testing.assert_allclose(rows["sem_resp"], stats.sem(trials), rtol=1e-12)


def test_diagonal_of_normalized_responses():
    pooled = pool_confusions([golden_scan("A", "normalized"), golden_scan("B", "normalized")])
    entries = diagonal_entries(pooled)
    np.testing.assert_allclose(entries["diff_resp"], [1.211413, 1.310117, 1.200528], rtol=1e-5)
    np.testing.assert_allclose(entries["t_diff"], [3.750563, 3.979139, 3.283833], rtol=1e-5)
    assert entries["diff_rank"].tolist() == [1, 0, 2]
    np.testing.assert_allclose(entries["df"], [17.93812, 17.332207, 17.936847], rtol=1e-5)
    np.testing.assert_allclose(entries["p_value"], [0.001471, 0.000938, 0.004141], rtol=1e-3)
    np.testing.assert_allclose(entries["q_value"], stats.false_discovery_control(entries["p_value"]))
    assert (entries[["mei_n", "control_n"]] == 10).all(axis=None)


def test_welch_of_unit_0_is_that_of_its_trials():
    kinds = {"cnn": [], "linear": []}
    for name in "AB":
        scaled = SCANS[f"{name}_responses"] / SCANS[f"{name}_responses"].std(0, ddof=1)
        for kind, trials in kinds.items():
            own = (SCANS[f"{name}_image_class"] == kind) & (SCANS[f"{name}_image_owner"] == 0)
            trials.append(scaled[own, 0])
    expected = stats.ttest_ind(*(np.concatenate(t) for t in kinds.values()), equal_var=False)
    pooled = pool_confusions([golden_scan("A", "normalized"), golden_scan("B", "normalized")])
    first = diagonal_entries(pooled).iloc[0]
    np.testing.assert_allclose(first["t_diff"], expected.statistic, rtol=1e-10)
    np.testing.assert_allclose(first["p_value"], expected.pvalue, rtol=1e-10)


def test_diagonal_has_the_interval_of_the_welch_test_and_the_effect_size_over_trials():
    entries = diagonal_entries(pool_confusions([golden_scan("A", "normalized")])).iloc[0]
    cell = SCANS["A_responses"][:, 0] / SCANS["A_responses"][:, 0].std(ddof=1)
    own = SCANS["A_image_owner"] == 0
    mei, control = (cell[own & (SCANS["A_image_class"] == name)] for name in ("cnn", "linear"))
    test = stats.ttest_ind(mei, control, equal_var=False)
    np.testing.assert_allclose(entries[["diff_low", "diff_high"]].astype(float), test.confidence_interval(), rtol=1e-10)
    spread = np.sqrt((mei.var(ddof=1) + control.var(ddof=1)) / 2)
    shrunk = (mei.mean() - control.mean()) / spread * (1 - 3 / (4 * (len(mei) + len(control)) - 9))
    np.testing.assert_allclose(entries["hedges_g"], shrunk, rtol=1e-10)


def test_diagonal_of_z_scores():
    entries = diagonal_entries(pool_confusions([golden_scan("A", "zscore"), golden_scan("B", "zscore")]))
    np.testing.assert_allclose(entries["mei_resp"], [1.642761, 1.558603, 1.492336], rtol=1e-5)
    np.testing.assert_allclose(entries["diff_resp"], [1.211413, 1.310117, 1.200528], rtol=1e-5)
    np.testing.assert_allclose(entries["t_diff"], [3.845396, 3.978975, 3.283518], rtol=1e-5)


def diagonal_summary(means, sems, n, model_type):
    units = np.arange(1, len(means) + 1)
    return pd.DataFrame(
        {
            "model_type": model_type,
            "image_unit_id": units,
            "matched_unit_id": units,
            "mu_resp": means,
            "var_resp": np.square(sems) * n,
            "sem_resp": sems,
            "n_repeats": n,
            "n_scans": 1,
        }
    )


def test_diagonal_statistics_and_ranks():
    cnn = diagonal_summary([3, 2, 2.5, 1], [0.3, 0.1, 0.4, 0.2], 20, "cnn")
    rf = diagonal_summary([2, 1.6, 1, 1.2], [0.4, 0.1, 0.3, 0.2], 20, "linear")
    entries = diagonal_entries(pd.concat([cnn, rf]))
    np.testing.assert_allclose(entries["diff_sem"], [0.5, 0.141421, 0.5, 0.282843], rtol=1e-5)
    np.testing.assert_allclose(entries["t_diff"], [2, 2.828427, 3, -0.707107], rtol=1e-5)
    assert entries["diff_rank"].tolist() == [1, 2, 0, 3]
    assert entries["t_rank"].tolist() == [2, 1, 0, 3]
    np.testing.assert_allclose(entries["df"][:2], [35.237389, 38], rtol=1e-5)
    np.testing.assert_allclose(entries["p_value"], [0.053254, 0.007427, 0.004931, 0.483814], rtol=1e-4)


def test_ranks_put_ties_by_unit_and_nan_last():
    cnn = diagonal_summary([2, np.nan, 3, 2], [0.1] * 4, 5, "cnn")
    entries = diagonal_entries(pd.concat([cnn, diagonal_summary([1] * 4, [0.1] * 4, 5, "linear")]))
    assert entries["diff_rank"].tolist() == [1, 3, 0, 2]
    assert np.isnan(entries["q_value"][1]) and entries["q_value"].notna().sum() == 3


def test_diagonal_needs_both_images():
    cnn = diagonal_summary([2, 3], [0.1, 0.1], 5, "cnn")
    entries = diagonal_entries(pd.concat([cnn, diagonal_summary([1], [0.1], 5, "linear")]))
    assert entries["unit_id"].tolist() == [1]
    assert len(diagonal_entries(cnn)) == 0


def test_order_of_trials_does_not_matter():
    rng = np.random.default_rng(0)
    order = rng.permutation(len(SCANS["A_image_owner"]))
    shuffled = scan_confusion(
        SCANS["A_responses"][order],
        [100, 101, 102],
        SCANS["A_image_class"][order],
        SCANS["A_image_owner"][order],
        np.ones(len(order), dtype=bool),
        UNIT_MAP.iloc[::-1],
        "zscore",
        CLASSES,
    )
    pd.testing.assert_frame_equal(shuffled, golden_scan("A", "zscore"), rtol=1e-12, atol=1e-12)


def test_order_of_cells_does_not_matter():
    columns = [2, 0, 1]
    moved = scan_confusion(
        SCANS["A_responses"][:, columns],
        np.array([100, 101, 102])[columns],
        SCANS["A_image_class"],
        SCANS["A_image_owner"],
        np.ones(28, dtype=bool),
        UNIT_MAP,
        "raw",
        CLASSES,
    )
    pd.testing.assert_frame_equal(moved, golden_scan("A", "raw"))


@pytest.mark.parametrize("constant", [0.0, 0.1])
def test_a_constant_cell_is_nan_and_poisons_no_other(constant):
    silent = R.copy()
    silent[:, 0] = constant
    for response in ("normalized", "zscore"):
        table = small_scan(response, silent)
        expected = small_scan(response, R)
        first = table["matched_unit_id"] == 1
        assert table.loc[first, "mu_resp"].isna().all()
        pd.testing.assert_frame_equal(table[~first], expected[~first])
    assert small_scan("raw", silent)["mu_resp"].notna().all()


def test_shifted_unknown_and_other_trials_only_enter_the_scale():
    table = small_scan("raw", R, trial_centered=[True, False, True, True], trial_owner=[1, 1, 2, np.nan])
    assert table["n_repeats"].tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(table["mu_resp"], [0, 2, 2, 6])
    table = small_scan("raw", R, trial_class=["multi_cnn_mei", "imagenet", "multi_lin_rf", np.nan])
    assert table["model_type"].tolist() == ["cnn", "cnn", "linear", "linear"]
    assert table["image_unit_id"].tolist() == [1, 1, 2, 2]


def test_two_sources_may_share_a_target():
    shared = pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [12, 12]})
    table = small_scan("raw", R, unit_map=shared)
    np.testing.assert_allclose(table["mu_resp"], [3, 3, 7, 7])
    assert table["target_unit_id"].tolist() == [12] * 4


def test_all_problems_of_a_scan_at_once():
    with pytest.raises(InputError) as error:
        small_scan(
            "squared",
            R,
            unit_ids=[11, 11],
            trial_owner=[1, 1, 2],
            unit_map=pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [11, 99]}),
        )
    for part in ("4 problems", "'squared'", "11 is listed more than once", "trial_owner", "unit 99"):
        assert part in str(error.value)


def test_empty_matches_and_empty_selections_say_why():
    with pytest.raises(NothingToCompareError, match="no cell that owns an image was found again"):
        small_scan("raw", R, unit_map=pd.DataFrame({"src_unit_id": [], "unit_id": []}))
    with pytest.raises(NothingToCompareError, match=r"no trial shows a centered image.*with a matched owner: 0"):
        small_scan("raw", R, trial_owner=[8, 8, 9, 9])
    with pytest.raises(InputError, match="source unit 1 is listed more than once"):
        small_scan("raw", R, unit_map=pd.DataFrame({"src_unit_id": [1, 1], "unit_id": [11, 12]}))
    with pytest.raises(InputError, match="infinite"):
        small_scan("raw", np.where(R == 8, np.inf, R))


def test_pooled_variance_of_a_constant_is_not_negative():
    pooled = pool_confusions([entry(4, 0.1, 0.0), entry(6, 0.1, 0.0)]).iloc[0]
    assert 0 <= pooled["var_resp"] < 1e-30
    assert 0 <= pooled["sem_resp"] < 1e-15


def test_pooling_skips_missing_entries_and_keeps_units_of_one_scan():
    first = pd.concat([entry(4, np.nan, np.nan), entry(4, 2, 1, 1, 2), entry(3, np.nan, np.nan, 2, 2)])
    second = pd.concat([entry(6, 3, 4), entry(1, 5, 0, 3, 3)])
    pooled = pool_confusions([first, second]).set_index(["image_unit_id", "matched_unit_id"])
    assert pooled.loc[(1, 1), ["mu_resp", "n_repeats", "n_scans"]].tolist() == [3, 6, 1]
    assert pooled.loc[(1, 2), ["mu_resp", "n_repeats"]].tolist() == [2, 4]
    assert pooled.loc[(2, 2), "n_repeats"] == 0 and np.isnan(pooled.loc[(2, 2), "mu_resp"])
    assert np.isnan(pooled.loc[(3, 3), "sem_resp"]) and pooled.loc[(3, 3), "mu_resp"] == 5


def test_pooling_is_checked():
    with pytest.raises(InputError, match="no scan"):
        pool_confusions([])
    with pytest.raises(InputError, match="table 1 lists an entry twice"):
        pool_confusions([entry(4, 1, 1), pd.concat([entry(4, 1, 1), entry(4, 2, 1)])])


def test_matrix_rows_are_images_and_columns_cells():
    matrix = confusion_matrix(small_scan("raw", R), "cnn")
    assert matrix.dims == ("image_unit_id", "matched_unit_id")
    np.testing.assert_allclose(matrix, [[0.5, 3], [3.5, 7]])


def test_matrix_is_square_with_nan_where_nothing_was_shown():
    matrix = confusion_matrix(small_scan("raw", R, trial_owner=[1, 1, 9, 9]), "cnn")
    assert matrix.shape == (2, 2)
    assert np.isnan(matrix.sel(image_unit_id=2)).all() and np.isfinite(matrix.sel(image_unit_id=1)).all()
    with pytest.raises(InputError, match="no images of model type 'gabor', only cnn"):
        confusion_matrix(small_scan("raw", R), "gabor")


def test_dataset_survives_the_disk_and_agrees_with_the_tables(tmp_path):
    summaries = {
        ("mei_vs_rf", response): pool_confusions([golden_scan("A", response), golden_scan("B", response)])
        for response in ("normalized", "zscore")
    }
    gabors = summaries["mei_vs_rf", "normalized"].replace({"linear": "gabor"})
    summaries["mei_vs_gabor", "normalized"] = gabors[gabors.image_unit_id > 0]
    maps = {"day2": UNIT_MAP, "day3": UNIT_MAP.iloc[1:].assign(unit_id=[7, 8]), "skipped": UNIT_MAP.iloc[:0]}
    write_arrays(confusion_dataset(summaries, maps), tmp_path / "confusion.zarr.zip", {})
    arrays = read_arrays(tmp_path / "confusion.zarr.zip")
    assert arrays["mu"].dims == ("kind", "response", "model_type", "image_unit_id", "matched_unit_id")
    for (kind, response), table in summaries.items():
        for model_type in table.model_type.unique():
            stored = arrays["mu"].sel(kind=kind, response=response, model_type=model_type)
            np.testing.assert_array_equal(stored, confusion_matrix(table, model_type))
    assert (arrays["n"].sel(kind="mei_vs_rf", model_type=["cnn", "linear"]) == 10).all()
    assert (arrays["n"].sel(kind="mei_vs_gabor", model_type="linear") == 0).all()
    assert (arrays["n"].sel(kind="mei_vs_gabor", model_type="gabor", image_unit_id=0) == 0).all()
    entries = summaries["mei_vs_rf", "zscore"].set_index(["model_type", "image_unit_id", "matched_unit_id"])
    at = {"kind": "mei_vs_rf", "response": "zscore", "model_type": "linear", "image_unit_id": 2, "matched_unit_id": 0}
    assert arrays["sem"].sel(at) == entries.loc[("linear", 2, 0), "sem_resp"]
    assert arrays["target_unit_id"].dims == ("target", "matched_unit_id")
    assert arrays["target_unit_id"].values.tolist() == [[100, 101, 102], [-1, 7, 8], [-1, -1, -1]]


def test_a_loop_without_any_response_has_an_empty_dataset(tmp_path):
    nothing = pool_confusions([golden_scan("A", "normalized")]).iloc[:0]
    write_arrays(confusion_dataset({("mei_vs_rf", "zscore"): nothing}, {"day2": UNIT_MAP}), tmp_path / "c.zarr.zip", {})
    arrays = read_arrays(tmp_path / "c.zarr.zip")
    assert arrays["mu"].shape == (1, 1, 0, 0, 0)


def test_cells_without_scale_are_listed():
    unit_map = pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [11, 12]})
    assert cells_without_scale(R, [11, 12], unit_map).empty
    for bad, reason in ((np.full(4, 0.1), "alike in every trial"), (np.array([1, np.nan, 2, 3]), "without a response")):
        responses = np.column_stack([np.asarray(R)[:, 0], bad])
        listed = cells_without_scale(responses, [11, 12], unit_map)
        assert listed[["src_unit_id", "unit_id"]].values.tolist() == [[2, 12]] and reason in listed["reason"][0]
        for response in ("normalized", "zscore"):
            scan = small_scan(response, responses, unit_map=unit_map).set_index(["image_unit_id", "matched_unit_id"])
            assert np.isnan(scan.loc[(2, 2), "mu_resp"]) and np.isfinite(scan.loc[(1, 1), "mu_resp"])


def small_set(images=(0, 1), classes=("multi_cnn_mei", "gabor")):
    """A set of two units' MEIs and Gabors, of which some images were shown twice each."""
    rows = [
        (image_class, image, "day1", image + 1, 0, 0) for image_class in ("multi_cnn_mei", "gabor") for image in (0, 1)
    ]
    columns = ["image_class", "image_id", "owner_scan", "owner_unit_id", "x_shift", "y_shift"]
    manifest = pd.DataFrame(rows, columns=columns)
    shown = [(image_class, image) for image_class in classes for image in images for _ in range(2)]
    responses = np.random.default_rng(0).gamma(2, 1, (len(shown), 2))
    unit_map = pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [11, 12]})
    return responses, [11, 12], pd.MultiIndex.from_tuples(shown), manifest, "day1", unit_map


def test_a_set_is_joined_to_its_manifest():
    responses, *_ = shown = small_set()
    table = set_confusion(*shown, ("cnn", "gabor"))
    assert set(table["response"]) == {"raw", "normalized", "zscore"} and set(table["model_type"]) == {"cnn", "gabor"}
    raw = table[(table["response"] == "raw") & (table["model_type"] == "gabor")]
    own = raw[(raw["image_unit_id"] == 2) & (raw["matched_unit_id"] == 2)].iloc[0]
    assert own["target_unit_id"] == 12 and own["mu_resp"] == pytest.approx(responses[6:8, 1].mean())


def test_a_set_without_its_meis_is_left_out():
    """Controls alone say nothing, and images of one set do not stand for another's."""
    with pytest.raises(NothingToCompareError, match="no trial shows a centered MEI of a matched unit"):
        set_confusion(*small_set(classes=("gabor",)), ("cnn", "gabor"))
    with pytest.raises(NothingToCompareError, match="masked_mei or masked_imagenet made for a matched unit"):
        set_confusion(*small_set(), ("masked_mei", "masked_natural"))
    responses, units, images, manifest, source, unit_map = small_set()
    with pytest.raises(InputError, match="gabor/1 is listed more than once"):
        set_confusion(
            responses, units, images, pd.concat([manifest, manifest.iloc[-1:]]), source, unit_map, ("cnn", "gabor")
        )
    with pytest.raises(NothingToCompareError, match="with a matched owner: 0"):
        set_confusion(responses, units, images, manifest, "another scan", unit_map, ("cnn", "gabor"))


def test_a_skipped_scan_takes_no_part_after_it_was_on_disk(tmp_path):
    """A table without rows has no types once it is read from a file."""
    whole = golden_scan("A", "normalized")
    whole.iloc[:0].to_csv(tmp_path / "skipped.csv", index=False)
    skipped = read_table(tmp_path / "skipped.csv")
    pooled = pool_confusions([whole, skipped])
    pd.testing.assert_frame_equal(pooled, pool_confusions([whole]))
    targets = diagonal_targets([whole, skipped])
    assert targets["target_unit_id"].tolist() == ["100;", "101;", "102;"] and targets["unit_id"].dtype == int
    nothing = pool_confusions([skipped, skipped])
    entries = diagonal_entries(nothing).merge(diagonal_targets([skipped, skipped]), on="unit_id", how="left")
    assert entries.empty and "hedges_g" in entries


def test_diagonal_targets_name_the_matched_unit_of_each_scan():
    first = pd.DataFrame(
        {
            "model_type": ["cnn", "linear", "cnn", "cnn"],
            "image_unit_id": [1, 1, 2, 1],
            "matched_unit_id": [1, 1, 2, 2],
            "target_unit_id": [31, 31, 44, 44],
            "n_repeats": [5, 4, 3, 5],
            "mu_resp": [1.0, 2.0, 3.0, 4.0],
        }
    )
    second = first[first.image_unit_id == 1].iloc[:2].assign(target_unit_id=7)
    targets = diagonal_targets([first, second]).set_index("unit_id")
    assert targets.loc[1].tolist() == ["31;7", "5;5", "4;4"]
    assert targets.loc[2].tolist() == ["44;", "3;", ";"]
    silent = diagonal_targets([first, second.assign(mu_resp=np.nan)]).set_index("unit_id")
    assert silent.loc[1].tolist() == ["31;7", "5;0", "4;0"]


def test_any_pair_of_classes_can_be_compared():
    """MEIs against Gabors give what MEIs against RFs give, if the responses are the same."""
    summary = pool_confusions([golden_scan("A", "normalized")])
    renamed = summary.replace({"linear": "gabor"})
    pd.testing.assert_frame_equal(diagonal_entries(renamed, ("cnn", "gabor")), diagonal_entries(summary))
    assert diagonal_entries(renamed).empty
    swapped = diagonal_entries(summary, ("linear", "cnn"))
    np.testing.assert_allclose(swapped.diff_resp, -diagonal_entries(summary).diff_resp)
