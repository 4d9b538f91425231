"""Golden checks C15 and C36, and experiments on toy networks whose answers are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic.stimuli.insilico import adjust_contrast, insilico_confusion, shift_responses

Y, X = np.mgrid[:36, :64].astype(float)


def gabor(cx=30.0, cy=17.0, th=np.pi / 6, ph=0.3):
    along = (X - cx) * np.cos(th) + (Y - cy) * np.sin(th)
    return np.exp(-((X - cx) ** 2 / 50 + (Y - cy) ** 2 / 18)) * np.cos(2 * np.pi * along / 9 + ph)


IMAGE = 120 + 60 * gabor()
FILTERS = np.stack([gabor(cx, 17, th) for cx, th in ((16, 0.0), (30, 0.5), (44, 1.0), (30, 2.0))])
IDS = [7, 3, 12, 5]


def respond_all(images_px):
    return np.einsum("iyx,uyx->iu", images_px, FILTERS)


def respond_paired(images_px, positions):
    return np.einsum("iyx,iyx->i", images_px, FILTERS[positions])


def slow_adjust(image, contrast, mean, low, high, steps):
    """The search as the specification words it, every offset on a copy of the image."""
    deviation = image - image.mean()
    gain = contrast / image.std()
    last = max((high - mean) / deviation[deviation > 0].min(), (mean - low) / -deviation[deviation < 0].max())
    tried = []
    shifts = np.linspace(0, high - low, steps)
    for factor in np.logspace(np.log10(gain), np.log10(last), steps):
        clipped = np.clip(deviation * factor + mean, low, high)
        excess = clipped.mean() - mean
        room = high - clipped if excess < 0 else clipped - low
        means = np.minimum(room, shifts[:, None, None]).mean((1, 2))
        shift = shifts[np.abs(means - abs(excess)).argmin()]
        clipped = np.clip(clipped + (shift if excess < 0 else -shift), low, high)
        tried.append(clipped)
        if clipped.std() > contrast:
            break
    return min(tried, key=lambda candidate: abs(candidate.std() - contrast))


@pytest.mark.parametrize(
    ("target", "expected"),  # mean, std, [17, 30], [20, 34], [0, 0]
    [({"contrast": 16, "mean": 111}, (110.990160, 16.008895, 255, 54.061410, 110.962731)),
     ({"contrast": 60, "mean": 111}, (110.985252, 60.006233, 255, 5.815163, 107.082091)),
     ({"contrast": 60, "mean": 111, "force": False}, (111.224074, 30.231067, 255, 0, 110.861103)),
     ({"contrast": 16, "mean": 111, "low": 5, "high": 130}, (110.997942, 15.997831, 130, 11.084391, 113.083624)),
     ({"contrast": 60, "mean": 200, "steps": 500}, (199.984973, 60.034237, 255, 21.973948, 215.809041))],
)  # fmt: skip
def test_adjust_contrast(target, expected):
    """C15: contrast and mean hold after clipping, by force; without it they do not."""
    image, clipped, contrast = adjust_contrast(IMAGE, **target)
    assert clipped is True
    assert contrast == image.std()
    assert_allclose((image.mean(), image.std(), image[17, 30], image[20, 34], image[0, 0]), expected, atol=1e-6)


def test_adjust_contrast_leaves_alone_what_fits():
    """C15, defaults: the image's own contrast and mean; and a target that does not clip needs no search."""
    image, clipped, contrast = adjust_contrast(IMAGE)
    assert_allclose(image, IMAGE, atol=1e-12)
    assert clipped is False and contrast == pytest.approx(6.067655, abs=1e-6)
    image, clipped, _ = adjust_contrast(IMAGE, 4, 100)
    assert clipped is False
    assert_allclose((image.mean(), image.std()), (100, 4), atol=1e-12)
    assert_allclose(image, (IMAGE - IMAGE.mean()) * (4 / IMAGE.std()) + 100, atol=1e-12)


def test_adjust_contrast_without_force():
    """The image is scaled and clipped, and nothing makes up for what was clipped."""
    out, clipped, contrast = adjust_contrast(IMAGE, 60, 111, force=False)
    assert clipped is True and contrast == out.std()
    assert_allclose([out.mean(), out.std()], [111.224074, 30.231067], rtol=1e-7)
    assert_allclose(out[[20, 0], [34, 0]], [0, 110.861103], rtol=1e-7)


def test_adjust_contrast_equals_the_slow_search():
    """Running sums give what a copy of the image for every offset gives: means raised and lowered, skewed images."""
    rng = np.random.default_rng(0)
    lowered = 0
    for n in range(10):
        image = rng.normal(size=(12, 16)) * 30 + 120
        image = image if n % 2 else np.exp(image / 40)
        contrast, mean = rng.uniform(40, 70), rng.uniform(70, 190)
        image = image if n % 4 < 2 else -image
        found, clipped, _ = adjust_contrast(image, contrast, mean, steps=200)
        assert clipped
        assert_allclose(found, slow_adjust(image, contrast, mean, 0, 255, 200), atol=1e-9)
        lowered += adjust_contrast(image, contrast, mean, force=False)[0].mean() > mean
    assert 0 < lowered < 10


