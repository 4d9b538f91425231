import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import rotate

from neurostatic.config import Gabors
from neurostatic.data.calibration import MonitorCalibration
from neurostatic.problems import InputError
from neurostatic.stimuli.contrast import match_stats
from neurostatic.stimuli.gabors import (
    LIMITS,
    PARAMETERS,
    best_gabors,
    candidates,
    create_gabor,
    gabor_stimulus,
    luminance_matched,
    optimal_gabors,
    pixel_lookup,
    pixel_matched,
)
from neurostatic.stimuli.luminance import upscale

Y, X = np.mgrid[:36, :64].astype(float)
FILTER = np.exp(-((X - 30) ** 2 / 50 + (Y - 17) ** 2 / 18)) * np.cos(
    2 * np.pi * ((X - 30) * np.cos(np.pi / 6) + (Y - 17) * np.sin(np.pi / 6)) / 9 + 0.3
)
LEVELS = np.linspace(0, 255, 18)
CUBIC = MonitorCalibration(LEVELS, 2.6e-4 * LEVELS**2.1 + 0.35, interpolation="cubic")
MONOTONE = MonitorCalibration(LEVELS, 2.6e-4 * LEVELS**2.1 + 0.35)
BRIGHT_LEVELS = np.arange(0, 256, 15)
BRIGHT = MonitorCalibration(BRIGHT_LEVELS, 0.4 + 42 * (BRIGHT_LEVELS / 255) ** 1.7, interpolation="cubic")
SMALL_GRID = Gabors("grid", (0, 90), (7, 10), (0, 45, 90), (3, 5), (-0.1, 0, 0.1), (-0.05, 0))
LINE = (90, 10, 45, 5, 0.1, -0.2)  # of check 22


def linear_elu(images_px):
    """The golden checks' model: ELU(0.05 <F, z> - 0.2) + 1."""
    drive = 0.05 * ((images_px - 112) / 60 * FILTER).sum((-2, -1)) - 0.2
    return np.where(drive > 0, drive, np.expm1(np.minimum(drive, 0))) + 1


def random_units(n_units, seed=0):
    filters = np.random.default_rng(seed).normal(size=(n_units, 36 * 64))
    return lambda images_px: (images_px.reshape(len(images_px), -1) - 111) @ filters.T


def published_gabor(phase, wavelength, orientation, sigma, dy, dx, height=36, width=64):
    """By the words of the specification: an image of the grating, turned as an image, windowed, cropped."""
    pad = max(height, width)
    n_rows, n_columns = height + 2 * pad, width + 2 * pad
    grating = np.repeat(np.sin(np.deg2rad(phase + 360 / wavelength * np.arange(n_rows)))[:, None], n_columns, 1)
    window = [np.exp(-((np.arange(n) - (n - 1) / 2) ** 2) / (2 * sigma**2)) for n in (n_rows, n_columns)]
    canvas = rotate(grating, orientation, reshape=False, order=3) * np.outer(*window)
    return np.roll(canvas, (int(dy * height), int(dx * width)), (0, 1))[pad : pad + height, pad : pad + width]


@pytest.mark.parametrize(
    ("parameters", "total", "std", "top", "at", "low", "points"),
    [
        ((0, 10, 0, 5, 0, 0), 0.886542, 0.130554, 0.941593, (18, 31), -0.740684, {(17, 30): 0.559119, (20, 34): 0.457768}),  # noqa: E501
        ((90, 10, 45, 5, 0.1, -0.2), 0.669453, 0.130521, 0.949809, (19, 19), -0.778601, {(17, 30): -0.052879}),
        ((180, 7, 22.5, 3, -0.3, 0.3), 1.196062, 0.07824955, 0.968383, (8, 51), -0.679573, {}),
    ],
)  # fmt: skip
def test_create_gabor_golden(parameters, total, std, top, at, low, points):
    """C19: three Gabors; loop 22: std and minimum of the second."""
    gabor = create_gabor(36, 64, *parameters)
    assert gabor.dtype == np.float32 and gabor.shape == (36, 64)
    assert_allclose([gabor.sum(), gabor.std(), gabor.max(), gabor.min()], [total, std, top, low], rtol=1e-5)
    assert np.unravel_index(gabor.argmax(), gabor.shape) == at
    for point, value in points.items():
        assert gabor[point] == pytest.approx(value, abs=1e-6)


