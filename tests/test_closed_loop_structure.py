"""Floor 5: matches by way of structural cells."""

import numpy as np
import pandas as pd
import pytest

from neurostatic.closed_loop.structure import best_structure_match, structure_match
from neurostatic.problems import InputError


def structural(*rows):
    return pd.DataFrame(rows, columns=["stack", "unit_id", "sunit_id", "iou", "distance_um"])


SOURCE = structural(
    ("a", 1, 10, 0.9, 1), ("a", 2, 11, 0.8, 2), ("a", 3, np.nan, np.nan, np.nan),
    ("b", 1, 20, 0.7, 1), ("b", 2, 21, 0.6, 2),
    ("c", 1, 30, 0.5, 1),
)  # fmt: skip
TARGET = structural(
    ("a", 7, 10, 0.4, 3), ("a", 8, 11, 0.5, 4), ("a", 9, np.nan, np.nan, np.nan),
    ("b", 7, 20, 0.8, 5), ("b", 9, 21, 0.7, 6), ("b", 8, 22, 0.9, 1),
    ("d", 7, 30, 1.0, 0),
)  # fmt: skip


def candidates(*rows):
    columns = ["src_unit_id", "unit_id", "match_cts", "mean_iou", "max_iou", "mean_distance_um", "total_cts"]
    return pd.DataFrame(rows, columns=columns)


def test_every_pair_in_one_structural_cell():
    found = structure_match(SOURCE, TARGET)
    expected = candidates(
        (1, 7, 2, 0.6, 0.8, 4.0, 2), (2, 8, 1, 0.5, 0.5, 4.0, 2), (2, 9, 1, 0.7, 0.7, 6.0, 2)
    )  # stack c is not the target's; d not the source's; no cell is no match of no cell
    pd.testing.assert_frame_equal(found, expected)


def test_order_of_rows_does_not_matter():
    shuffled = structure_match(SOURCE.sample(frac=1, random_state=1), TARGET.sample(frac=1, random_state=2))
    pd.testing.assert_frame_equal(shuffled, structure_match(SOURCE, TARGET), check_exact=True)


def test_best_of_the_candidates():
    best = best_structure_match(structure_match(SOURCE, TARGET))
    assert best["src_unit_id"].tolist() == [1, 2] and best["unit_id"].tolist() == [7, 9]
    assert best["match_freq"].tolist() == [2, 1] and best["total_stacks"].tolist() == [2, 2]
    assert best["mean_iou"].tolist() == pytest.approx([0.6, 0.7])
    assert best["mean_distance_um"].tolist() == [4.0, 6.0] and best["shared"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rival", "winner"),
    [
        ((1, 5, 3, 0.1, 0.1, 9.0, 3), 5),  # more stacks, whatever else
        ((1, 5, 2, 0.6, 0.6, 9.0, 3), 5),  # a larger mean IoU, not the larger maximum
        ((1, 5, 2, 0.5, 0.9, 1.0, 3), 5),  # nearer
        ((1, 5, 2, 0.5, 0.9, 2.0, 3), 5),  # the lower id
        ((1, 9, 2, 0.5, 0.9, 2.0, 3), 6),
        ((1, 5, 2, 0.4, 0.9, 1.0, 3), 6),
    ],
)
def test_ties(rival, winner):
    assert best_structure_match(candidates((1, 6, 2, 0.5, 0.8, 2.0, 3), rival))["unit_id"].tolist() == [winner]


def test_shared_targets_are_counted():
    best = best_structure_match(candidates((1, 6, 1, 0.5, 0.5, 1.0, 1), (2, 6, 1, 0.4, 0.4, 1.0, 1)))
    assert best["shared"].tolist() == [2, 2]


def test_nothing_in_common():
    assert structure_match(SOURCE, TARGET.assign(stack="z" + TARGET["stack"])).empty
    assert best_structure_match(structure_match(SOURCE, TARGET.iloc[:0])).empty


def test_all_problems_at_once():
    broken = pd.concat([SOURCE, SOURCE.iloc[:1]]).replace({"iou": {0.7: 1.5}, "distance_um": {2: -2}})
    with pytest.raises(InputError) as error:
        structure_match(broken, TARGET.drop(columns=["iou", "sunit_id"]))
    for part in (
        "5 problems", "source: unit 1 is listed more than once in stack a", "'iou' holds a value out of range",
        "0 to 1", "'distance_um' holds a value out of range", "target: column 'iou' is missing", "'sunit_id'",
    ):  # fmt: skip
        assert part in str(error.value)
    with pytest.raises(InputError, match="'iou' holds something that is no number"):
        structure_match(SOURCE.assign(iou="good"), TARGET)
    with pytest.raises(InputError, match="source unit 1 and unit 6 are listed twice"):
        best_structure_match(candidates(*[(1, 6, 1, 0.5, 0.5, 1.0, 1)] * 2))
