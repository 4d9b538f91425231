from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter

from neurostatic.stimuli.masks import erode, first_hull, mask_image, tight_masks

Y, X = np.mgrid[:36, :64].astype(float)
BIAS, SCALE = 112.0, 60.0


def gabor(cx=30.0, cy=17.0, sx=5.0, sy=3.0, th=np.pi / 6, lam=9.0, ph=0.3):
    along = (X - cx) * np.cos(th) + (Y - cy) * np.sin(th)
    envelope = np.exp(-((X - cx) ** 2 / (2 * sx**2) + (Y - cy) ** 2 / (2 * sy**2)))
    return envelope * np.cos(2 * np.pi * along / lam + ph)


FILTER = gabor()
IMAGE = 120 + 60 * FILTER


def elu(v):
    return np.where(v > 0, v, np.expm1(np.minimum(v, 0)))


def linear_unit(images):
    return elu(0.05 * np.einsum("yx,byx->b", FILTER, (images - BIAS) / SCALE) - 0.2) + 1


# The toy ensemble: 4 seeds of a linear and a quadratic filter.
LINEAR = np.stack([gabor(cx=22 + 0.3 * seed, th=0.0) for seed in range(4)])
QUADRATIC = np.stack([gabor(cx=22 + 0.3 * seed, th=0.0, ph=0.3 + np.pi / 2) for seed in range(4)])


def toy_drive(z):
    quadratic = np.einsum("syx,byx->bs", QUADRATIC, z)
    return 0.03 * np.einsum("syx,byx->bs", LINEAR, z) - 0.2 + 0.002 * quadratic**2, quadratic


def toy_ensemble(images):
    return (elu(toy_drive((images - BIAS) / SCALE)[0]) + 1).mean(1)


@cache
def toy_mei():
    """MEI of the toy ensemble by the published recipe: preconditioned ascent, clip, shrinking blur."""
    fx = np.minimum(np.arange(64), 63 - np.arange(64))
    fy = np.minimum(np.arange(36), 35 - np.arange(36))[:, None]
    transfer = 1 / np.maximum(1, fx**2 + fy**2) ** 0.1
    transfer = (transfer / transfer.mean())[:, :33]
    for column in (0, 32):
        transfer[36 - np.arange(1, 18), column] = transfer[np.arange(1, 18), column]
    start = np.clip(np.random.RandomState(0).normal(128, 8, (36, 64, 1))[..., 0], 0, 255)
    z = (start - BIAS) / SCALE
    for i in range(1000):
        sigma, step = 1.5 - 1.49 * i / 1000, 3.0 - 2.875 * i / 1000
        drive, quadratic = toy_drive(z[None])
        slope = np.where(drive > 0, 1, np.exp(np.minimum(drive, 0)))[0] / 4
        gradient = np.einsum("s,syx->yx", slope * 0.03, LINEAR)
        gradient += np.einsum("s,syx->yx", slope * 0.004 * quadratic[0], QUADRATIC)
        gradient = np.fft.irfft2(np.fft.rfft2(gradient) * transfer, s=(36, 64))
        z = z + step * 0.1 / 255 * gradient / np.abs(gradient).mean()
        z = gaussian_filter(np.clip(z, -BIAS / SCALE, (255 - BIAS) / SCALE), sigma)
    return z * SCALE + BIAS


def test_hull_and_erosions():
    assert np.abs(IMAGE - IMAGE.mean()).std() == pytest.approx(5.860577, rel=1e-6)
    hull = first_hull(IMAGE)
    once, twice = erode(hull), erode(erode(hull))
    assert [hull.sum(), once.sum(), twice.sum()] == pytest.approx([220, 156, 100], rel=0.05)
    blurred = gaussian_filter(once.astype(float), 1)
    assert blurred.sum() == pytest.approx(156, rel=0.05)
    assert blurred[17, 38] == pytest.approx(0.828228, rel=0.05)
    assert blurred[17, 30] == pytest.approx(1)


def test_erosion_does_not_start_at_the_border_of_the_frame():
    mask = np.zeros((8, 10), dtype=bool)
    mask[:5, :6] = True
    eroded = erode(mask)
    assert eroded.sum() == 20
    assert eroded[:4, :5].all()


def test_mask_image():
    mask = np.exp(-((X - 30) ** 2 + (Y - 17) ** 2) / 72)
    blended = mask_image(IMAGE, mask, 112)
    assert blended.mean() == pytest.approx(112.853294, rel=1e-7)
    assert blended[20, 34] == pytest.approx(102.498536, rel=1e-7)
    assert_allclose(
        mask_image(np.array([[200.0, 100], [50, 240]]), np.array([[0, 0.5], [1, 0.25]]), 110),
        [[110, 105], [50, 142.5]],
    )


def tight_mask(mei, respond, *options, **limit):
    """The mask of one MEI."""
    return tight_masks(mei[None], lambda images, _: respond(images), *options, **limit).isel(unit=0)