def test_create_gabor_of_the_closed_loop():
    """Loop 22: mean 0.00029056 of the Gabor; range 1 has 72,800."""
    assert create_gabor(36, 64, *LINE).mean(dtype=float) == pytest.approx(0.00029056, rel=2e-5)
    assert len(candidates(Gabors())) == 72800
    assert_array_equal(create_gabor(), create_gabor(36, 64, 0, 10, 0, 5, 0, 0))


@pytest.mark.parametrize("phase_error_deg", [0, 90, -64 * 36])
def test_golden_value_holds_for_the_right_phase_only(phase_error_deg):
    """C19, negative control: a cosine, or rows counted from the top of the image, miss the golden value."""
    value = create_gabor(phase_deg=phase_error_deg)[17, 30]
    assert (value == pytest.approx(0.559119, abs=1e-3)) == (phase_error_deg == 0)


@pytest.mark.parametrize(
    "parameters",
    [
        (33.3, 4.2, 17.3, 2.1, 0.31, -0.33),
        (200, 19.1, 133.7, 8.7, -0.35, 0.35),
        (10, 12, 180, 9, 0, 0.25),
        (75, 6, 60, 30, 0.9, 0.9),  # so wide and far off that the sides of the turned canvas are seen
        (75, 6, 150, 40, -0.9, 1),
    ],
)
@pytest.mark.parametrize("size_px", [(36, 64), (40, 30)])
def test_create_gabor_equals_the_turned_image(parameters, size_px):
    drawn = create_gabor(*size_px, *parameters)
    assert_allclose(drawn, published_gabor(*parameters, *size_px), atol=1e-6)
    assert np.abs(drawn).max() > 0.01


def test_create_gabor_refuses():
    """C36: dx = -1; and what else makes no Gabor."""
    for shift in ({"dx": -1}, {"dx": 1.01}, {"dy": -1.5}, {"dy": np.nan}):
        with pytest.raises(ValueError, match="dy and dx"):
            create_gabor(**shift)
    for name in ("wavelength_px", "sigma_px"):
        for value in (0, -3, np.nan, np.inf):
            with pytest.raises(ValueError, match=name):
                create_gabor(**{name: value})


def test_grid_order_and_item_31234():
    """C30: 72,800 items; item 31234 = (90, 15, 90, 7, -0.2, 0.1)."""
    grid = Gabors()
    table = candidates(grid)
    assert len(table) == 72800 and tuple(table.columns) == PARAMETERS
    assert_allclose(table.loc[31234], [90, 15, 90, 7, -0.2, 0.1])
    assert_allclose(table.iloc[[0, 1, 13]].dx, [-0.3, -0.25, -0.3])
    assert_allclose(grid.orientations_deg, np.linspace(0, 180, 8, endpoint=False))
    assert_allclose(grid.dys, np.linspace(-0.3, 0.3, 7), atol=1e-12)
    assert_allclose(grid.dxs, np.linspace(-0.3, 0.3, 13), atol=1e-12)
    assert [int(dx * 64) for dx in grid.dxs] == [-int(dx * 64) for dx in grid.dxs[::-1]]
    with pytest.raises(ValueError, match="at least one value"):
        best_gabors(random_units(1), pixel_matched(), Gabors(dys=()))
    with pytest.raises(ValueError, match="sigma_px"):
        best_gabors(random_units(1), pixel_matched(), Gabors(sigmas_px=(3, 0)))


def test_item_31234_on_the_monitor():
    """C30: in px mean 148.422016, std 19.315421, [17, 30] 174.836700; in luminance 9.973695, 1.981462."""
    gabor = create_gabor(36, 64, *candidates(Gabors()).loc[31234])
    image_px = luminance_matched(CUBIC)(gabor)
    found = [image_px.mean(), image_px.std(), image_px[17, 30]]
    assert_allclose(found, [148.422016, 19.315421, 174.836700], atol=1e-4)  # the table's tolerance
    exact_px = CUBIC.pixel(match_stats(gabor, 10, 2, CUBIC.darkest_cd_m2, CUBIC.brightest_cd_m2).image)
    assert_allclose([exact_px.mean(), exact_px.std(), exact_px[17, 30]], [148.422016, 19.315421, 174.836700], atol=1e-6)
    shown = CUBIC.luminance(exact_px)
    assert_allclose([shown.mean(), shown.std()], [9.973695, 1.981462], atol=1e-6)


