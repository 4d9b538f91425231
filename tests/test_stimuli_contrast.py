import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic.data.calibration import MonitorCalibration
from neurostatic.data.frames import area_resize
from neurostatic.problems import InputError
from neurostatic.stimuli.contrast import match_many, match_stats
from neurostatic.stimuli.luminance import luminance_chain, round_to_uint8, upscale

Y, X = np.mgrid[:36, :64].astype(float)
FILTER = np.exp(-((X - 30) ** 2 / 50 + (Y - 17) ** 2 / 18)) * np.cos(
    2 * np.pi * ((X - 30) * np.cos(np.pi / 6) + (Y - 17) * np.sin(np.pi / 6)) / 9 + 0.3
)
IMAGE = 120 + 60 * FILTER
SOFT_MASK = np.exp(-((X - 30) ** 2 + (Y - 17) ** 2) / 72)
RIPPLE = 128 + 40 * np.exp(-(((X - 30) / 6) ** 2) - ((Y - 18) / 4) ** 2) * np.sin(0.6 * X + 0.3 * Y)
BINARY = np.where(FILTER > 0.1, 60.0, 20.0)
HALF_STEP = 30 / 999  # the offset nearest to 0: without clipping +-0.03003 are equally good, ours is positive

CUBIC = MonitorCalibration(
    np.linspace(0, 255, 18), 2.6e-4 * np.linspace(0, 255, 18) ** 2.1 + 0.35, interpolation="cubic"
)
BRIGHT = MonitorCalibration(
    np.arange(0, 256, 15), 0.4 + 42 * (np.arange(0, 256, 15) / 255) ** 1.7, interpolation="cubic"
)


def brute_force(image, mean, contrast, low, high, mask):
    """The published search, image by image, with our rules: ties by |offset| then sign, stop at gain 1."""
    deviation = image - (image * mask).sum() / mask.sum()

    def render(gain, offset):
        return np.clip(gain * deviation * mask + mean + offset, low, high)

    gain = contrast / render(1, 0).std()
    sign = np.sign(np.log(gain))
    nearest = np.abs(deviation[mask > 0]).min()
    max_gain = min(max(high - mean, mean - low) / nearest if nearest > 0 else np.inf, 6000)
    tried = []
    while True:
        offsets = np.linspace(-30, 30, 1000)
        errors = [abs(render(gain, offset).mean() - mean) for offset in offsets]
        equal = [o for o, e in zip(offsets, errors, strict=True) if e <= min(errors) + 1e-9 * (high - low)]
        offset = min(equal, key=lambda o: (round(abs(o), 6), o < 0))
        std = render(gain, offset).std()
        tried.append((std, gain, offset))
        if sign == 0 or (std - contrast) * sign > 0:
            break
        gain *= 1.05**sign
        if gain > max_gain or gain < 0.001:
            break
    std, gain, offset = min(tried, key=lambda t: abs(t[0] - contrast))
    return render(gain, offset), np.clip(gain * deviation + mean + offset, low, high), gain, offset


def test_match_stats_of_a_small_image():
    image = np.array([[1.0, 2, 3], [4, 5, 9]])
    matched = match_stats(image, 10, 2, 0, 40)
    assert matched.gain == pytest.approx(0.774597, rel=1e-5)
    assert matched.offset == pytest.approx(HALF_STEP)  # published: -0.030030, a tie decided by rounding
    assert matched.mean == pytest.approx(9.969970 + 2 * HALF_STEP)
    assert matched.contrast == pytest.approx(2.0)
    assert matched.image[0, 0] == pytest.approx(7.646180 + 2 * HALF_STEP, rel=1e-6)
    assert matched.image[1, 2] == pytest.approx(13.842953 + 2 * HALF_STEP, rel=1e-6)


def test_match_stats_raises_the_gain_when_pixels_clip():
    matched = match_stats(np.array([[1.0, 2, 3], [4, 5, 9]]), 2, 3, 0, 40)
    expected = [1.441343, -0.870871, 2.005907, 2.978437]
    assert_allclose([matched.gain, matched.offset, matched.mean, matched.contrast], expected, rtol=1e-5)
    assert_allclose(matched.image, [[0, 0, 0], [1.1291, 2.5705, 8.3358]], atol=5e-5)


