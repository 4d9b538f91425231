import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic.stimuli.envelopes import (
    gaussian_envelope,
    gaussian_masks,
    gaussian_moments,
    hull_mask,
    hull_masks,
    without_small_components,
)

Y, X = np.mgrid[:36, :64].astype(float)


def gabor(cx=30.0, cy=17.0, sx=5.0, sy=3.0, th=np.pi / 6, lam=9.0, ph=0.3):
    along = (X - cx) * np.cos(th) + (Y - cy) * np.sin(th)
    envelope = np.exp(-((X - cx) ** 2 / (2 * sx**2) + (Y - cy) ** 2 / (2 * sy**2)))
    return envelope * np.cos(2 * np.pi * along / lam + ph)


IMAGE = 120 + 60 * gabor()
LARGE = 120 + 90 * gabor(sx=9, sy=6, lam=18)
OBLIQUE = gabor(sx=6, sy=6, th=np.pi / 4, lam=12) * np.exp(-((X - 30 + Y - 17) ** 2) / 40)
FLAT, BROKEN = np.full_like(IMAGE, 0.1), np.where(X == 5, np.nan, IMAGE)


def test_large_components_only():
    """C21: remove_small_area; contact at a corner does not connect."""
    mask = np.zeros((12, 12), dtype=bool)
    mask[1:4, 1:4] = mask[4, 4] = mask[6:11, 6:11] = True
    kept = [without_small_components(mask, size) for size in (10, 9, 26)]
    assert [k.sum() for k in kept] == [25, 34, 0]
    assert not kept[1][4, 4] and kept[1][1:4, 1:4].all()
    assert_array_equal(without_small_components(mask, 0), mask)  # what lies outside is never kept


def test_hull_mask_of_large_lobes():
    """C21: MEIMask, parameters 0 (scikit-image 0.26)."""
    assert (np.abs(LARGE - LARGE.mean()) > 16).sum() == 384
    mask = hull_mask(LARGE)
    assert mask.sum() == pytest.approx(607, rel=0.05)
    assert mask[20, 45] == pytest.approx(0.209731, abs=0.06)  # hulls of other versions: 0.156464
    assert mask[17, 30] == pytest.approx(1) and mask[0, 0] == 0
    assert mask.min() >= 0 and mask.max() <= 1 + 1e-12


def test_hull_mask_without_a_large_lobe_is_empty():
    """C21: 74 px deviate enough, in components that are all too small."""
    assert (np.abs(IMAGE - IMAGE.mean()) > 16).sum() == 74
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask = hull_mask(IMAGE)
    assert mask.shape == IMAGE.shape and not mask.any()
    assert hull_mask(IMAGE, min_size_px=1).any()


def test_hull_mask_options_do_what_they_say():
    area = hull_mask(LARGE).sum()
    assert hull_mask(LARGE, min_deviation_px=40).sum() < area
    assert hull_mask(LARGE, expansion_threshold=0.5).sum() < area
    assert hull_mask(LARGE, expansion_sigma_px=6).sum() > area
    softer = hull_mask(LARGE, blur_sigma_px=4)
    assert ((softer > 0.01) & (softer < 0.99)).sum() > ((hull_mask(LARGE) > 0.01) & (hull_mask(LARGE) < 0.99)).sum()


def test_hull_masks_of_many_units_equal_those_alone():
    masks = hull_masks(np.stack([LARGE, FLAT, IMAGE, BROKEN, LARGE[::-1]]), min_deviation_px=20)
    assert masks.failed.values.tolist() == ["", "the image is flat", "", "the image is not finite", ""]
    assert_array_equal(masks.mask[0], hull_mask(LARGE, 20))
    assert_array_equal(masks.mask[4], hull_mask(LARGE[::-1], 20))
    assert not masks.mask[2].any()  # no large lobe: empty, not failed
    assert np.isnan(masks.mask.values[[1, 3]]).all()


def test_hull_masks_hand_on_every_option():
    options = (30, 60, 2.0, 0.4, 1.0)
    assert_array_equal(hull_masks(LARGE[None], *options).mask[0], hull_mask(LARGE, *options))


