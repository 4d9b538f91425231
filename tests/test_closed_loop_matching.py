"""Floor 5: places in a stack, nearest units, votes, and the quality of matches."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurostatic.closed_loop import (
    best_match,
    match_oracle_correlation,
    proximity_match,
    stack_coordinates,
    stack_grid,
)
from neurostatic.store import InputError

AFFINE = np.array([[1, 0.1], [0, 1], [0.02, -0.03]])
OFFSET_UM = np.array([100, 200, 300])


def positions(unit_ids, xyz, stack=0):
    return pd.DataFrame(xyz, columns=["x_um", "y_um", "z_um"]).assign(unit_id=unit_ids, stack=stack)


def votes(units, distances, source=1):
    return pd.DataFrame(
        {"src_unit_id": source, "stack": range(len(units)), "unit_id": units, "match_distance_um": distances}
    )


def test_grid_of_a_field_is_centered():
    grid = stack_grid(4, 6, 4.0, 6.0)
    assert grid.shape == (4, 6, 2)
    np.testing.assert_allclose(grid[0, 0], [-2.5, -1.5])
    np.testing.assert_allclose(grid[3, 5], [2.5, 1.5])


def test_grid_has_one_pixel_size_per_axis():
    grid = stack_grid(4, 6, 8.0, 3.0)
    np.testing.assert_allclose(np.diff(grid[:, 0, 1]), 2.0)
    np.testing.assert_allclose(np.diff(grid[0, :, 0]), 0.5)
    np.testing.assert_allclose(grid.mean((0, 1)), 0.0, atol=1e-12)


def test_affine_registration():
    px_x, px_y = [2.5, 0, 4, 6], [1.5, 0, 1, 0]
    expected = [[100, 200, 300], [97.35, 198.5, 299.995], [101.45, 199.5, 300.045]]
    placed = stack_coordinates(px_x, px_y, 4, 6, 4.0, 6.0, AFFINE, OFFSET_UM)
    np.testing.assert_allclose(placed[:3], expected, rtol=1e-5)
    assert np.isnan(placed[3]).all()  # outside the field: nowhere
    published = stack_coordinates(px_x, px_y, 4, 6, 4.0, 6.0, AFFINE, OFFSET_UM, outside_um=0.0)
    np.testing.assert_allclose(published, [*expected, [0, 0, 0]], rtol=1e-5)


def test_units_on_pixels_lie_on_the_grid():
    grid = stack_grid(5, 7, 10.0, 21.0)
    y, x = np.mgrid[:5, :7]
    identity = np.array([[1, 0], [0, 1], [0, 0]])
    placed = stack_coordinates(x.ravel(), y.ravel(), 5, 7, 10.0, 21.0, identity, np.zeros(3))
    np.testing.assert_allclose(placed[:, :2], grid.reshape(-1, 2))


def test_registration_names_all_wrong_shapes():
    with pytest.raises(InputError, match="2 problems"):
        stack_coordinates([1, 2], [1], 4, 6, 4.0, 6.0, AFFINE.T, OFFSET_UM)


SOURCE = positions([1, 2, 3], [[0, 0, 0], [10, 0, 0], [5, 5, 0]])
TARGET = positions([7, 3, 12], [[1, 0, 0], [-1, 0, 0], [9, 0, 3]])


def test_nearest_unit_and_lowest_id_on_ties():
    matches = proximity_match(SOURCE, TARGET)
    assert matches["src_unit_id"].tolist() == [1, 2, 3]
    assert matches["unit_id"].tolist() == [3, 12, 7]
    np.testing.assert_allclose(matches["match_distance_um"], [1, 3.162278, 6.403124], rtol=1e-5)


def test_order_of_rows_does_not_matter():
    shuffled = proximity_match(SOURCE.sample(frac=1, random_state=1), TARGET.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, proximity_match(SOURCE, TARGET))


def test_only_shared_stacks_and_placed_units_are_matched():
    source = pd.concat([SOURCE, SOURCE.assign(stack=1), SOURCE.assign(stack=2)])
    unplaced = TARGET.assign(stack=2).replace({"x_um": {-1: np.nan}})
    target = pd.concat([TARGET, unplaced, TARGET.assign(stack=9)])
    matches = proximity_match(source, target)
    assert matches["stack"].unique().tolist() == [0, 2]
    first = matches[matches["src_unit_id"] == 1]
    assert first["unit_id"].tolist() == [3, 7]  # in stack 2 unit 3 has no position


def test_no_shared_stack_says_which_there_are():
    with pytest.raises(InputError, match=r"share no stack.*source: 0; target: 5"):
        proximity_match(SOURCE, TARGET.assign(stack=5))
    with pytest.raises(InputError, match="target: none"):
        proximity_match(SOURCE, TARGET.iloc[:0])


def test_all_problems_of_coordinates_at_once():
    twice = pd.concat([SOURCE, SOURCE.iloc[:1]])
    with pytest.raises(InputError) as error:
        proximity_match(twice, TARGET.drop(columns=["y_um", "stack"]))
    for part in ("3 problems", "source: unit 1 is listed more than once", "'y_um' is missing", "'stack'"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="infinite"):
        proximity_match(SOURCE, TARGET.replace({"x_um": {9.0: np.inf}}))
    with pytest.raises(InputError, match="no number"):
        proximity_match(SOURCE.assign(z_um="deep"), TARGET)


def test_majority_vote():
    best = best_match(votes([3, 5, 3, 3, 5], [2.0, 1, 4, 3, 1])).iloc[0]
    assert (best["unit_id"], best["match_freq"], best["total_stacks"]) == (3, 3, 5)
    assert best["mean_distance_um"] == 3.0


def test_tied_votes_go_to_the_nearer_then_to_the_lower_id():
    columns = ["unit_id", "match_freq", "total_stacks", "mean_distance_um"]
    assert best_match(votes([9, 4, 4, 9], [2, 3, 5, 2.5]))[columns].values.tolist() == [[9, 2, 4, 2.25]]
    assert best_match(votes([9, 4], [2.0, 2.0]))[columns].values.tolist() == [[4, 1, 2, 2.0]]


def test_tied_votes_do_not_depend_on_the_order_of_stacks():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in the last digit
    one = best_match(votes([9, 4] * 3, [0.1, 0.3, 0.2, 0.2, 0.3, 0.1]))
    other = best_match(votes([9, 4] * 3, [0.3, 0.1, 0.2, 0.2, 0.1, 0.3]))
    assert one["unit_id"].tolist() == other["unit_id"].tolist() == [4]


def test_shared_targets_are_counted():
    matches = pd.concat([votes([3, 3], [1, 1], 1), votes([3, 8], [1, 2], 2), votes([5, 5], [1, 1], 4)])
    best = best_match(matches)
    assert best["src_unit_id"].tolist() == [1, 2, 4]
    assert best["unit_id"].tolist() == [3, 3, 5]
    assert best["shared"].tolist() == [2, 2, 1]


def test_votes_are_checked():
    with pytest.raises(InputError, match="no rows"):
        best_match(votes([], []))
    with pytest.raises(InputError, match="source unit 1 has more than one match in stack 0"):
        best_match(pd.concat([votes([3], [1.0]), votes([4], [1.0])]))
    with pytest.raises(InputError, match="'match_distance_um' is missing"):
        best_match(votes([3], [1.0]).drop(columns="match_distance_um"))


def test_matching_finds_displaced_cells_again():
    rng = np.random.default_rng(0)
    cells = rng.uniform(0, 400, size=(60, 3))
    new_ids = rng.permutation(np.arange(100, 160))
    stacks = range(3)
    source = pd.concat([positions(np.arange(60), cells + rng.normal(0, 1, (60, 3)), s) for s in stacks])
    target = pd.concat([positions(new_ids, cells + rng.normal(0, 1, (60, 3)), s) for s in stacks])
    best = best_match(proximity_match(source, target))
    assert (best["unit_id"].to_numpy() == new_ids).mean() > 0.95
    # the control: another scan's cells are found nowhere near as close
    other = pd.concat([positions(new_ids, rng.uniform(0, 400, size=(60, 3)), s) for s in stacks])
    stranger = best_match(proximity_match(source, other))
    assert stranger["mean_distance_um"].median() > 5 * best["mean_distance_um"].median()
    assert (stranger["unit_id"].to_numpy() == new_ids).mean() < 0.2


def repeated(responses, image_ids, unit_ids, repeats=5):
    return xr.DataArray(
        np.repeat(np.asarray(responses, float), repeats, axis=0),
        dims=("trial", "unit"),
        coords={
            "unit_id": ("unit", unit_ids),
            "image_class": ("trial", ["imagenet"] * (repeats * len(image_ids))),
            "image_id": ("trial", np.repeat(image_ids, repeats)),
        },
    )


UNIT_MAP = pd.DataFrame({"src_unit_id": [1, 2], "unit_id": [20, 10]})
SOURCE_SCAN = repeated([[1, 2], [2, 1], [3, 5], [4, 3]], [1, 2, 3, 4], [1, 2])
TARGET_SCAN = repeated([[0, 1], [1, 3], [2, 2], [4, 5]], [1, 2, 3, 4], [10, 20])


def test_match_oracle_correlation():
    expected = [[0.831522, 0.982708], [-0.028571, 0.428571]]
    correlation = match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP)
    np.testing.assert_allclose(correlation, expected, rtol=1e-4)
    assert correlation.dims == ("source_unit_id", "matched_unit_id")
    assert correlation["source_unit_id"].values.tolist() == [1, 2]


def test_match_oracle_correlation_takes_common_images_whatever_their_order():
    extra = repeated([[9, 9], [7, 7]], [8, 9], [10, 20])
    rare = repeated([[50, 50]], [4], [10, 20], repeats=4).assign_coords(image_class=("trial", ["noise"] * 4))
    target = xr.concat([extra, TARGET_SCAN.isel(trial=slice(None, None, -1)), rare], dim="trial")
    expected = match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP)
    xr.testing.assert_allclose(match_oracle_correlation(SOURCE_SCAN, target, UNIT_MAP), expected)


def test_match_oracle_correlation_of_a_constant_unit_is_nan_alone():
    target = TARGET_SCAN.isel(trial=slice(15)).copy()  # 3 images: the mean of 0.1 over them is not 0.1
    target[:, 0] = 0.1
    correlation = match_oracle_correlation(SOURCE_SCAN, target, UNIT_MAP).values
    assert np.isnan(correlation[:, 1]).all()
    assert np.isfinite(correlation[:, 0]).all()


def test_match_oracle_correlation_names_what_is_missing():
    with pytest.raises(InputError, match=r"target scan.*\n.*unit 99"):
        match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP.replace({"unit_id": {20: 99}}))
    with pytest.raises(InputError, match="0 images were shown 6 times"):
        match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP, min_repeats=6)