def test_gabor_responses_golden():
    """C31: responses to three Gabors matched in px, the third beyond the limits."""
    asked = np.array([(0, 10, 0, 5, 0, 0), (90, 9, 30, 4, 0, 0), (400, 30, 200, 1, -0.5, 0.5)])
    clipped = np.clip(asked, *np.transpose(LIMITS))
    assert_allclose(clipped[2], [360, 20, 180, 2, -0.35, 0.35])
    gabors = np.stack([create_gabor(36, 64, *row) for row in clipped])
    assert_allclose(linear_elu(pixel_matched()(gabors)), [0.812288, 1.797338, 0.817763], atol=2e-6)


def test_best_gabor_golden():
    """C31: the best of 1152 candidates, 3.248102 at (0, 10, 45, 3, 0, -0.05)."""
    orientations, dxs = (0, 45, 90, 135), (-0.1, -0.05, 0, 0.05)
    grid = Gabors("grid", (0, 90, 180, 270), (7, 10, 15), orientations, (3, 5), (-0.1, 0, 0.1), dxs)
    assert len(candidates(grid)) == 1152
    best = best_gabors(lambda px: linear_elu(px)[:, None], pixel_matched(), grid, report=lambda text: None)
    assert best.activation.item() == pytest.approx(3.248102, abs=3e-6)  # published in float32; ours is 3.248100
    assert [best[name].item() for name in PARAMETERS] == [0, 10, 45, 3, 0, -0.05]
    assert_array_equal(best.gabor[0], create_gabor(36, 64, 0, 10, 45, 3, 0, -0.05))
    assert linear_elu(best.gabor_px.values[0]) == pytest.approx(best.activation.item(), rel=1e-12)


def plain(images, *target):
    return np.stack([match_stats(image, *target).image for image in images])


@pytest.mark.parametrize("target", [(111, 16, 0, 255), (240, 40, 0, 255), (10, 2, 0.35, 29.77)])
def test_matching_many_equals_matching_one_by_one(target):
    """Gabors that clip on either side or not at all, and images of other kinds; all in one call."""
    mean, contrast, low, high = target

    def prepare(images):
        if high == 255:
            return pixel_matched(mean, contrast)(images)
        linear = MonitorCalibration([0, 255], [low, high])  # a straight line: px give back luminance
        return low + (high - low) / 255 * luminance_matched(linear, mean, contrast)(images)

    rng = np.random.default_rng(1)
    images = [create_gabor(36, 64, *row) for row in candidates(Gabors()).to_numpy()[::521]]
    images += [100 * images[3], 1e-3 * images[3], rng.normal(size=(36, 64)), rng.random((36, 64)) > 0.9]
    images += [np.eye(36, 64), -np.eye(36, 64), np.full((36, 64), 7.0), (X == 3) & (Y == 9), X > 31]
    images = np.stack(images).astype(float)
    expected = plain(images, *target)
    assert_allclose(prepare(images), expected, atol=1e-8)
    assert_allclose(prepare(images[7]), expected[7], atol=1e-8)  # (y, x) alone
    clips = ((expected == low) | (expected == high)).any((1, 2))
    assert 0.1 < clips.mean() < 1


def test_matching_many_of_an_image_that_already_matches():
    image = np.where(X % 2, 1.0, -1.0)
    assert_allclose(pixel_matched(100, 1)(image), plain(image[None], 100, 1, 0, 255)[0], atol=1e-12)
    assert_array_equal(pixel_matched(100, 1)(np.zeros((2, 36, 64))), np.full((2, 36, 64), 100.0))


@pytest.mark.parametrize("calibration", [CUBIC, MONOTONE, BRIGHT], ids=["cubic", "monotone", "bright"])
def test_pixel_lookup(calibration):
    steps = np.linspace(0, 1, 200001)
    low, high = calibration.darkest_cd_m2, calibration.brightest_cd_m2
    luminance = np.concatenate([low + (high - low) * steps, low + steps**4, high - steps**4, [low - 1, high + 1]])
    assert_allclose(pixel_lookup(calibration)(luminance), calibration.pixel(luminance), atol=1e-3)
    assert np.abs(pixel_lookup(calibration, 3)(luminance) - calibration.pixel(luminance)).max() > 1e-3  # is refined


def test_luminance_matched_refuses_what_the_monitor_cannot_show():
    with pytest.raises(InputError, match=r"mean luminance 40 .*0.35 to 29.7"):
        luminance_matched(MONOTONE, mean_cd_m2=40)
    with pytest.raises(InputError, match="larger than 0"):
        luminance_matched(MONOTONE, contrast_cd_m2=0)


