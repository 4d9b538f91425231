"""Floor 5: which cells were found again, which were not, and why not."""

import numpy as np
import pandas as pd
import pytest

from neurostatic.closed_loop.cells import match_cells
from neurostatic.problems import InputError

MATCHES = [
    "src_unit_id", "unit_id", "match_freq", "total_stacks", "mean_distance_um", "shared", "displacement_um",
    "runner_up_um", "posterior", "src_x_um", "src_y_um", "src_z_um", "x_um", "y_um", "z_um",
]  # fmt: skip
UNMATCHED = ["src_unit_id", "unit_id", "mean_distance_um", "posterior", "src_x_um", "src_y_um", "src_z_um", "reason"]
AXES = ["x_um", "y_um", "z_um"]
NO_POSITION = "has no position in a stack that both scans share"


def cells(places, stack="a"):
    """unit_id -> place in um on the x axis, or in space."""
    xyz = [place if np.ndim(place) else (place, 0, 0) for place in places.values()]
    return pd.DataFrame(np.array(xyz, float), columns=AXES).assign(unit_id=list(places), stack=stack)


GRID = {100 + i: (100 * (i % 6), 100 * (i // 6), 0) for i in range(36)}  # far from each other


def stacks(**scans):
    return pd.concat([cells(places, stack) for stack, places in scans.items()])


def reasons(unmatched):
    return dict(zip(unmatched["src_unit_id"], unmatched["reason"], strict=True))


def test_tables_and_their_columns():
    source = stacks(a={1: 0, 2: 100}, b={1: 2, 2: 101}, z={1: 500, 2: 600})
    target = stacks(a={7: 1, 8: 103}, b={7: 4, 8: 105}, y={7: 0, 8: 0})
    matches, unmatched = match_cells(source, target)
    assert list(matches) == MATCHES and list(unmatched) == UNMATCHED and unmatched.empty
    assert matches["src_unit_id"].tolist() == [1, 2] and matches["unit_id"].tolist() == [7, 8]
    assert matches["match_freq"].tolist() == [2, 2] and matches["total_stacks"].tolist() == [2, 2]
    assert matches["mean_distance_um"].tolist() == [1.5, 3.5]
    assert matches["src_x_um"].tolist() == [1, 100.5] and matches["x_um"].tolist() == [2.5, 104]  # of a and b alone
    assert (matches["posterior"] > 0.9).all() and (matches["displacement_um"] < 2).all()
    assert matches["runner_up_um"].isna().all()


def test_only_owners_are_reported_but_all_units_are_learned_from():
    rng = np.random.default_rng(0)
    source = cells({unit: place + rng.normal(0, 1, 3) for unit, place in GRID.items()})
    target = cells({unit: place + rng.normal(0, 1, 3) for unit, place in GRID.items()})
    every, _ = match_cells(source, target)
    some, unmatched = match_cells(source, target, [130, 104, 104, 999])
    expected = every[every["src_unit_id"].isin([104, 130])].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, expected)
    assert reasons(unmatched) == {999: NO_POSITION}
    alone, _ = match_cells(source[source["unit_id"].isin([104, 130])], target)
    assert not np.allclose(alone["posterior"], some["posterior"], rtol=1e-6)


def test_every_reason():
    near = {unit: tuple(np.add(place, (1, 0, 0))) for unit, place in GRID.items()}
    source = stacks(a=GRID | {1: (50, 50, 0), 2: 220, 3: np.nan}, b=GRID | {1: (50, 50, 0), 2: 220}, c=GRID | {2: 220})
    split = near | {900: (50, 50, 14.25)}
    target = stacks(a=split | {901: 218}, b=split | {901: 218}, c=split | {902: 222})
    matches, unmatched = match_cells(
        source, target, [1, 2, 3, 100], max_distance_um=10, min_vote_fraction=0.7, min_posterior=0.5
    )
    assert matches["src_unit_id"].tolist() == [100]
    assert reasons(unmatched) == {
        1: "no cell within 10 um: the nearest is 14.2 um away",
        2: "too few votes: 2 of 3 stacks agree on unit 901, less than a fraction of 0.7",
        3: NO_POSITION,
    }
    assert unmatched["unit_id"].tolist() == [900, 901, pd.NA]
    assert unmatched["src_x_um"].tolist() == pytest.approx([50, 220, np.nan], nan_ok=True)
    assert unmatched["mean_distance_um"].tolist() == pytest.approx([14.25, 2.0, np.nan], nan_ok=True)
    _, unmatched = match_cells(source, target, [1], min_posterior=0.5)
    assert reasons(unmatched) == {1: "doubtful: posterior 0.00 is below 0.5"}
    assert unmatched["posterior"].tolist() == pytest.approx([0], abs=0.01)


def test_limits_include_their_value():
    source, target = cells({1: 0}), cells({7: 10})
    assert len(match_cells(source, target, max_distance_um=10)[0]) == 1
    assert len(match_cells(source, target, max_distance_um=9.99)[0]) == 0
    source, target = (pd.concat([table, table.assign(stack="b")]) for table in (source, target))
    target = pd.concat([target, cells({8: 1}, "b")])
    assert len(match_cells(source, target, min_vote_fraction=0.5)[0]) == 1
    assert len(match_cells(source, target, min_vote_fraction=0.51)[0]) == 0


def test_shared_targets_are_counted_among_what_is_reported():
    source, target = cells({1: 0, 2: 4, 3: -30}), cells({7: 1})
    assert match_cells(source, target)[0]["shared"].tolist() == [3, 3, 3]
    assert match_cells(source, target, max_distance_um=10)[0]["shared"].tolist() == [2, 2]
    assert match_cells(source, target, [2], max_distance_um=10)[0]["shared"].tolist() == [1]


def test_one_to_one():
    source, target = cells({1: 0, 2: 4}), cells({7: 1})
    matches, unmatched = match_cells(source, target, one_to_one=True, max_distance_um=10)
    assert matches[["src_unit_id", "unit_id", "shared"]].values.tolist() == [[1, 7, 1]]
    assert reasons(unmatched) == {2: "one to one: unit 7, 3.0 um away, fits another unit better"}
    rival, unmatched = match_cells(source, target, [2], one_to_one=True, max_distance_um=10)  # 1 owns nothing
    assert rival.empty and unmatched["unit_id"].tolist() == [7]
    matches, unmatched = match_cells(source, target, one_to_one=True, max_distance_um=2)
    assert reasons(unmatched) == {2: "no cell within 2 um: the nearest is 3.0 um away"}


def test_one_to_one_looks_at_all_stacks():
    source, target = stacks(a={1: 0}, b={1: 0}), stacks(a={7: 1}, b={7: 40, 8: -39})
    matches, unmatched = match_cells(source, target, one_to_one=True, max_distance_um=10)
    assert matches.empty
    assert reasons(unmatched) == {1: "no cell within 10 um: none on average over the stacks that both scans share"}


STRUCTURE_COLUMNS = ["stack", "unit_id", "sunit_id", "iou", "distance_um"]


def test_structure():
    source, target = cells({1: 0, 2: 50, 3: 90}), cells({7: 1, 8: 2, 9: 3})
    structure = (
        pd.DataFrame([("s", 1, 10, 0.9, 1), ("s", 2, 11, 0.9, 1), ("s", 3, 12, 0.9, 1)], columns=STRUCTURE_COLUMNS),
        pd.DataFrame([("s", 8, 10, 0.6, 2), ("s", 7, 11, 0.5, 14.2), ("s", 9, 99, 0.9, 0)], columns=STRUCTURE_COLUMNS),
    )
    options = {"method": "structure", "structure": structure, "max_distance_um": 10, "min_posterior": 0.5}
    matches, unmatched = match_cells(source, target, **options)
    assert sorted(matches) == sorted([*MATCHES, "mean_iou"])
    row = matches.iloc[0]
    assert (row["src_unit_id"], row["unit_id"], row["mean_iou"], row["mean_distance_um"]) == (1, 8, 0.6, 2)
    assert matches[["displacement_um", "runner_up_um", "posterior"]].isna().all(axis=None) and row["x_um"] == 2
    assert reasons(unmatched) == {
        2: "no structural cell within 10 um: that of unit 7 is 14.2 um from it",
        3: "is in no structural cell, or in one with no unit of the target scan",
    }
    elsewhere, _ = match_cells(source, target.assign(stack="z"), **options)  # no position in common
    assert elsewhere["unit_id"].tolist() == [8] and elsewhere[["src_x_um", "x_um"]].isna().all(axis=None)


@pytest.mark.parametrize("one_to_one", [False, True])
def test_without_a_shared_stack_none_is_matched(one_to_one):
    source = cells({1: 0, 2: 4})
    options = {"one_to_one": one_to_one, "max_distance_um": 10}
    for target in (cells({7: 0}, "z"), cells({7: (np.nan, 0, 0)}), cells({7: 0}).iloc[:0]):
        matches, unmatched = match_cells(source, target, **options)
        assert matches.empty and list(matches) == MATCHES and list(unmatched) == UNMATCHED
        assert reasons(unmatched) == {1: NO_POSITION, 2: NO_POSITION}
    matches, unmatched = match_cells(source, cells({7: 0}), [], **options)
    assert matches.empty and unmatched.empty


def test_what_is_wrong():
    source, target = cells({1: 0}), cells({7: 0})
    with pytest.raises(InputError, match="'z_um' is missing"):
        match_cells(source.drop(columns="z_um"), target)
    with pytest.raises(InputError, match="unit 7 is listed more than once"):
        match_cells(source, pd.concat([target, target]))
    with pytest.raises(InputError) as error:
        match_cells(source, target, method="structure", one_to_one=True)
    for part in ("3 problems", "needs the tables", "one_to_one is for", "a finite limit"):
        assert part in str(error.value)
    with pytest.raises(InputError) as error:
        match_cells(source, target, max_distance_um=np.nan, min_vote_fraction=1.5, min_posterior=-0.1)
    for part in ("max_distance_um is nan, allowed is 0 to inf", "min_vote_fraction is 1.5, allowed is 0 to 1", "-0.1"):
        assert part in str(error.value)
    with pytest.raises(InputError, match="method is 'color', allowed are proximity, structure"):
        match_cells(source, target, method="color")
    with pytest.raises(InputError, match="and no other"):
        match_cells(source, target, structure=(source, target))


def test_doubt_keeps_what_a_limit_of_distance_loses():
    """Cells with large errors in each stack, a tenth of them lost: the posterior tells which is which."""
    rng = np.random.default_rng(1)
    place_um = rng.uniform(0, 400, (300, 3))
    seen = rng.random(300) >= 0.1

    def scan(kept):
        errors_um = rng.normal(0, 5, (3, 300, 3))
        return stacks(
            **{
                f"s{s}": dict(zip(np.flatnonzero(kept), (place_um + e)[kept], strict=True))
                for s, e in enumerate(errors_um)
            }
        )

    source, target = scan(np.full(300, True)), scan(seen)
    doubted, _ = match_cells(source, target, min_posterior=0.5)
    limited, _ = match_cells(source, target, max_distance_um=10)
    assert (doubted["src_unit_id"] == doubted["unit_id"]).mean() > 0.97
    assert len(doubted) > 0.9 * seen.sum() > 2 * len(limited)
    assert (limited["src_unit_id"] == limited["unit_id"]).mean() > 0.9