def test_gaussian_mask_of_an_image():
    """C18: moments, envelope and mask."""
    found = gaussian_masks(np.stack([IMAGE, OBLIQUE]))
    assert_allclose([found.mu_x[0], found.mu_y[0]], [29.999752, 16.999949], atol=1e-6)
    assert_allclose(found["cov"][0], [[12.497322, -0.000893], [-0.000893, 4.500320]], atol=1e-6)
    assert_allclose([found.mask[0].sum(), found.mask[0, 20, 34]], [50.261889, 0.214843], atol=1e-6)
    assert gaussian_masks(IMAGE[None], power=1).mask.sum() == pytest.approx(94.241041, abs=1e-6)
    assert_allclose([found.mu_x[1], found.mu_y[1]], [29.882054, 16.863901], atol=1e-6)
    cov = found["cov"][1]
    assert_allclose([cov.sel(axis="x", axis2="x"), cov.sel(axis="y", axis2="y")], [16.134996, 11.855915], atol=1e-6)
    assert_allclose([cov.sel(axis="x", axis2="y"), cov.sel(axis="y", axis2="x")], -7.109574, atol=1e-6)
    envelope = gaussian_masks(OBLIQUE[None], power=1).mask[0]
    assert envelope[20, 34] == pytest.approx(0.380933, abs=1e-6)


def test_gaussian_moments_equal_weighted_sums():
    density = (OBLIQUE - OBLIQUE.mean()) ** 2
    mu, cov = gaussian_moments(OBLIQUE)
    assert_allclose(mu, [np.average(X, weights=density), np.average(Y, weights=density)])
    assert_allclose(cov, np.cov(X.ravel(), Y.ravel(), aweights=density.ravel(), ddof=0))
    together = gaussian_moments(np.stack([IMAGE, OBLIQUE]))
    assert_allclose(together[0][1], mu)
    assert_allclose(together[1][1], cov)


def test_envelope_is_the_root_of_a_gaussian_of_peak_one():
    cov = np.array([[9.0, 2.0], [2.0, 4.0]])
    envelope = gaussian_envelope(np.array([20.0, 10.0]), cov, 36, 64)
    assert envelope.shape == (36, 64)
    assert envelope[10, 20] == 1 and envelope.max() == 1
    offset = np.array([3.0, -1.0])  # x, y
    assert envelope[9, 23] ** 2 == pytest.approx(np.exp(-offset @ np.linalg.inv(cov) @ offset / 2))
    density = gaussian_envelope(np.array([31.5, 17.5]), cov, 36, 64) ** 2
    assert_allclose(np.cov(X.ravel(), Y.ravel(), aweights=density.ravel(), ddof=0), cov, rtol=1e-3)


def test_gaussian_masks_of_many_units_equal_those_alone():
    line = np.full_like(IMAGE, 100.0)
    line[17, [20, 40]] = 50, 150  # mean 100: only one row deviates
    meis = np.stack([IMAGE, FLAT, OBLIQUE, BROKEN, line])
    together = gaussian_masks(meis)
    assert together.failed.values.tolist() == [
        "",
        "the image is flat",
        "",
        "the image is not finite",
        "the image deviates from its mean along a line only",
    ]
    for unit in (0, 2):
        alone = gaussian_masks(meis[[unit]])
        for name in ("mask", "mu_x", "mu_y", "cov"):
            assert_array_equal(together[name][unit], alone[name][0])
    for name in ("mask", "mu_x", "mu_y", "cov"):
        assert np.isnan(together[name].values[[1, 3, 4]]).all()


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"hull_masks: meis must be \(unit, y, x\)"):
        hull_masks(IMAGE)
    with pytest.raises(ValueError, match=r"gaussian_masks: meis must be \(unit, y, x\)"):
        gaussian_masks(IMAGE)
    with pytest.raises(ValueError, match="power"):
        gaussian_masks(IMAGE[None], power=0)


def test_no_unit_gives_no_mask():
    for found in (hull_masks(np.zeros((0, 36, 64))), gaussian_masks(np.zeros((0, 36, 64)))):
        assert found.mask.shape == (0, 36, 64) and found.failed.dtype.kind == "U"
