"""Golden check C35, and diverse images of a filter and of a phase-invariant pair, whose best sets are known."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import elu

from neurostatic.config import Meis
from neurostatic.stimuli.diversity import diverse_ascent, diverse_images, diversity
from neurostatic.stimuli.scale import Scale

Y, X = np.mgrid[:36, :64].astype(float)
MEAN_PX, STD_PX = 112.0, 60.0
SCALE = Scale(MEAN_PX, STD_PX)
BOUNDS = (-MEAN_PX / STD_PX, (255 - MEAN_PX) / STD_PX)
SILENT = len  # a report that says nothing


def gabor(ph=0.3):
    along = (X - 30) * np.cos(np.pi / 6) + (Y - 17) * np.sin(np.pi / 6)
    return np.exp(-((X - 30) ** 2 / 50 + (Y - 17) ** 2 / 18)) * np.cos(2 * np.pi * along / 9 + ph)


EVEN, ODD = gabor(), gabor(0.3 + np.pi / 2)
BALANCED = [weights - weights.mean() for weights in (EVEN, ODD)]
DISK = ((X - 30) ** 2 + (Y - 17) ** 2 < 100).astype(float)
SOFT = np.exp(-((X - 30) ** 2 / 128 + (Y - 17) ** 2 / 60))
LINEAR, ENERGY, NONLINEAR, FLAT, BROKEN, NEGATIVE = range(6)


def respond(images, questions):
    """A filter, a phase-invariant pair, the filter through ELU; one constant, one broken, one below zero."""
    even, odd = ((images * torch.as_tensor(weights, dtype=images.dtype)).sum((1, 2)) for weights in BALANCED)
    units = (even, 0.1 * (even**2 + odd**2), elu(0.3 * even - 0.2) + 1, 0 * even + 2, even, -1 - 0 * even)
    gain = torch.tensor([1, 1, 1, 1, torch.nan, 1])
    return torch.stack(units, -1).gather(1, questions[:, None])[:, 0] * gain[questions]


def mei_of(units, contrast_px=12.0):
    return np.stack([128 + contrast_px * BALANCED[0] / BALANCED[0].std(ddof=1)] * len(units))


def diverse(units, mei_px=None, unit_ids=None, **settings):
    mei_px = mei_of(units) if mei_px is None else mei_px
    unit_ids = [10 + unit for unit in units] if unit_ids is None else unit_ids
    return diverse_images(respond, torch.tensor(units), mei_px, SCALE, ["a"] * len(units), unit_ids,
                          report=SILENT, **settings)  # fmt: skip


def ratios(images_px, unit, mei_px):
    def answer(px):
        z = torch.as_tensor((px - MEAN_PX) / STD_PX)
        return respond(z, torch.full((len(z),), unit)).numpy()

    return answer(np.asarray(images_px)) / answer(mei_px[None])


@pytest.mark.parametrize(
    ("metric", "linkage", "expected"),
    [("correlation", "minimum", (121.431, 123.207, 115.896)), ("correlation", "average", (122.057, 124.443, 116.238)),
     ("cosine", "minimum", (125.356, 125.350, 113.974)), ("euclidean", "average", (129.688, 127.176, 110.165))],
)  # fmt: skip
def test_diverse_ascent(metric, linkage, expected):
    """C35: three images, 20 steps of the main parameters, step length shared by the whole set."""

    def published(images, questions):
        even, odd = ((images * torch.as_tensor(weights, dtype=images.dtype)).sum((1, 2)) for weights in (EVEN, ODD))
        return elu(0.03 * even - 0.2 + 0.002 * odd**2) + 1

    start = (120 + 60 * np.stack([gabor(phase) for phase in (0, 0.8, 1.7)]) - MEAN_PX) / STD_PX
    images = diverse_ascent(published, torch.zeros(3, dtype=int), torch.tensor(start, dtype=torch.float32), BOUNDS,
                            STD_PX, Meis(iterations=20), torch.tensor(DISK), 1.0, metric, linkage)  # fmt: skip
    assert_allclose(images[:, 17, 30] * STD_PX + MEAN_PX, expected, atol=1e-3)


def slow_diversity(images, mask, metric, linkage):
    pairs = []
    for i, first in enumerate(images):
        for second in images[i + 1 :]:
            a, b = (image - (metric == "correlation") * np.average(image, weights=mask) for image in (first, second))
            if metric == "euclidean":
                pairs.append(np.sqrt((mask * (a - b) ** 2).sum()))
            else:
                pairs.append(-(mask * a * b).sum() / np.sqrt((mask * a * a).sum() * (mask * b * b).sum()))
    return min(pairs) if linkage == "minimum" else np.mean(pairs)


@pytest.mark.parametrize("metric", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("linkage", ["minimum", "average"])
def test_diversity_of_all_pairs(metric, linkage):
    """Pair by pair with the mask as weights; sets of a batch by themselves."""
    rng = np.random.default_rng(0)
    images, masks = rng.normal(1, 1, (2, 4, 5, 6)), rng.uniform(0, 1, (2, 5, 6))
    found = diversity(torch.tensor(images), torch.tensor(masks), metric, linkage)
    expected = [slow_diversity(*of_set, metric, linkage) for of_set in zip(images, masks, strict=True)]
    assert_allclose(found, expected, rtol=1e-10)
    alone = diversity(torch.tensor(images[1]), torch.tensor(masks[1]), metric, linkage)
    assert_allclose(alone, expected[1], rtol=1e-10)


def test_the_distance_of_equal_images_has_a_gradient():
    images = torch.ones(3, 4, 5, requires_grad=True)
    diversity(images, torch.ones(4, 5), "euclidean").backward()
    assert_array_equal(images.grad, np.zeros((3, 4, 5)))


@pytest.mark.parametrize(
    "wrong", [{"n": 1}, {"metric": "pearson"}, {"linkage": "maximum"}], ids=lambda wrong: next(iter(wrong))
)
def test_diversity_refuses(wrong):
    images = torch.ones(wrong.pop("n", 2), 4, 5)
    with pytest.raises(ValueError, match="diversity"):
        diversity(images, torch.ones(4, 5), **wrong)


def test_a_filters_images_stay_alike_and_a_phase_invariant_units_do_not():
    """The best sets are known, for images that keep the ratio c and otherwise lie as a simplex of n corners does.

    Filter: mean correlation (n c^2 - 1) / (n - 1) at best. Phase-invariant pair: -1 / (n - 1), the least that n images
    can have.
    """
    n, kept = 10, 0.85**2
    found = diverse((LINEAR, ENERGY), n_images=n)
    assert (found.failed == "").all()
    assert found.diverse.dims == ("unit", "variant", "y", "x") and found.diverse.shape == (2, n, 36, 64)
    bound = (n * kept - 1) / (n - 1)
    assert bound - 1e-6 < found.similarity[0] < bound + 0.005
    assert -1 / (n - 1) - 1e-6 < found.similarity[1] < -1 / (n - 1) + 0.005
    few = diverse((LINEAR, ENERGY), n_images=3, minimum_ratio=0.95)
    assert_allclose(few.similarity, ((3 * 0.95**2 - 1) / 2, -1 / 2), atol=0.01)

    for unit in (LINEAR, ENERGY):
        images = found.diverse[unit].values
        assert_allclose(ratios(images, unit, mei_of([unit])[0]), found.ratio[unit], rtol=1e-4)
        correlations = np.corrcoef(images.reshape(n, -1))[np.triu_indices(n, 1)]
        assert_allclose(found.similarity[unit], correlations.mean(), atol=1e-9)
        flat = images.reshape(n, -1)
        distances = np.linalg.norm(flat[:, None] - flat, axis=-1)[np.triu_indices(n, 1)]
        assert_allclose(found.distance_px[unit], distances.mean(), rtol=1e-9)
    assert found.distance_px[1] > 1.7 * found.distance_px[0]


@pytest.mark.parametrize("contrast_px", [12.0, 30.0])
def test_every_image_keeps_ratio_contrast_mean_and_range(contrast_px):
    """Also of an MEI much of which is black or white; 85 % is reached by each image, and used up."""
    mei_px = mei_of(range(3), contrast_px).clip(0, 255)
    assert (mei_px[0] == 0).any() == (contrast_px == 30)
    found = diverse(range(3), mei_px, masks=np.stack([SOFT] * 3), n_images=5, steps=60)
    assert (found.failed == "").all()
    assert_allclose(found.diverse.std(("y", "x"), ddof=1), np.tile(mei_px.std((1, 2), ddof=1), (5, 1)).T, rtol=1e-3)
    assert_allclose(found.diverse.mean(("y", "x")), np.tile(mei_px.mean((1, 2)), (5, 1)).T, atol=0.05)
    assert found.diverse.min() >= 0 and found.diverse.max() <= 255
    for unit in range(3):
        reached = ratios(found.diverse[unit].values, unit, mei_px[unit])
        assert reached.min() >= 0.85 and reached.max() < 0.87
    assert found.similarity[ENERGY] < 0 and found.similarity[[LINEAR, NONLINEAR]].min() > 0.5


def test_images_differ_only_under_the_mask():
    """Outside, they are the MEI, but for the mean and the contrast that every image gets back."""
    mask = SOFT * (X < 30)
    mei_px = mei_of((ENERGY,))
    found = diverse((ENERGY,), mei_px, masks=mask[None], n_images=4, steps=60)
    outside = (X >= 30) & (X < 42) & (Y > 10) & (Y < 24)
    for image in found.diverse[0].values:
        fit = np.polynomial.Polynomial.fit(mei_px[0][outside], image[outside], 1)
        assert_allclose(image[outside], fit(mei_px[0][outside]), atol=0.02)
    inside = found.diverse[0].values[:, (X < 28) & (SOFT > 0.3)]
    assert np.corrcoef(inside)[np.triu_indices(4, 1)].mean() < 0.6


def test_a_unit_that_fails_says_why_and_leaves_the_others_alone():
    units = (ENERGY, FLAT, BROKEN, NEGATIVE, LINEAR, LINEAR, LINEAR, LINEAR)
    mei_px, masks = mei_of(units), np.stack([SOFT] * len(units))
    mei_px[4, 3, 3] = np.nan
    mei_px[5] = 128
    masks[6] = np.nan
    masks[7] = 0
    settings = {"n_images": 3, "steps": 40}
    found = diverse(units, mei_px, range(8), masks=masks, **settings)
    reasons = ("", "no gradient", "not positive", "not positive", "MEI is not finite", "flat", "mask is not finite",
               "mask is empty")  # fmt: skip
    for reason, expected in zip(found.failed.values, reasons, strict=True):
        assert expected in reason and (expected == "") == (reason == "")
    for name in ("diverse", "ratio", "similarity", "distance_px"):
        assert np.isnan(found[name][1:]).all() and np.isfinite(found[name][0]).all(), name
    alone = diverse(units[:1], mei_px[:1], [0], masks=masks[:1], **settings)
    assert_allclose(alone.diverse[0], found.diverse[0], atol=1e-4)
    assert diverse((BROKEN,), n_images=2, steps=2).failed[0] != ""


def test_a_ratio_out_of_reach_is_a_failure():
    """A unit whose response falls off so steeply that even the first noise costs more than the ratio allows."""

    def narrow(images, questions):
        distance = (images - torch.as_tensor((mei_of([0])[0] - MEAN_PX) / STD_PX)).square().sum((1, 2))
        return (torch.exp(-50 * distance) + 1e-9).float()

    found = diverse_images(narrow, torch.zeros(1, dtype=int), mei_of([0]), SCALE, ["a"], [1], steps=3,
                           n_images=3, report=SILENT)  # fmt: skip
    assert "0.85 of the MEI's response" in found.failed.values[0]
    assert np.isnan(found.diverse).all() and np.isnan(found.ratio).all()


def test_images_belong_to_their_units_and_to_the_seed():
    """Not to the batch, its order or the global random numbers; equal to the bit when repeated."""
    units, settings = (LINEAR, ENERGY, NONLINEAR), {"n_images": 3, "steps": 40}
    together = diverse(units, **settings)
    np.random.seed(5)
    torch.manual_seed(5)
    assert together.identical(diverse(units, **settings))
    assert_allclose(diverse(units[::-1], **settings).diverse[::-1], together.diverse, atol=1e-4)
    assert_allclose(diverse(units, batch_units=2, **settings).diverse, together.diverse, atol=1e-4)
    for other in (diverse(units, seed=1, **settings), diverse(units, unit_ids=[7, 8, 9], **settings)):
        for unit in range(3):
            assert abs(other.diverse[unit] - together.diverse[unit]).max() > 1


@pytest.mark.parametrize("wrong", [{"n_images": 1}, {"minimum_ratio": 1.0}, {"minimum_ratio": 0.0}])
def test_diverse_images_refuses(wrong):
    with pytest.raises(ValueError, match="diverse_images"):
        diverse((LINEAR,), **wrong)