@pytest.mark.parametrize("batch_size", [1, 13, 1000])
def test_best_gabors_equal_brute_force(batch_size):
    """The running maximum, in batches of any size; every candidate is shown once, in the order of the table."""
    prepare, respond, shown = luminance_matched(MONOTONE), random_units(7), []

    def respond_px(images_px):
        shown.append(images_px)
        return respond(images_px)

    best = best_gabors(respond_px, prepare, SMALL_GRID, batch_size=batch_size, report=lambda text: None)
    table = candidates(SMALL_GRID)
    low, high = MONOTONE.darkest_cd_m2, MONOTONE.brightest_cd_m2
    gabors = np.stack([create_gabor(36, 64, *row) for row in table.to_numpy()])
    images_px = MONOTONE.pixel(plain(gabors, 10, 2, low, high))
    assert_allclose(np.concatenate(shown), images_px, atol=1e-3)
    assert (len(shown) == 1) == (batch_size == 1000)

    responses = respond(np.concatenate(shown))
    assert_array_equal(best.candidate, responses.argmax(0))
    assert len(np.unique(best.candidate)) > 3
    assert_allclose(best.activation, responses.max(0), rtol=1e-12)
    for name in PARAMETERS:
        assert_array_equal(best[name], table[name].to_numpy()[best.candidate])
    assert_array_equal(best.gabor, gabors[best.candidate])
    assert_allclose(best.gabor_px, images_px[best.candidate], atol=1e-3)
    assert best.gabor.dims == best.gabor_px.dims == ("unit", "y", "x")
    assert (best.failed == "").all()


def test_best_gabors_ties_and_failed_units():
    """The first of equals wins, in one batch or in two; NaN never wins; a unit that cannot be served says why."""
    seen = []

    def respond_px(images_px):
        number = np.arange(len(images_px)) + sum(seen)
        seen.append(len(images_px))
        tied = np.isin(number, [9, 11, 40]).astype(float)
        tied_with_nan = np.where(np.isin(number, [0, 9, 143]), np.nan, tied)
        infinite = np.where(number == 5, np.inf, np.where(number == 6, -np.inf, number % 50))
        nothing, same = np.full(len(number), np.nan), np.ones(len(number))
        falling = -1.0 - number
        return np.stack([tied, tied_with_nan, infinite, nothing, same, falling], axis=1)

    best = best_gabors(respond_px, pixel_matched(), SMALL_GRID, batch_size=6, report=lambda text: None)
    assert_array_equal(best.candidate, [9, 11, 49, -1, -1, 0])
    assert_array_equal(best.activation, [1, 1, 49, np.nan, np.nan, -1])
    reasons = best.failed.values
    assert reasons[3] == "no response is finite" and "same to every Gabor" in reasons[4]
    assert (reasons[[0, 1, 2, 5]] == "").all()
    assert (
        np.isnan(best.phase_deg[3:5]).all() and np.isnan(best.gabor[3:5]).all() and np.isnan(best.gabor_px[3:5]).all()
    )
    assert np.isfinite(best.gabor_px[[0, 1, 2, 5]]).all()


def test_best_gabors_report_and_refuse():
    lines = []
    one = best_gabors(random_units(2), pixel_matched(), SMALL_GRID, batch_size=6, report=lines.append)
    assert len(lines) == 10 and lines[-1] == "144 of 144 Gabors (about 0 s left)"
    two = best_gabors(random_units(2), pixel_matched(), SMALL_GRID, batch_size=6, report=lines.append)
    assert one.identical(two)
    with pytest.raises(ValueError, match=r"expected responses \(144, unit\)"):
        best_gabors(lambda px: px[:, 0, 0], pixel_matched(), SMALL_GRID, report=lines.append)


SMALL_FILTER = np.random.default_rng(3).normal(size=(12, 16))


def small_linear(images_px, positions):
    return ((images_px - 111) * SMALL_FILTER).sum((1, 2)) * (1 + positions)


def search(n_units=1, respond=small_linear, **options):
    quick = {"height": 12, "width": 16, "maxiter": 5, "seeds": (1,), "report": lambda text: None, **options}
    return optimal_gabors(respond, pixel_matched(), n_units, **quick)


