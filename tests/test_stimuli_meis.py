"""Golden checks C0-C14 of the MEI recipe: a linear unit with filter F, and an ensemble of toy networks."""

import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import gaussian_filter
from torch.nn.functional import elu

from neurostatic.config import Meis, Network
from neurostatic.models import CorePlusReadout, Ensemble, TrainedNetwork
from neurostatic.stimuli import ascent as recipe
from neurostatic.stimuli.batches import images_that_fit, in_batches
from neurostatic.stimuli.meis import jitter_offsets, make_meis, optimize, score_meis, start_images
from neurostatic.stimuli.scale import Scale
from neurostatic.stimuli.tuning import contrast_tuning

Y, X = np.mgrid[:36, :64].astype(float)
MEAN_PX, STD_PX = 112.0, 60.0
SCALE = Scale(MEAN_PX, STD_PX)
BOUNDS = SCALE.bounds
UNBOUNDED = (-np.inf, np.inf)
SILENT = len  # a report that says nothing
START_PX = 128 + 8 * np.sin(1.7 * Y + 0.9 * X)


def gabor(cx=30.0, cy=17.0, sx=5.0, sy=3.0, th=np.pi / 6, lam=9.0, ph=0.3):
    along = (X - cx) * np.cos(th) + (Y - cy) * np.sin(th)
    envelope = np.exp(-((X - cx) ** 2 / (2 * sx**2) + (Y - cy) ** 2 / (2 * sy**2)))
    return envelope * np.cos(2 * np.pi * along / lam + ph)


FILTER = gabor()
BALANCED = FILTER - FILTER.mean()
IMAGE = 120 + 60 * FILTER


def linear(filter_):
    weights = torch.tensor(filter_, dtype=torch.float32)
    return lambda images, units: (images * weights).sum((1, 2))


def climb(respond, start_px=START_PX, bounds=BOUNDS, **config):
    """Normalized image after the ascent of one unit."""
    start = torch.tensor((start_px - MEAN_PX) / STD_PX, dtype=torch.float32)[None]
    result = recipe.ascend(respond, torch.zeros(1, dtype=int), start, bounds, STD_PX, Meis(**config), report=SILENT)
    return result[0][0].double().numpy()


def climb_px(*args, **config):
    return climb(*args, **config) * STD_PX + MEAN_PX


def low_passed(image, exponent=0.1):
    return recipe.precondition_gradient(torch.tensor(image)[None], exponent)[0].numpy()


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


UNIT_IDS = [3, 5, 8, 9]  # of the small network
# Toy ensemble of C13: 4 seeds, 3 units; each response is a linear and a quadratic filter through ELU.
TOY_FILTERS = np.array(  # (unit, seed, linear or quadratic, y, x)
    [[[gabor(22 + 6 * u + 0.3 * s, th=u * np.pi / 6, ph=p) for p in (0.3, 0.3 + np.pi / 2)] for s in range(4)]
     for u in range(3)], np.float32)  # fmt: skip
TOY_START_PX = np.stack([np.random.RandomState(u).normal(128, 8, (36, 64, 1))[..., 0].clip(0, 255) for u in range(3)])
TOY_SCORES = {  # of each unit
    "activation": (2.575604, 3.010931, 5.024843),
    "max_activation": (2.769834, 3.303404, 5.030363),
    "max_contrast": (13.314519, 12.876628, 12.943294),
    "sat_contrast": (13.314519, 12.876628, 12.943294),
    "lim_contrast": (16.027469, 16.527050, 17.687529),
    "img_mean": (128.025185, 128.705398, 130.977011),
    "monotonic": (1, 1, 1),
}


def toy(gain=(1.0, 1.0, 1.0)):
    def respond(images, units):
        linear_, quadratic = torch.einsum("iyx,isfyx->fis", images, torch.tensor(TOY_FILTERS)[units])
        return (elu(0.03 * linear_ - 0.2 + 0.002 * quadratic**2) + 1).mean(1) * torch.tensor(gain)[units]

    return respond


@cache
def toy_meis(units=(0, 1, 2), respond=None, **config):
    start, questions, config = TOY_START_PX[list(units)], torch.tensor(units), Meis(**config)
    found = optimize(respond or toy(), questions, start, SCALE, config, report=SILENT)
    return score_meis(respond or toy(), questions, found, SCALE, config)