def test_match_stats_golden_images():
    matched = match_stats(IMAGE, 111, 16, 0, 255)
    assert_allclose([matched.mean, matched.contrast], [111.021736, 15.923791], rtol=1e-7)
    assert_allclose(matched.image[[17, 20, 0], [30, 34, 0]], [255, 54.441800, 110.992991], rtol=1e-7)

    matched = match_stats(IMAGE, 111, 60, 0, 255)
    assert_allclose([matched.mean, matched.contrast], [111.017321, 59.981859], rtol=1e-7)
    assert_allclose(matched.image[[17, 20, 0], [30, 34, 0]], [255, 0, 108.005052], rtol=1e-7)

    matched = match_stats(IMAGE, 111, 0.5, 0, 255)
    assert_allclose([matched.mean, matched.contrast], [111.030030, 0.5], rtol=1e-7)

    matched = match_stats(IMAGE, 10, 2, 0.5, 30)
    assert_allclose([matched.mean, matched.contrast], [9.983207, 1.979946], rtol=1e-6)
    assert matched.image[17, 30] == pytest.approx(29.343139, rel=1e-7)


def test_match_stats_with_a_mask_and_its_unmasked_companion():
    # Nothing clips, so this is a tie: the published answer lies two half steps lower.
    matched = match_stats(IMAGE, 111, 8, 0, 255, SOFT_MASK)
    assert matched.mean == pytest.approx(110.969970 + 2 * HALF_STEP, rel=1e-7)
    assert matched.contrast == pytest.approx(8.0)
    expected = np.array([201.213676, 86.002903]) + 2 * HALF_STEP
    assert_allclose(matched.image[[17, 20], [30, 34]], expected, rtol=1e-7)
    assert matched.unmasked.mean() == pytest.approx(109.851412 + 2 * HALF_STEP, rel=1e-7)
    assert matched.unmasked.std() == pytest.approx(9.673564, rel=1e-6)


@pytest.mark.parametrize(
    ("image", "mean", "contrast", "low", "high", "mask"),
    [
        (IMAGE, 111, 16, 0, 255, np.ones_like(IMAGE)),
        (IMAGE, 111, 8, 0, 255, SOFT_MASK),
        (IMAGE, 10, 2, 0.5, 30, SOFT_MASK),
        (BINARY, 30, 40, 5, 60, np.ones_like(IMAGE)),  # out of reach: the search ends at the largest gain
        (RIPPLE, 20, 3, 0.4, 42.4, (SOFT_MASK > 0.5).astype(float)),
        (IMAGE, 120, IMAGE.std(), 0, 255, np.ones_like(IMAGE)),  # the first gain is 1: must end
    ],
)
def test_match_stats_equals_the_plain_loop(image, mean, contrast, low, high, mask):
    image, mask = image[::3, ::3], mask[::3, ::3]
    fast = match_stats(image, mean, contrast, low, high, mask)
    slow_image, slow_unmasked, gain, offset = brute_force(image, mean, contrast, low, high, mask)
    assert (fast.gain, fast.offset) == (pytest.approx(gain, rel=1e-10), pytest.approx(offset, abs=1e-9))
    assert_allclose(fast.image, slow_image, atol=1e-8)
    assert_allclose(fast.unmasked, slow_unmasked, atol=1e-8)


@pytest.mark.parametrize("mask", [None, SOFT_MASK, (SOFT_MASK > 0.3) * SOFT_MASK, (SOFT_MASK > 0.5).astype(float)])
@pytest.mark.parametrize(("mean", "contrast", "low", "high"), [(111, 16, 0, 255), (111, 90, 0, 255), (18, 9, 0.4, 42)])
def test_match_many_equals_match_stats(mask, mean, contrast, low, high):
    """Of images that have to grow or to shrink, that clip or do not, a flat one, and one alone."""
    rng = np.random.default_rng(0)
    images = rng.gamma(2, 40, (12, 36, 64)).clip(0, 255) * rng.uniform(0.05, 1, (12, 1, 1))
    images = np.concatenate([images, [IMAGE, RIPPLE, BINARY, np.full_like(IMAGE, 7)]])
    one_by_one = np.stack([match_stats(image, mean, contrast, low, high, mask).image for image in images])
    assert_array_equal(match_many(images, mean, contrast, low, high, mask), one_by_one)
    assert_array_equal(match_many(images[None, 3:4], mean, contrast, low, high, mask)[0, 0], one_by_one[3])
    assert (one_by_one[-1] == mean).all() and not (one_by_one[:-1] == mean).all((1, 2)).any()