def test_optimal_gabor_beats_the_grid_within_the_limits():
    """C31: more than the 3.248102 of the grid."""
    found = search(respond=lambda px, positions: linear_elu(px), height=36, width=64, maxiter=60, seeds=(1,))
    assert found.activation.item() > 3.248102
    values = np.array([found[name].item() for name in PARAMETERS])
    lower, upper = np.transpose(LIMITS)
    assert ((values >= lower) & (values <= upper)).all()
    assert_array_equal(found.gabor[0], create_gabor(36, 64, *values))
    assert linear_elu(found.gabor_px.values[0]) == pytest.approx(found.activation.item(), rel=1e-9)
    assert found.failed.item() == ""


def test_optimal_gabors_are_deterministic_and_the_best_of_the_seeds():
    first, second, both = search(seeds=(1,)), search(seeds=(12,)), search(seeds=(1, 12))
    assert first.identical(search(seeds=(1,)))
    assert first.activation.item() != second.activation.item()
    assert both.identical(max(first, second, key=lambda found: found.activation.item()))


def test_optimal_gabors_clip_to_the_limits():
    """A unit that asks for ever more to the right and for ever larger windows gets the limits."""
    limits = ((0, 90), (8, 12), (0, 90), (3, 4), (-0.1, 0.1), (-0.1, 0.2))

    def respond(images_px, positions):
        energy = (images_px - 111) ** 2
        return (energy * np.arange(16)).sum((1, 2)) / energy.sum((1, 2))

    found = search(respond=respond, limits=limits)
    values = np.array([found[name].item() for name in PARAMETERS])
    lower, upper = np.transpose(limits)
    assert ((values >= lower) & (values <= upper)).all()
    assert int(found.dx.item() * 16) == 3  # the largest shift within the limit


def test_optimal_gabors_of_several_units():
    """Each unit is asked by its position, and one that fails does not touch the others."""
    lines = []

    def respond(images_px, positions):
        assert positions.shape == (len(images_px),)
        return np.where(positions == 1, np.nan, small_linear(images_px, positions))

    found = search(3, respond, report=lines.append)
    assert_array_equal(found.failed, ["", "a response is not finite", ""])
    assert found.activation[2] == pytest.approx(3 * found.activation[0].item(), rel=0.3)
    assert np.isnan(found.activation[1]) and np.isnan(found.dx[1]) and np.isnan(found.gabor[1]).all()
    assert search(1).identical(found.isel(unit=[0]))
    assert lines == [f"optimal Gabors: {n} of 3 units" for n in (1, 2, 3)]


def test_optimal_gabors_refuse():
    with pytest.raises(ValueError, match="at least one seed"):
        search(seeds=())
    with pytest.raises(ValueError, match="dy and dx"):
        search(limits=(*LIMITS[:5], (-1, 0)))
    with pytest.raises(ValueError, match="sigma_px"):
        search(limits=(*LIMITS[:3], (0, 3), *LIMITS[4:]))


def test_gabor_stimulus_golden():
    """Loop 23: gain 15.075192, the first of 2; mean 9.975719, std 1.969902."""
    gabor = create_gabor(36, 64, *LINE)
    stimulus = gabor_stimulus(gabor, BRIGHT)
    found = stimulus.matched
    assert_allclose([found.gain, found.mean, found.contrast], [15.075192, 9.975719, 1.969902], rtol=1e-4)
    large = upscale(gabor, 4)
    # The first gain falls short, the second goes further beyond, so that the first is kept.
    assert found.gain == pytest.approx(2 / np.clip(large - large.mean() + 10, 0.4, 42.4).std())
    second = np.clip(1.05 * found.gain * (large - large.mean()) + 10 + found.offset, 0.4, 42.4).std()
    assert second - 2 > 2 - found.contrast > 0
    assert stimulus.image.dtype == np.uint8 and stimulus.image.shape == (144, 256)
    assert_array_equal(stimulus.image, np.rint(stimulus.pixels))
    assert_allclose(stimulus.pixels, BRIGHT.pixel(found.image))
    shown = BRIGHT.luminance(stimulus.image)
    assert (stimulus.mean_cd_m2, stimulus.contrast_cd_m2) == (pytest.approx(shown.mean()), pytest.approx(shown.std()))
    with pytest.raises(InputError, match="cannot be shown"):
        gabor_stimulus(gabor, BRIGHT, mean_cd_m2=50)


def test_a_unit_that_likes_every_gabor_the_same_has_none():
    found = optimal_gabors(
        lambda images, units: np.ones(len(images)), pixel_matched(), 1, maxiter=2, seeds=(1,), report=len
    )
    assert found.failed.values.tolist() == ["the response is the same to every Gabor"]
    assert np.isnan(found.activation).all() and np.isnan(found.gabor).all()