def test_images_are_normalized_and_back():
    """C1."""
    z = SCALE.normalize(START_PX[None], "cpu")
    assert z.shape == (1, 36, 64) and z[0, 5, 7].item() == pytest.approx(0.371767, abs=1e-6)
    assert_allclose(SCALE.to_px(z)[0], START_PX, atol=1e-4)
    assert SCALE.to_px(torch.tensor([[[10.0, -10.0]]])).tolist() == [[[255.0, 0.0]]]


@pytest.mark.parametrize("size", [(36, 64), (37, 65), (36, 65), (37, 64)])
def test_only_columns_that_are_their_own_mirror_are_mirrored(size):
    height, width = size
    half = recipe.precondition_transfer(height, width, 0.1)
    fx, fy = (np.minimum(np.arange(n), n - 1 - np.arange(n)) for n in (width, height))
    plain = 1 / np.maximum(1, (fx**2.0 + fy[:, None] ** 2) ** 0.1)
    plain = (plain / plain.mean())[:, : width // 2 + 1]
    mirrored = {0, width // 2} if width % 2 == 0 else {0}
    for column in range(width // 2 + 1):
        if column in mirrored:
            assert_allclose(half[1:, column], half[1:, column].flip(0))
        else:
            assert_allclose(half[:, column], plain[:, column])


def test_precondition_gradient():
    """C0 (the filter itself), C2, C3: not symmetric, as negative frequencies are off by one."""
    found = FILTER.sum(), np.linalg.norm(FILTER), FILTER[17, 30], FILTER[20, 34]
    assert_allclose(found, (0.539379, 4.854137, 0.955336, -0.357430), atol=1e-6)
    smooth = low_passed(FILTER)
    uncentered = (smooth * FILTER).sum() / np.linalg.norm(smooth) / np.linalg.norm(FILTER)
    found = smooth[17, 30], smooth[20, 34], np.linalg.norm(smooth), uncentered
    assert_allclose(found, (1.149866, -0.446173, 5.836667, 0.998915), atol=1e-6)
    assert_allclose(low_passed(FILTER, 0.25)[17, 30], 1.484399, atol=1e-6)

    smooth = low_passed(1.0 * ((Y == 10) & (X == 20)))
    found = smooth[10, 20], smooth[10, 21], smooth[11, 20], smooth[11, 21], smooth[11, 19], smooth.sum()
    assert_allclose(found, (0.994166, 0.067493, 0.032235, 0.021470, 0.018777, 1.742227), atol=1e-6)


@pytest.mark.parametrize(
    ("sigma_px", "expected"),
    [(1.5, (0.071010, 0.056861, 0.045374, 0.006335)), (0.7, (0.324724, 0.117046, 0.042189, 5.7e-7)),
     (0.2, (0.999985, 3.7266e-6, 0, 0)), (0.12, (1, 0, 0, 0))],
)  # fmt: skip
def test_blur(sigma_px, expected):
    """C4: borders are mirrored, the sum is kept, and nothing happens below 0.125 px."""
    delta = torch.zeros(1, 36, 64, dtype=torch.float64)
    delta[0, 2, 3] = 1
    blurred = recipe.blur(delta, sigma_px)[0].numpy()
    found = blurred[2, 3], blurred[2, 4], blurred[3, 4], blurred[0, 0]
    assert_allclose(found, expected, atol=1e-6)
    assert blurred.sum() == pytest.approx(1)
    assert_allclose(blurred, gaussian_filter(delta[0].numpy(), sigma_px), atol=1e-12)


def test_one_step():
    """C5, C6: the whole step; and alone, where the mean change is start_step * step_gain / 255."""
    z = climb(linear(FILTER), iterations=1)
    assert_allclose((z[17, 30], z[20, 34], z[0, 0], z.mean()), (0.288641, 0.256798, 0.303808, 0.266747), atol=1e-6)
    assert z.std() == pytest.approx(0.00525945, abs=1e-7)

    change = climb(linear(FILTER), iterations=1, precondition=0.0, blur=False) - (START_PX - MEAN_PX) / STD_PX
    assert_allclose((change[17, 30], change[20, 34]), (0.043155, -0.016146), atol=1e-6)
    assert abs(change).mean() == pytest.approx(0.3 / 255, abs=1e-8)


def test_the_norm_limits_the_contrast():
    """C7: the standard deviation (ddof 1) becomes 5 px; the mean is not taken off, so that it shrinks too."""
    z = climb(linear(FILTER), START_PX, UNBOUNDED, iterations=1, start_step=30.0, step_gain=1.0, precondition=0.0,
              blur=False, norm_px=5.0)  # fmt: skip
    assert_allclose((z.std(ddof=1), z.mean(), z[17, 30]), (5 / 60, 0.0478321, 0.804076), atol=1e-6)


def test_many_steps():
    """C8, C9: 10 and 1,000 steps of the main parameters; C10: x <- B_i(x + step_i / 2550 g / mean|g|) in float64."""
    px = climb_px(linear(FILTER), iterations=10)
    found = px.mean(), px.std(), px[17, 30], px[20, 34]
    assert_allclose(found, (128.009112, 0.788360, 135.097925, 124.634850), atol=1e-5)

    px = climb_px(linear(FILTER))
    found = px.mean(), px.std(), px.max(), px[17, 30], px.min(), px[20, 34], px[0, 0]
    expected = (128.483149, 12.827823, 249.811770, 249.811770, 48.009524, 78.874583, 128.158119)
    assert_allclose(found, expected, atol=1e-3)
    gradient = low_passed(FILTER)
    assert_allclose((correlation(px, FILTER), correlation(px, gradient)), (0.983842, 0.990509), atol=1e-6)

    z = (START_PX - MEAN_PX) / STD_PX
    for i in range(1000):
        step, sigma_px = 3.0 - 2.875 * i / 1000, 1.5 - 1.49 * i / 1000
        z = gaussian_filter(z + step * 0.1 / 255 * gradient / abs(gradient).mean(), sigma_px)
    assert_allclose(px, z * STD_PX + MEAN_PX, atol=2e-4)


def test_with_a_norm_the_mei_is_the_filter():
    """C11: the prediction is 112 + 12 (F - mean) / std."""
    px = climb_px(linear(BALANCED), blur=False, precondition=0.0, step_gain=1.0, norm_px=12.0)
    found = px.std(ddof=1), px.mean(), px[17, 30], px[20, 34], px.min()
    assert_allclose(found, (12, 112, 225.309770, 69.568043, 30.703904), atol=1e-4)
    assert_allclose(px[17, 30], 112 + 12 * BALANCED[17, 30] / BALANCED.std(ddof=1), atol=1e-4)
    assert 1 - correlation(px, BALANCED) < 1e-12


def test_with_a_train_norm_the_mei_is_the_filter():
    """C12: the second published set; the two published environments differ by 3e-4 px."""
    px = climb_px(linear(FILTER), blur=False, train_norm_px=11.0)
    found = px.mean(), px.std(), px[17, 30], px.min()
    assert_allclose(found, (145.677829, 11.002653, 249.592688, 71.122026), atol=2e-3)
    assert 1 - correlation(px, FILTER) < 1e-9


def test_plain_ascent_is_a_sum_of_steps():
    """C12, from flat gray, without blur and low-pass: 128 px + the sum of all steps along the filter, then clipped."""
    config = {"start_px": np.full((36, 64), 128.0), "blur": False, "precondition": 0.0}
    px = climb_px(linear(FILTER), bounds=UNBOUNDED, **config)
    assert_allclose(px, 128 + 60 * 0.6133088 * FILTER / abs(FILTER).mean(), atol=2e-3)
    assert px[17, 30] == pytest.approx(1477.84, abs=5e-3)
    assert_allclose(climb_px(linear(FILTER), **config), px.clip(0, 255), atol=2e-3)


def test_the_toy_ensemble():
    """C13: three units with four seeds each, in one batch."""
    meis = toy_meis()
    for name, scores in TOY_SCORES.items():
        assert_allclose(meis[name], scores, rtol=2e-5, err_msg=name)
    mei = meis.mei.values
    assert_allclose(mei[:, 17, 30], (141.529262, 216.621780, 90.574956), atol=2e-3)
    assert_allclose(mei[:, 20, 34], (128.145228, 100.175415, 198.332978), atol=2e-3)
    assert_allclose(mei.std((1, 2)), (12.254434, 11.838994, 12.933907), atol=2e-3)
    assert_allclose(mei.min((1, 2)), (49.920115, 62.156024, 68.442720), atol=2e-3)
    assert_allclose(mei.max((1, 2)), (244.890425, 244.822833, 254.910056), atol=2e-3)
    assert (meis.failed == "").all()
    assert meis.tuning_response.dims == ("unit", "gain") and meis.tuning_response.shape == (3, 1000)
    assert meis.history.dims == ("step", "unit") and meis.history.shape == (20, 3)
    assert (meis.history[-1] > 2 * meis.history[0]).all()


def test_a_unit_does_not_feel_its_batch():
    """One at a time gives the images of the batch; with a gradient scale of the whole batch they were 58 px off."""
    together = toy_meis()
    for unit in range(3):
        alone = toy_meis((unit,))
        assert_allclose(alone.mei[0], together.mei[unit], atol=1e-4)
    strong = toy_meis(iterations=50, step_gain=10.0).mei  # rounding would leave 255.00001
    assert strong.min() == 0 and strong.max() == 255
    loud = toy_meis(respond=toy((1.0, 1e3, 1e-3)), iterations=200)  # only the direction of each gradient counts
    assert_allclose(loud.mei, toy_meis(iterations=200).mei, atol=1e-3)


def test_contrast_tuning():
    """C14: a monotone unit, and one that prefers a middle contrast."""

    def drive(images_px):
        return 0.05 * np.einsum("iyx,yx->i", (images_px - MEAN_PX) / STD_PX, FILTER)

    tuned = contrast_tuning(IMAGE, lambda px: elu(torch.tensor(drive(px) - 0.2)).numpy() + 1)
    assert len(tuned["contrast"]) == len(tuned["response"]) == 1000
    assert_allclose(tuned["contrast"][[0, -1]], (0.01, 14.292502), atol=1e-6)
    assert_allclose(tuned["response"][[0, -1]], (0.823282, 3.578705), atol=1e-6)
    assert_allclose(tuned["contrast"][-1] / IMAGE.std(), 2.355523, atol=1e-6)
    assert_allclose(tuned["lim_contrast"], 15.720676, atol=1e-6)
    assert tuned["monotonic"] is True and tuned["response"].argmax() == 999

    def saturating(images_px):
        positive = drive(images_px).clip(0)
        return positive * np.exp(-positive / 2)

    tuned = contrast_tuning(IMAGE, saturating)
    found = tuned["max_contrast"], tuned["max_activation"], tuned["sat_contrast"]
    assert_allclose(found, (10.275101, 0.735759, 14.292502), atol=1e-6)
    assert tuned["monotonic"] is False and tuned["response"].argmax() == 718

    tuned = contrast_tuning(240 - IMAGE, saturating)  # black is reached before white
    assert_allclose(tuned["sat_contrast"], IMAGE.std() * (240 - IMAGE.mean()) / (IMAGE.max() - IMAGE.mean()))


def small_network(seed=1, modulator="none"):
    """A small CNN with random kernels, features and points, of four units."""
    config = Network(hidden_channels=4, input_kern=5, hidden_kern=3, layers=2, scale_n=1, modulator=modulator)
    network = CorePlusReadout(config, {"a": 4}).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    network.initialize({"a": torch.rand(4, generator=generator)}, generator)
    network.readout["a"].features.add_(0.3 * torch.randn(network.readout["a"].features.shape, generator=generator))
    network.readout["a"].grid.uniform_(-0.6, 0.6, generator=generator)
    normalization = {"a": {"image_mean": MEAN_PX, "image_std": STD_PX}}
    return TrainedNetwork(network, {"a": UNIT_IDS}, normalization)


def network_meis(unit_ids, ensemble=None, seeds=(), free_bytes=np.inf, **config):
    ensemble = ensemble or Ensemble([small_network()], "a")
    units = ensemble.index_of(unit_ids).numpy()
    return make_meis(ensemble.answer, units, "a", unit_ids, SCALE, (16, 24), Meis(tuning_points=10, **config),
                     seeds, free_bytes=free_bytes, report=SILENT)  # fmt: skip


def test_a_networks_units_do_not_feel_their_batch():
    """Over 1,000 steps of a CNN: four units in one batch, two in another order, one alone; repeats to the bit."""
    together = network_meis(UNIT_IDS)
    assert (together.activation > 1.2 * together.history[0]).all()
    assert np.corrcoef(together.mei.values.reshape(4, -1))[np.triu_indices(4, 1)].max() < 0.9
    for part in ([9, 3], [5]):
        alone = network_meis(part)
        position = [UNIT_IDS.index(unit_id) for unit_id in part]
        assert_allclose(alone.mei, together.mei[position], atol=1e-4)
        assert_allclose(alone.activation, together.activation[position], rtol=1e-5)
    assert network_meis(UNIT_IDS, iterations=60).identical(network_meis(UNIT_IDS, iterations=60))


STATES = [  # two eyes and two behaviors, behaviors running fastest
    (torch.tensor([[dx, dy]]), behavior)
    for dx, dy in ((0.0, 0.0), (1.0, -2.0))
    for behavior in (None, torch.tensor([[1.5, 0.2, 0.7]]))
]


def test_every_seed_state_and_start_is_as_if_made_alone():
    """models x eyes x behaviors x units x starts in one batch; each equals the ascent of that question alone."""
    members = [small_network(seed, "MLP") for seed in (1, 2)]
    options = {"iterations": 60, "eye": ("mean", "none"), "behavior": ("none", "mean"), "starts": 2}
    meis = network_meis([5, 9], Ensemble(members, "a", STATES), ("7", "8"), each_seed=True, **options)
    assert meis.variant_mei.dims == ("model", "eye", "behavior", "unit", "start", "y", "x")
    assert meis.variant_mei.shape == (3, 2, 2, 2, 2, 16, 24)
    assert meis.model.values.tolist() == ["ensemble", "7", "8"] and meis.eye.values.tolist() == ["mean", "none"]
    starts = start_images(["a"] * 2, [5, 9], 16, 24, 0, 2)
    for model, own in (("ensemble", members), ("7", members[:1]), ("8", members[1:])):
        for place, state in enumerate(STATES):
            ensemble = Ensemble(own, "a", [state])
            config = Meis(iterations=60, tuning_points=10)
            alone = optimize(ensemble.respond, ensemble.index_of([9]), starts[1, 1:], SCALE, config, report=SILENT)
            eye, behavior = divmod(place, 2)
            found = meis.variant_mei.sel(model=model).values[eye, behavior, 1, 1]
            assert_allclose(found, alone.images_px[0], atol=1e-3)
            activation = meis.variant_activation.sel(model=model).values[eye, behavior, 1, 1]
            assert activation == pytest.approx(alone.activation[0], rel=1e-5)
    different = meis.variant_mei.values.reshape(24, -1)
    assert len({image.tobytes() for image in different}) == 24

    first = meis.variant_activation.values[0, 0, 0]  # (unit, start)
    assert meis.best_start.values.tolist() == first.argmax(1).tolist()
    assert_allclose(meis.mei.values, meis.variant_mei.values[0, 0, 0, [0, 1], meis.best_start.values], atol=1e-4)
    seeds = meis.variant_mei.values[1:, 0, 0]
    best = meis.variant_activation.values[1:, 0, 0].argmax(-1)
    for unit in range(2):
        a, b = (seeds[seed, unit, best[seed, unit]] for seed in range(2))
        assert meis.seed_disagreement.values[unit] == pytest.approx(1 - correlation(a, b), abs=1e-4)
    assert (meis.seed_disagreement > 0.05).all()
    same = network_meis([5], Ensemble([members[0]] * 3, "a"), "123", each_seed=True, iterations=20)
    assert_allclose(same.seed_disagreement, 0, atol=1e-6)
    assert "variant_mei" not in network_meis([5], iterations=5)


def test_jitter_rolls_steps_and_rolls_back():
    """C37: with jitter ox = 4, oy = -1 the update peaks at (18, 26), where F peaks at (17, 30)."""
    start = torch.tensor((START_PX - MEAN_PX) / STD_PX, dtype=torch.float32)[None]
    config = Meis(iterations=1, precondition=0.0, blur=False, jitter_px=4)
    arguments = (torch.zeros(1, dtype=int), start, UNBOUNDED, STD_PX, config)
    images, _ = recipe.ascend(linear(FILTER), *arguments, np.array([[[4, -1]]]), report=SILENT)
    update = (images - start)[0].numpy()
    assert np.unravel_index(FILTER.argmax(), FILTER.shape) == (17, 30)
    assert np.unravel_index(update.argmax(), update.shape) == (18, 26)
    assert_allclose(
        np.roll(update, (-1, 4), (0, 1)), climb(linear(FILTER), **vars(config)) - start[0].numpy(), atol=1e-6
    )


def test_jitter_belongs_to_its_unit():
    together = network_meis(UNIT_IDS, iterations=60, jitter_px=3)
    alone = network_meis([8], iterations=60, jitter_px=3)
    assert_allclose(alone.mei[0], together.mei[2], atol=1e-4)
    assert np.abs(alone.mei[0] - network_meis([8], iterations=60).mei[0]).max() > 1
    offsets = jitter_offsets([[0, 1], [0, 2], [0, 1]], Meis(iterations=400, jitter_px=3))
    assert offsets.shape == (400, 3, 2) and set(np.unique(offsets)) == set(range(-3, 4))
    assert_array_equal(offsets[:, 0], offsets[:, 2])
    assert (offsets[:, 0] != offsets[:, 1]).any()


def test_without_clip_images_leave_the_gray_levels():
    free = climb_px(linear(FILTER), clip=False, blur=False, precondition=0.0)
    assert free.max() > 1000
    assert climb_px(linear(FILTER), blur=False, precondition=0.0).max() == pytest.approx(255, abs=1e-3)


def test_a_batch_is_cut_to_memory():
    """Fewer images at a time give the same images; what one image keeps is measured."""
    ensemble = Ensemble([small_network()], "a")
    questions = torch.tensor([[unit, 0, -1] for unit in range(4)])
    images = torch.zeros(4, 16, 24)
    fitting = [images_that_fit(ensemble.answer, questions, images, n_bytes) for n_bytes in (0, 1e7, 2e7, 4e7)]
    assert fitting[0] == 1 and 2 * fitting[1] - 3 <= fitting[2] <= 2 * fitting[1] + 3 < fitting[3]
    larger = images_that_fit(ensemble.answer, questions, torch.zeros(4, 32, 48), 4e7)
    assert 3 < fitting[3] / larger < 6  # four times the pixels
    cut = network_meis(UNIT_IDS, free_bytes=1.0, iterations=60)
    assert_allclose(cut.mei, network_meis(UNIT_IDS, iterations=60).mei, atol=1e-4)


def optimize_many(n_images, free_bytes, report=SILENT):
    """One step of many images of a toy unit, from noise in single precision."""
    start = np.random.default_rng(0).normal(128, 8, (n_images, 36, 64)).astype(np.float32)
    questions, config = torch.zeros(n_images, dtype=int), Meis(iterations=1)
    return optimize(toy(), questions, start, SCALE, config, free_bytes=free_bytes, report=report)


def test_images_take_little_memory_beside_the_network():
    """What is kept of all images is the result in single precision; all else is of a batch."""
    optimize_many(2, 1.0)
    tracemalloc.start()
    try:
        found = optimize_many(400, 1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_bytes = 400 * 36 * 64 * 4
    assert found.images_px.dtype == np.float32 and found.images_px.nbytes == n_bytes
    assert peak < 4.5 * n_bytes  # the start takes 3 while it is drawn


def test_start_and_result_count_as_memory():
    """A CPU's memory is also filled by them; how many images go at a time is said once, if not all do."""
    free_bytes, images_bytes, said = 1e6, 2 * 60 * 36 * 64 * 4, []
    fitting = images_that_fit(toy(), torch.zeros(2, dtype=int), torch.zeros(2, 36, 64), free_bytes)
    assert 1 < fitting < 60
    optimize_many(60, free_bytes + images_bytes, said.append)
    assert said[:2] == [f"{fitting} of 60 images at a time, as memory allows", f"images 1 to {fitting} of 60"]
    said.clear()
    optimize_many(60, 1e8, said.append)
    assert said == []


def test_less_at_a_time_when_a_gpu_has_no_memory_left():
    done, said = [], []

    def work(part):
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append((part.start, part.stop))
        return part.start

    assert in_batches(work, 10, 8, said.append) == [0, 2, 4, 6, 8]
    assert done == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert "out of memory: going on with 4 images at a time" in said
    with pytest.raises(torch.OutOfMemoryError):
        in_batches(lambda part: work(slice(0, 9)), 4, 4, said.append)


def test_start_images_belong_to_their_units():
    """Not to the batch, its order or the global random numbers; scan, unit and seed all count."""
    images = start_images(["a", "b", "a"], [1, 1, 2], 36, 64, seed=0)[:, 0]
    noise = np.random.default_rng([0, 3904355907, 1]).normal(128, 8, (36, 64))  # CRC-32 of "a": equal in every session
    assert images.dtype == np.float32
    assert_array_equal(images[0], noise.clip(0, 255).astype(np.float32))
    np.random.seed(0)
    assert_array_equal(start_images(["a", "b"], [2, 1], 36, 64, seed=0)[:, 0], images[[2, 1]])
    others = np.concatenate([images, start_images(["a"], [1], 36, 64, seed=1)[:, 0]])
    assert len({image.tobytes() for image in others}) == 4


@pytest.mark.parametrize("config", [{}, {"blur": False, "train_norm_px": 11.0}])
def test_a_unit_that_fails_says_why_and_leaves_the_others_alone(config):
    """Of three units the second has no gradient and the third is not a number; the first's image stays what it was."""
    config = {**config, "iterations": 100, "tuning_points": 20}
    meis = toy_meis(respond=toy((1.0, 0.0, np.nan)), **config)
    assert "not finite" in meis.failed.values[2]
    assert "gradient" in meis.failed.values[1]
    assert meis.failed.values[0] == ""
    for name in set(meis.data_vars) - {"failed", "history", "evaluations", "converged"}:
        assert np.isnan(meis[name][1:]).all(), name
        assert np.isfinite(meis[name][0]).all(), name
    assert_allclose(meis.mei[0], toy_meis((0,), **config).mei[0], atol=1e-4)


def test_the_projected_optimizer_makes_meis_too():
    """In at most 60 evaluations, at the contrast, from the best of the starts; one alone as in the batch."""
    options = {"optimizer": "projected", "starts": 2, "contrast_px": 9.0}
    meis = network_meis(UNIT_IDS, **options)
    assert (meis.evaluations <= 60).all() and (meis.evaluations > 5).all()
    assert (meis.contrast_px <= 9.001).all() and (meis.contrast_px > 8.9).all()
    assert (meis.failed == "").all()
    assert_allclose(meis.activation, meis.variant_activation.values[0, 0, 0].max(1))
    assert_allclose(network_meis([5], **options).mei[0], meis.mei[UNIT_IDS.index(5)], atol=1e-4)
    silent = toy_meis(respond=toy((1.0, 0.0, np.nan)), optimizer="projected", tuning_points=20)
    assert silent.failed.values[0] == "" and "gradient" in silent.failed.values[1]
    assert "not finite" in silent.failed.values[2]


def test_noise_is_no_mei():
    """A unit that responds to the whole noise only, and not to the fraction of it from which the ascent begins."""
    noise = torch.as_tensor((TOY_START_PX[0] - MEAN_PX) / STD_PX, dtype=torch.float32)
    noise = noise - noise.mean()

    def respond(images, units):
        return torch.relu((images * noise).sum((1, 2)) - 0.5 * (noise**2).sum())

    meis = toy_meis((0,), respond, optimizer="projected", tuning_points=20)
    assert meis.evaluations == 1 and "no gradient" in meis.failed.values[0]
    assert np.isnan(meis.mei).all() and np.isnan(meis.activation).all()