def test_tight_mask_of_a_linear_unit():
    result = tight_mask(IMAGE, linear_unit)
    assert int(result.erosions) == 3
    assert str(result.failed.values) == ""
    assert float(result.reduction_ratio) == pytest.approx(0.791121, rel=0.05)
    assert float(result.tight_mask.sum()) == pytest.approx(56, rel=0.05)
    assert float(result.tight_mask[17, 30]) == pytest.approx(0.998919, rel=0.01)


def test_tight_mask_ratio_is_that_of_the_mask_given_back():
    result = tight_mask(IMAGE, linear_unit)
    hull = gaussian_filter(first_hull(IMAGE).astype(float), 1)
    first, last = (mask_image(IMAGE, m, IMAGE.mean()) for m in (hull, result.tight_mask.values))
    ratio = linear_unit(last[None])[0] / linear_unit(first[None])[0]
    assert float(result.reduction_ratio) == pytest.approx(ratio, rel=1e-12)
    assert ratio <= 0.9


@pytest.mark.parametrize(
    ("factor", "sigma", "target", "ratio", "area"),
    [
        (1.0, 1.0, 0.9, 0.876383, 96),
        (1.0, 1.0, 0.95, 0.876383, 96),
        (1.0, 2.0, 0.9, 0.814848, 96),
        (0.8, 1.0, 0.9, 0.750540, 62),
        (1.0, 3.0, 0.9, 0.765150, 96),
    ],
)
def test_tight_masks_of_the_toy_ensemble(factor, sigma, target, ratio, area):
    mei = toy_mei()
    assert toy_ensemble(mei[None])[0] == pytest.approx(2.575604, rel=1e-4)
    result = tight_mask(mei, toy_ensemble, factor, sigma, target)
    assert float(result.reduction_ratio) == pytest.approx(ratio, rel=0.05)
    assert float(result.tight_mask.sum()) == pytest.approx(area, rel=0.05)


def test_units_in_lock_step_equal_units_alone_and_failures_touch_nobody():
    units = [linear_unit, toy_ensemble, linear_unit, lambda images: np.ones(len(images)), linear_unit]
    meis = np.stack([IMAGE, toy_mei(), np.full_like(IMAGE, 9.0), IMAGE, np.where(X == 5, np.nan, IMAGE)])
    asked = []

    def respond_paired(images, positions):
        asked.append(list(positions))
        return np.array([units[unit](image[None])[0] for unit, image in zip(positions, images, strict=True)])

    together = tight_masks(meis, respond_paired)
    assert together.failed.values[:2].tolist() == ["", ""]
    assert "no pixel of the MEI deviates by 1 standard deviations" in str(together.failed.values[2])
    assert "stays above the target" in str(together.failed.values[3])
    assert "not finite" in str(together.failed.values[4])
    assert np.isnan(together.reduction_ratio.values[2:]).all()
    assert np.isnan(together.tight_mask.values[2:]).all()
    for unit in (0, 1):
        alone = tight_mask(meis[unit], units[unit])
        assert_array_equal(together.tight_mask[unit], alone.tight_mask)
        assert float(together.reduction_ratio[unit]) == float(alone.reduction_ratio)
        assert int(together.erosions[unit]) == int(alone.erosions)
    assert asked[0] == [0, 1, 3] and asked[-1] == [3]  # a finished unit is not asked again


@pytest.mark.parametrize("answer", [0.0, -1.0, np.nan])
def test_baseline_must_be_positive(answer):
    result = tight_mask(IMAGE, lambda images: np.full(len(images), answer))
    assert "not positive" in str(result.failed.values)
    assert np.isnan(result.reduction_ratio) and int(result.erosions) == 0


def test_erosions_are_limited_and_counted():
    result = tight_mask(IMAGE, lambda images: np.ones(len(images)), max_erosions=2)
    assert int(result.erosions) == 2
    assert "after 2 erosions" in str(result.failed.values)
    answers = iter([1.0, 0.95, 0.5])
    result = tight_mask(IMAGE, lambda images: np.array([next(answers)]), max_erosions=2)
    assert str(result.failed.values) == "" and int(result.erosions) == 2 and float(result.reduction_ratio) == 0.5


def test_a_mask_eroded_to_nothing_is_no_mask():
    result = tight_mask(IMAGE, lambda images: np.where(np.ptp(images, axis=(1, 2)) > 0, 1.0, 0.5))
    assert "nothing is left" in str(result.failed.values)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(unit, y, x\)"):
        tight_masks(IMAGE, lambda images, positions: positions)
    with pytest.raises(ValueError, match="expected"):
        tight_masks(IMAGE[None], lambda images, positions: np.ones((1, 1)))


def test_no_unit_gives_no_mask():
    result = tight_masks(np.zeros((0, 36, 64)), linear_unit)
    assert result.tight_mask.shape == (0, 36, 64) and result.failed.shape == (0,)
