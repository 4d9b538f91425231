"""Floor 5: the quality of matches, by the responses to repeated images."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurostatic.closed_loop.agreement import image_slip, match_agreement, match_oracle_correlation
from neurostatic.closed_loop.confusion import NothingToCompareError
from neurostatic.problems import InputError


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
    with pytest.raises(NothingToCompareError, match="no cell was found again"):
        match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP.iloc[:0])
    with pytest.raises(NothingToCompareError, match="0 images were shown 6 times"):
        match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP, min_repeats=6)


def correlations(values, matched=None):
    ids = np.arange(len(values))
    coords = {"source_unit_id": ids, "matched_unit_id": ids if matched is None else matched}
    return xr.DataArray(np.array(values, float), coords, ("source_unit_id", "matched_unit_id"))


def test_agreement():
    agreement = match_agreement(correlations([[0.9, 0.1, 0.2], [0.5, 0.4, 0.0], [0.3, 0.45, 0.8]]))
    assert agreement["n_units"] == 3
    assert agreement["own"] == pytest.approx(2.1 / 3) and agreement["other"] == pytest.approx(1.55 / 6)
    assert agreement["own_best_fraction"] == pytest.approx(2 / 3)


def test_agreement_of_the_golden_scans():
    correlation = match_oracle_correlation(SOURCE_SCAN, TARGET_SCAN, UNIT_MAP)
    agreement = match_agreement(correlation)
    assert correlation.attrs["n_images"] == 4
    assert agreement["own"] == pytest.approx((0.831522 + 0.428571) / 2, rel=1e-4)
    assert agreement["other"] == pytest.approx((0.982708 - 0.028571) / 2, rel=1e-4)
    assert agreement["own_best_fraction"] == 0.5
    assert match_agreement(correlation.T) == agreement


def test_agreement_leaves_out_what_has_no_correlation():
    agreement = match_agreement(correlations([[0.9, np.nan, 0.2], [0.5, np.nan, 0.0], [0.3, np.nan, 0.8]]))
    assert agreement["n_units"] == 2
    assert agreement["own"] == pytest.approx(0.85) and agreement["other"] == pytest.approx(0.25)
    assert agreement["own_best_fraction"] == 1 and agreement["p_value"] == 0.5
    for alone in ([[0.7]], np.empty((0, 0))):
        agreement = match_agreement(correlations(alone))
        assert agreement.pop("n_units") == len(alone) and np.isnan(list(agreement.values())).all()


def test_a_tie_is_no_agreement():
    assert match_agreement(correlations([[0.6, 0.2], [0.6, 0.4]]))["own_best_fraction"] == 0.5


def test_agreement_needs_one_order():
    with pytest.raises(InputError, match="same ids in one order"):
        match_agreement(correlations([[1, 0], [0, 1]], matched=[1, 0]))


def test_wrong_matches_do_not_agree():
    rng = np.random.default_rng(0)
    drive = rng.normal(size=(30, 8))
    scans = [repeated(drive + rng.normal(0, 0.5, drive.shape), np.arange(30), np.arange(8)) for _ in range(2)]
    units = pd.DataFrame({"src_unit_id": np.arange(8), "unit_id": np.arange(8)})
    right = match_agreement(match_oracle_correlation(*scans, units))
    wrong = match_agreement(match_oracle_correlation(*scans, units.assign(unit_id=np.roll(np.arange(8), 1))))
    assert right["own"] > right["other"] + 0.5 and right["own_best_fraction"] == 1.0 and right["p_value"] < 0.001
    assert abs(wrong["own"] - wrong["other"]) < 0.3 and wrong["own_best_fraction"] <= 0.25
    assert wrong["p_value"] > 0.05


def test_rows_that_slipped_are_counted():
    """In the order of the list, which is not that of the ids; cells without a response do not count."""
    listed = [9, 4, 7, 2]
    matrix = xr.DataArray(
        np.zeros((4, 4)), dims=("image_unit_id", "matched_unit_id"),
        coords={"image_unit_id": sorted(listed), "matched_unit_id": sorted(listed)},
    )  # fmt: skip
    own = matrix.copy()
    for unit in listed:
        own.loc[{"image_unit_id": unit, "matched_unit_id": unit}] = 1
    assert image_slip(own, listed) == (0, 4)
    slipped = matrix.copy()
    for image, cell in ((4, 9), (7, 4), (2, 7)):
        slipped.loc[{"image_unit_id": image, "matched_unit_id": cell}] = 1
    slipped.loc[{"matched_unit_id": 2}] = np.nan
    assert image_slip(slipped, listed) == (1, 3)
    assert image_slip(matrix.where(False), listed) == (0, 0)