@pytest.mark.parametrize("mask", [np.zeros_like(IMAGE), np.full_like(IMAGE, np.nan), np.ones((2, 2))])
def test_match_many_refuses_a_mask_that_is_none(mask):
    with pytest.raises(ValueError, match="a finite mask"):
        match_many(np.stack([IMAGE, RIPPLE]), 111, 16, 0, 255, mask)


def test_match_stats_ends_when_the_image_already_matches():
    image = np.array([[-1.0, 1.0], [1.0, -1.0]])
    matched = match_stats(image, 0, 1, -10, 10)
    assert matched.gain == 1.0
    assert matched.offset == pytest.approx(HALF_STEP)


def test_match_stats_of_a_full_stimulus_takes_milliseconds():
    image = upscale(IMAGE, 4)
    start = time.perf_counter()
    match_stats(image, 111, 60, 0, 255)  # 20 gains
    assert time.perf_counter() - start < 1.0  # a thousand images a gain would take tens of seconds


def test_match_stats_of_flat_images_and_bad_input():
    flat = match_stats(np.full((3, 4), 7.0), 10, 2, 0, 40)
    assert (flat.image == 10).all() and flat.contrast == 0
    with pytest.raises(ValueError, match="empty"):
        match_stats(IMAGE, 111, 16, 0, 255, np.zeros_like(IMAGE))
    with pytest.raises(ValueError, match="differ in shape"):
        match_stats(IMAGE, 111, 16, 0, 255, np.ones((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        match_stats(np.where(X == 3, np.nan, IMAGE), 111, 16, 0, 255)
    with pytest.raises(ValueError, match="impossible target"):
        match_stats(IMAGE, 300, 16, 0, 255)


def test_upscale_and_back():
    """C20, loop 16."""
    large = upscale(IMAGE, 4)
    assert large.shape == (144, 256)
    expected = [120.014518, 6.166347, 177.544239]
    assert_allclose([large.mean(), large.std(), large[70, 121]], expected, rtol=1e-6)
    (back,) = area_resize(large[None], 36, 64)
    assert back.shape == (36, 64)
    assert back[17, 30] == pytest.approx(175.666749, rel=1e-7)
    assert np.abs(back - IMAGE).max() == pytest.approx(2.514141, abs=1e-5)  # float32

    large = upscale(RIPPLE, 4)
    expected = [127.963516, 3.677948, 88.101242, 151.179506]
    assert_allclose([large.mean(), large.std(), large.min(), large.max()], expected, rtol=1e-4)


def test_rounding_is_to_the_nearest_pixel_value():
    pixels = np.array([-3, 0.4, 0.999, 127.5, 127.6, 254.99, 255, 260])
    assert_array_equal(round_to_uint8(pixels), [0, 0, 1, 128, 128, 255, 255, 255])


@pytest.mark.parametrize(
    ("target", "matched", "background", "mean_px", "truncated_sum"),
    [
        ((10, 2), (10.027572, 1.967414), 149.755248, 149.342564, 5480063),
        ((16, 1.5), (16.023613, 1.511638), 188.698203, 188.721114, 6933181),
    ],
)
def test_luminance_chain_golden(target, matched, background, mean_px, truncated_sum):
    stimulus = luminance_chain(IMAGE, CUBIC, *target)
    assert_allclose([stimulus.matched.mean, stimulus.matched.contrast], matched, rtol=1e-6)
    assert_allclose([stimulus.pixels[0, 0], stimulus.pixels.mean()], [background, mean_px], rtol=1e-7)
    assert stimulus.pixels.astype(np.uint8).sum() == truncated_sum  # the published truncation
    assert_array_equal(stimulus.image, np.rint(stimulus.pixels))
    assert stimulus.image.dtype == np.uint8 and stimulus.image.shape == (144, 256)
    # what is reported is what the rounded image shows, and rounding hardly darkens it
    shown = CUBIC.luminance(stimulus.image)
    assert (stimulus.mean_cd_m2, stimulus.contrast_cd_m2) == (
        pytest.approx(shown.mean()),
        pytest.approx(shown.std()),
    )
    truncated = CUBIC.luminance(stimulus.pixels.astype(np.uint8)).mean()
    assert abs(stimulus.mean_cd_m2 - stimulus.matched.mean) < abs(truncated - stimulus.matched.mean)


def test_luminance_chain_of_the_closed_loop_image():
    stimulus = luminance_chain(RIPPLE, BRIGHT)
    found = stimulus.matched
    assert_allclose([found.gain, found.offset], [3.950473, -0.090090], rtol=1e-4)
    expected = [9.980938, 1.972780, 26.721550]
    assert_allclose([found.mean, found.contrast, found.image.max()], expected, rtol=1e-4)
    pixels = stimulus.pixels
    expected = [106.079995, 15.161926, 193.715789]
    assert_allclose([pixels.mean(), pixels.std(), pixels.max()], expected, rtol=1e-4)
    truncated = pixels.astype(np.uint8)
    assert truncated.sum() == pytest.approx(3894094, rel=1e-4)
    shown = BRIGHT.luminance(truncated)
    assert_allclose([shown.mean(), shown.std()], [9.913119, 1.964706], rtol=1e-4)
    assert abs(stimulus.mean_cd_m2 - 9.980938) < abs(9.913119 - 9.980938)  # nearer than by truncation

    shifted = np.roll(pixels, (-4, 4), axis=(0, 1))  # +1 x, -1 y in model px
    assert shifted[96, 134] == pixels[100, 130] == pytest.approx(117.615116, rel=1e-4)
    small, small_shifted = area_resize(np.stack([pixels, shifted]), 36, 64)
    assert_allclose(small_shifted, np.roll(small, (-1, 1), axis=(0, 1)), rtol=1e-6)
    assert_allclose(small[[18, 20], [33, 26]], [110.928135, 135.981410], rtol=1e-4)


def test_match_stats_with_a_soft_mask_in_luminance():
    mask = upscale(np.exp(-(((X - 30) / 10) ** 2) - ((Y - 18) / 7) ** 2), 4)
    assert mask.sum() == pytest.approx(3635.269302, rel=1e-6)
    matched = match_stats(BRIGHT.luminance(upscale(RIPPLE, 4)), 10, 2, 0.4, 42.4, mask)
    found = [matched.gain, matched.mean, matched.contrast, matched.image[0, 0]]
    assert_allclose(found, [5.371546, 10.023026, 2.033164, 9.909910], rtol=1e-4)
    assert_allclose([matched.unmasked.mean(), matched.unmasked.std()], [10.401627, 2.519668], rtol=1e-4)


def test_luminance_chain_with_a_tight_mask():
    mask = np.where(SOFT_MASK < 0.05, 0, SOFT_MASK)
    large = upscale(mask, 4)
    assert_allclose([large.sum(), large.min(), large.max()], [3550.207, -0.011629, 0.999669], rtol=1e-4)
    published = match_stats(
        CUBIC.luminance(upscale(IMAGE, 4)), 10, 2, CUBIC.darkest_cd_m2, CUBIC.brightest_cd_m2, large
    )
    assert_allclose([published.mean, published.contrast], [10.017219, 2.025599], rtol=1e-6)
    assert CUBIC.pixel(published.image).mean() == pytest.approx(149.190830, rel=1e-7)
    # ours clips the overshoot of the mask, which changes little here
    ours = luminance_chain(IMAGE, CUBIC, mask=mask)
    assert_allclose([ours.matched.mean, ours.matched.contrast], [10.017219, 2.025599], rtol=5e-5)
    clipped = match_stats(
        CUBIC.luminance(upscale(IMAGE, 4)),
        10,
        2,
        CUBIC.darkest_cd_m2,
        CUBIC.brightest_cd_m2,
        np.clip(large, 0, 1),
    )
    assert_array_equal(ours.matched.image, clipped.image)
    assert not np.array_equal(published.image, clipped.image)
    assert len(np.unique(ours.image[:, :40])) == 1  # background at one gray


def test_luminance_chain_refuses_what_the_monitor_cannot_show():
    with pytest.raises(InputError, match=r"40 cd/m2 cannot be shown.*0.35 to 29.7"):
        luminance_chain(IMAGE, CUBIC, mean_cd_m2=40)
    with pytest.raises(InputError, match="larger than 0"):
        luminance_chain(IMAGE, CUBIC, contrast_cd_m2=0)