@pytest.mark.parametrize(
    ("image", "target"),
    [(np.full((4, 5), 128.0), {}), (np.full((4, 5), np.nan), {}), (IMAGE, {"contrast": 0}), (IMAGE, {"mean": 255}),
     (IMAGE, {"mean": 120, "low": 121}), (IMAGE, {"contrast": 99, "steps": 1})],
)  # fmt: skip
def test_adjust_contrast_refuses(image, target):
    """C36: a flat image; and targets that no image has."""
    with pytest.raises(ValueError, match="adjust_contrast"):
        adjust_contrast(image, **target)


def test_every_image_is_shown_to_every_unit():
    """Rows are images, columns are units, each entry by brute force; an image's own contrast does not count."""
    images = 128 + FILTERS * np.array([3, 10, 40, 100])[:, None, None]
    confusion = insilico_confusion(images, IDS, respond_all)
    assert confusion.dims == ("image_unit_id", "matched_unit_id")
    for i, image in enumerate(images):
        shown, _, contrast = adjust_contrast(image, 16, 111)
        assert confusion.contrast_px.sel(image_unit_id=IDS[i]) == contrast
        for j, weights in enumerate(FILTERS):
            entry = confusion.sel(image_unit_id=IDS[i], matched_unit_id=IDS[j])
            assert_allclose(entry, (shown * weights).sum(), rtol=1e-12)
    assert_array_equal(confusion.argmax("image_unit_id"), range(4))  # each unit prefers its own image
    assert_allclose(confusion.contrast_px, 16, atol=0.05)
    equal = insilico_confusion(128 + FILTERS * 20, IDS, respond_all)
    assert_allclose(confusion, equal, atol=1e-9)

    # Images of other units: no longer its own that a unit prefers.
    mixed = insilico_confusion(images[[1, 2, 3, 0]], IDS, respond_all)
    assert_array_equal(mixed.argmax("image_unit_id"), [3, 0, 1, 2])
    forced = insilico_confusion(images, IDS, respond_all, contrast_px=50)
    assert_allclose(forced.contrast_px, 50, atol=0.1)
    assert all(adjust_contrast(image, 50, 111, force=False)[2] < 40 for image in images)


def test_an_image_that_failed_stays_nan_and_touches_no_other():
    images = 128 + FILTERS * 20
    whole = insilico_confusion(images, IDS, respond_all)
    images[1, 3, 3] = np.nan
    confusion = insilico_confusion(images, IDS, respond_all)
    assert np.isnan(confusion[1]).all() and np.isnan(confusion.contrast_px[1])
    others = [0, 2, 3]
    assert_array_equal(confusion[others], whole[others])
    none = insilico_confusion(np.full_like(images, np.nan), IDS, respond_all)
    assert none.shape == (4, 4) and np.isnan(none).all()

    shifted = shift_responses(images, respond_paired, [0, 1])
    assert np.isnan(shifted[1]).all() and np.isfinite(shifted[others]).all()


def test_confusion_refuses():
    images = 128 + FILTERS * 20
    with pytest.raises(ValueError, match="flat"):
        insilico_confusion(np.concatenate([images[:3], np.full((1, 36, 64), 128.0)]), IDS, respond_all)
    with pytest.raises(ValueError, match=r"expected \(4, 4\)"):
        insilico_confusion(images, IDS, lambda px: respond_all(px)[:, :3])
    with pytest.raises(ValueError, match="3 images for 4 units"):
        insilico_confusion(images[:3], IDS, respond_all)


def test_shifted_images():
    """Rows move the image down, columns to the right, round the borders; each unit sees its own."""
    images = 128 + FILTERS * 20
    responses = shift_responses(images, respond_paired)
    assert responses.dims == ("unit", "y_shift", "x_shift") and responses.shape == (4, 11, 11)
    assert_array_equal(responses.y_shift, range(-5, 6))
    for down, right in ((0, 0), (-5, 2), (1, -4), (5, 5)):
        for unit in range(4):
            shown = adjust_contrast(images[unit], 16, 111)[0]
            shown = shown[np.ix_((np.arange(36) - down) % 36, (np.arange(64) - right) % 64)]
            found = responses.sel(y_shift=down, x_shift=right)[unit]
            assert_allclose(found, (shown * FILTERS[unit]).sum(), rtol=1e-12)
    assert (responses.argmax(("y_shift", "x_shift"))["y_shift"] == 5).all()

    moved = shift_responses(np.roll(images, (-1, 3), (1, 2)), respond_paired)  # then 1 down and 3 left undo it
    assert_allclose(moved.sel(y_shift=1, x_shift=-3), responses.sel(y_shift=0, x_shift=0))
    assert_array_equal(shift_responses(images, respond_paired, (-1, 0, 1)), responses[:, 4:7, 4:7])
