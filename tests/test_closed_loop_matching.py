"""Floor 5: nearest units, votes, and one-to-one assignment."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from neurostatic.closed_loop.assignment import one_to_one_match
from neurostatic.closed_loop.matching import best_match, proximity_match
from neurostatic.problems import InputError

AXES = ["x_um", "y_um", "z_um"]


def positions(unit_ids, xyz, stack=0):
    return pd.DataFrame(xyz, columns=AXES).assign(unit_id=unit_ids, stack=stack)


def votes(units, distances, source=1):
    return pd.DataFrame(
        {"src_unit_id": source, "stack": range(len(units)), "unit_id": units, "match_distance_um": distances}
    )


SOURCE = positions([1, 2, 3], [[0, 0, 0], [10, 0, 0], [5, 5, 0]])
TARGET = positions([7, 3, 12], [[1, 0, 0], [-1, 0, 0], [9, 0, 3]])


def test_nearest_unit_and_lowest_id_on_ties():
    matches = proximity_match(SOURCE, TARGET)
    assert matches["src_unit_id"].tolist() == [1, 2, 3]
    assert matches["unit_id"].tolist() == [3, 12, 7]
    np.testing.assert_allclose(matches["match_distance_um"], [1, 3.162278, 6.403124], rtol=1e-5)


def all_pairs(source_um, target_um):
    """Index of the nearest target and its distance, without a tree."""
    distance_um = np.sqrt(((source_um[:, None] - target_um) ** 2).sum(-1))
    return distance_um.argmin(1), distance_um.min(1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 0.1, 1]), st.integers(0, 2**32 - 1))
def test_the_tree_finds_what_all_pairs_find(n_sources, n_targets, grid_um, seed):
    """On a grid of few positions most nearest units are tied; 0.1 um is no exact number."""
    rng = np.random.default_rng(seed)
    source_um, target_um = rng.uniform(-8, 8, (n_sources, 3)), rng.uniform(-8, 8, (n_targets, 3))
    if grid_um:
        source_um, target_um = (np.rint(points / 4) * grid_um for points in (source_um, target_um))
    matches = proximity_match(
        positions(np.arange(n_sources), source_um),
        positions(np.arange(n_targets), target_um).sample(frac=1, random_state=1),
    )
    nearest, distance_um = all_pairs(source_um, target_um)
    assert np.array_equal(matches["unit_id"], nearest)
    assert np.array_equal(matches["match_distance_um"], distance_um)


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
    with pytest.raises(InputError, match="unit 1 is listed more than once in stack 0, as are 2 more rows"):
        proximity_match(pd.concat([SOURCE, SOURCE]), TARGET)
    with pytest.raises(InputError, match="beyond 1e\\+09 um"):
        proximity_match(SOURCE, TARGET.assign(x_um=1e200))
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


SCATTERED = st.tuples(st.integers(1, 14), st.integers(1, 14), st.floats(2, 40), st.integers(0, 2**32 - 1))


@settings(max_examples=40, deadline=None)
@given(SCATTERED)
def test_assignment_is_the_best_of_all(case):
    """Against the dense solver: every unit has a column of its own in which it is lost."""
    n_sources, n_targets, limit_um, seed = case
    rng = np.random.default_rng(seed)
    source_um, target_um = (rng.uniform(0, 40, (1, n, 3)) + rng.normal(0, 2, (3, n, 3)) for n in (n_sources, n_targets))
    source = pd.concat([positions(np.arange(n_sources), source_um[s], s) for s in range(3)])
    target = pd.concat([positions(100 + np.arange(n_targets), target_um[s], s) for s in range(3)])
    distance_um = np.linalg.norm(source_um[:, :, None] - target_um[:, None], axis=-1).mean(0)
    costs_um = np.full((n_sources, n_targets + n_sources), 1e6)
    costs_um[:, :n_targets][distance_um <= limit_um] = distance_um[distance_um <= limit_um]
    costs_um[np.arange(n_sources), n_targets + np.arange(n_sources)] = limit_um
    row, column = linear_sum_assignment(costs_um)
    matched = column < n_targets

    match = one_to_one_match(source, target, limit_um)
    assert match["src_unit_id"].tolist() == row[matched].tolist()
    assert match["unit_id"].tolist() == (100 + column[matched]).tolist()
    np.testing.assert_allclose(match["mean_distance_um"], distance_um[row, column.clip(max=n_targets - 1)][matched])
    assert (match["shared"] == 1).all() and (match["total_stacks"] == 3).all()
    votes = proximity_match(source, target)
    for row in match.itertuples():
        agree = (votes["src_unit_id"] == row.src_unit_id) & (votes["unit_id"] == row.unit_id)
        assert row.match_freq == agree.sum()


def test_a_rival_takes_the_nearest_unit():
    source = positions([1, 2], [[0, 0, 0], [3, 0, 0]])
    target = positions([7, 8], [[2, 0, 0], [-6, 0, 0]])
    assert best_match(proximity_match(source, target))["unit_id"].tolist() == [7, 7]
    assert one_to_one_match(source, target, 8)["unit_id"].tolist() == [8, 7]  # 6 + 1 um, not 2 um + lost
    alone = one_to_one_match(source, target, 5)
    assert (alone["src_unit_id"].tolist(), alone["unit_id"].tolist()) == ([2], [7])
    same = one_to_one_match(source, source, 5)  # a distance of 0 is a distance
    assert same["unit_id"].tolist() == [1, 2] and (same["mean_distance_um"] == 0).all()
    assert one_to_one_match(source, target.assign(x_um=99.0), 5).empty


def test_assignment_uses_the_stacks_in_which_both_are():
    source = pd.concat([positions([1], [[0, 0, 0]], 0), positions([1], [[0, 0, 0]], 1), positions([1], [[0, 0, 0]], 2)])
    target = pd.concat([positions([7, 8], [[1, 0, 0], [9, 0, 0]], 0), positions([7, 8], [[5, 0, 0], [4, 0, 0]], 1)])
    target = pd.concat([target, positions([7, 8], [[np.nan, 0, 0], [2, 0, 0]], 2)])
    match = one_to_one_match(source, target, 20).iloc[0]
    assert (match["unit_id"], match["mean_distance_um"]) == (7, 3.0)
    assert (match["match_freq"], match["total_stacks"]) == (1, 3)


@pytest.mark.parametrize("limit_um", [np.inf, np.nan, 0.0])
def test_assignment_needs_a_limit(limit_um):
    with pytest.raises(InputError, match="a finite limit above 0 is needed"):
        one_to_one_match(SOURCE, TARGET, limit_um)
