"""The second optimizer: closed forms of linear units, the toy ensemble of C13 and trained networks against set 1."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq
from torch.nn.functional import elu

from neurostatic.config import Meis
from neurostatic.models import Ensemble, load_network
from neurostatic.stimuli.ascent import ascend
from neurostatic.stimuli.projected import ascend_projected
from neurostatic.stimuli.variants import best_of_starts

Y, X = np.mgrid[:36, :64].astype(float)
MEAN_PX, STD_PX, LIMIT_PX = 112.0, 60.0, 11.0
SILENT = len  # a report that says nothing
RESULTS = Path(__file__).parents[1] / "results"
DATASET, SCAN = "mouse1", "mouse1-day1"
NAMES = ["response", "activation", "evaluations", "converged", "contrast_px"]


def gabor(cx=30.0, cy=17.0, sx=5.0, sy=3.0, th=np.pi / 6, lam=9.0, ph=0.3):
    along = (X - cx) * np.cos(th) + (Y - cy) * np.sin(th)
    envelope = np.exp(-((X - cx) ** 2 / (2 * sx**2) + (Y - cy) ** 2 / (2 * sy**2)))
    return envelope * np.cos(2 * np.pi * along / lam + ph)


FILTER = gabor()
BALANCED = FILTER - FILTER.mean()
# Toy ensemble of C13: 4 seeds, 3 units; each response is a linear and a quadratic filter through ELU.
TOY_FILTERS = torch.tensor(np.array(  # (unit, seed, linear or quadratic, y, x)
    [[[gabor(22 + 6 * u + 0.3 * s, th=u * np.pi / 6, ph=p) for p in (0.3, 0.3 + np.pi / 2)] for s in range(4)]
     for u in range(3)], np.float32))  # fmt: skip
NOISE_PX = np.stack([np.random.RandomState(u).normal(128, 8, (36, 64)).clip(0, 255) for u in range(3)])


def toy(gain=(1.0, 1.0, 1.0)):
    def respond(images, units):
        linear_, quadratic = torch.einsum("iyx,isfyx->fis", images, TOY_FILTERS[units])
        return (elu(0.03 * linear_ - 0.2 + 0.002 * quadratic**2) + 1).mean(1) * torch.tensor(gain)[units]

    return respond


def linear(filter_):
    weights = torch.tensor(filter_, dtype=torch.float32)
    return lambda images, units: (images * weights).sum((1, 2))


def bounds(mean_px=MEAN_PX, std_px=STD_PX):
    return -mean_px / std_px, (255 - mean_px) / std_px


def climb(respond, units=(0, 1, 2), **config):
    """Gray levels (image, y, x) after the ascent of these toy units, and the history."""
    start = torch.tensor((NOISE_PX[list(units)] - MEAN_PX) / STD_PX, dtype=torch.float32)
    images, history = ascend_projected(
        respond, torch.tensor(units), start, bounds(), STD_PX, Meis(**config), report=SILENT
    )
    return images.double().numpy() * STD_PX + MEAN_PX, history


def at_limit(images, std_px, bounds_):
    """Images of set 1, those above the limit with their deviation from their own mean scaled to it."""
    mean, std = (getattr(images, name)((-2, -1), keepdim=True) for name in ("mean", "std"))
    return (mean + (images - mean) * (LIMIT_PX / std_px / std).clamp(max=1)).clamp(*bounds_)


def set_1(respond, units, start, std_px, bounds_):
    """Activation (unit,) of the published set 1 after 1,000 steps, at the same constraint."""
    config = Meis(blur=False, train_norm_px=LIMIT_PX)
    images, _ = ascend(respond, units, start, bounds_, std_px, config, report=SILENT)
    with torch.no_grad():
        return respond(at_limit(images, std_px, bounds_), units).numpy()


@cache
def toy_set_1():
    start = torch.tensor((NOISE_PX - MEAN_PX) / STD_PX, dtype=torch.float32)
    return set_1(toy(), torch.arange(3), start, STD_PX, bounds())


def best_of_a_linear_unit(filter_):
    """Kuhn-Tucker: x = clip(a + b filter), where a is the mean of x, and b makes its standard deviation the limit."""

    def image(b):
        a = brentq(lambda a: np.clip(a + b * filter_, 0, 255).mean() - a, 128, 254)
        return np.clip(a + b * filter_, 0, 255)

    return image(brentq(lambda b: image(b).std(ddof=1) - LIMIT_PX, 106, 130))


def test_a_balanced_filter_is_its_own_best_image():
    px, history = climb(linear(BALANCED), units=(0,), tolerance=1e-6, max_evaluations=100)
    assert np.corrcoef(px[0].ravel(), BALANCED.ravel())[0, 1] > 0.9999
    assert px[0].std(ddof=1) == pytest.approx(LIMIT_PX, abs=1e-3)
    assert history.contrast_px.item() == pytest.approx(px[0].std(ddof=1), abs=1e-6)
    assert history.converged.item()


def test_the_mean_goes_up_until_white_is_cut_off():
    """A filter with a sum above zero has its best image where the gray levels end; there the ascent is slowest."""
    best = (best_of_a_linear_unit(FILTER) - MEAN_PX) / STD_PX
    px, _ = climb(linear(FILTER), units=(0,))
    assert best.max() == pytest.approx(bounds()[1])
    assert px.max() > 254.9
    reached = ((px[0] - MEAN_PX) / STD_PX * FILTER).sum() / (best * FILTER).sum()
    assert 0.998 < reached < 1 + 1e-5


def test_a_unit_that_does_not_see_the_mean_leaves_it_alone():
    """Networks of images without their mean: what is left of the gradient of the mean is rounding."""
    unseen = linear(BALANCED)
    px, _ = climb(lambda images, units: unseen(images - images.mean((1, 2), keepdim=True), units), units=(0,))
    assert px.mean() == pytest.approx(NOISE_PX[0].mean(), abs=0.5)


def test_the_contrast_is_a_limit_not_a_goal():
    """a exp(-a / 2) is highest, 2 / e, at a = 2, which is within a limit of 20 px."""

    def saturating(images, units):
        drive = 0.05 * linear(BALANCED)(images, units).clamp(min=0)
        return drive * (-drive / 2).exp()

    _, history = climb(saturating, units=(0,), contrast_px=20.0)
    assert history.activation.item() == pytest.approx(2 / np.e, rel=1e-3)
    assert history.contrast_px.item() < 19


def test_the_toy_ensemble_reaches_set_1():
    """C13 with its noise; and at another limit the constraint is that limit."""
    _, history = climb(toy())
    assert (history.activation >= 0.99 * toy_set_1()).all()
    assert history.evaluations.max() <= 60
    assert history.converged.all()
    assert_allclose(history.contrast_px, LIMIT_PX, atol=0.02)
    _, history = climb(toy(), contrast_px=5.0)
    assert (history.contrast_px <= 5 + 1e-3).all() and (history.contrast_px > 4.9).all()
    assert (history.activation < 0.9 * toy_set_1()).all()


def test_five_evaluations_are_not_enough():
    _, history = climb(toy(), max_evaluations=5)
    assert (history.evaluations == 5).all() and not history.converged.any()
    assert (history.activation < 0.99 * toy_set_1()).any()


def test_the_best_iterate_is_returned_and_meets_the_constraint():
    """Also once its gray levels are rounded to single precision; what is reported is what the image does."""
    px, history = climb(toy())
    assert sorted(history.data_vars) == sorted(NAMES)
    assert history.response.dims == ("evaluation", "image") and history.response.shape == (60, 3)
    z = torch.tensor((px - MEAN_PX) / STD_PX, dtype=torch.float32)
    assert_allclose(toy()(z, torch.arange(3)), history.activation, rtol=1e-5)
    assert_array_equal(history.activation, history.response.max("evaluation"))
    assert_array_equal(history.response.notnull().sum("evaluation"), history.evaluations)
    single = px.astype(np.float32).clip(0, 255)
    assert (single.std((1, 2), ddof=1, dtype=float) <= LIMIT_PX + 1e-3).all()
    assert px.min() > -1e-4 and px.max() < 255 + 1e-4


def test_an_image_stops_when_its_gain_is_small():
    """The gain over the last 8 steps, of the best so far, is below tolerance a step; one step before it was not."""
    for tolerance in (1e-2, 1e-3, 1e-4):
        _, history = climb(toy(), tolerance=tolerance, max_evaluations=200)
        assert history.converged.all()
        for image in range(3):
            used = int(history.evaluations[image])
            best = np.maximum.accumulate(history.response.values[:used, image])
            assert best[-1] - best[-9] < 8 * tolerance * best[-1]
            assert used == 9 or best[-2] - best[-10] >= 8 * tolerance * best[-2]
    _, endless = climb(toy(), tolerance=0.0, max_evaluations=70)
    assert (endless.evaluations == 70).all() and not endless.converged.any()


def test_a_unit_does_not_feel_its_batch():
    """One at a time, and with another scale of the responses, the images are the same; repeats are, to the bit."""
    together, history = climb(toy())
    again, same = climb(toy())
    assert_array_equal(together, again)
    assert history.identical(same)
    for unit in range(3):
        alone, its_history = climb(toy(), (unit,))
        assert_allclose(alone[0], together[unit], atol=1e-3)
        assert_allclose(its_history.activation[0], history.activation[unit], rtol=1e-5)
    loud, _ = climb(toy((1.0, 2.0**10, 2.0**-10)))
    assert_allclose(loud, together, atol=1e-4)


def test_units_without_a_gradient_keep_their_image():
    """Of three units the second has no gradient and the third is not a number; the first does as if it was alone."""
    px, history = climb(toy((1.0, 0.0, np.nan)))
    assert_allclose(px[1:], NOISE_PX[1:], atol=1e-4)
    assert_array_equal(history.evaluations[1:], 1)
    assert history.activation[1:].isnull().all() and not history.converged[1:].any()
    alone, its_history = climb(toy(), (0,))
    assert_allclose(px[0], alone[0], atol=1e-2)
    assert its_history.evaluations[0] == history.evaluations[0]


def test_a_response_that_is_lost_on_the_way_leaves_the_best_before_it():
    """Not a number above 1.5: the image is the best below, and no other image is touched."""

    def breaking(images, units):
        response = toy()(images, units)
        return torch.where((response > 1.5) & (units == 1), torch.nan, response)

    px, history = climb(breaking)
    assert 0 < history.activation[1] <= 1.5 and not history.converged[1]
    assert np.isfinite(px).all()
    assert_allclose(px[[0, 2]], climb(toy())[0][[0, 2]], atol=1e-2)


def test_best_of_starts():
    """Of each unit the first start that reached most; nan is never best, and without a number it is the first."""
    nan = np.nan
    responses = np.array([[1.0, nan, nan, 2.0, nan], [3.0, 0.1, nan, 2.0, -np.inf], [2.0, 0.2, nan, 1.0, -1.0]])
    assert_array_equal(best_of_starts(responses.T), [1, 2, 0, 0, 2])


def trained_ensemble():
    """The demo's CNN, all seeds, and its selected units."""
    files = sorted((RESULTS / "models" / DATASET / "GaussianLaplace").glob("*.pt"))
    table = RESULTS / "selection" / f"{DATASET}.csv"
    if not files or not table.is_file():
        pytest.skip("no trained networks in results/: make demo trains them")
    ensemble = Ensemble([load_network(file) for file in files], SCAN)
    selection = pd.read_csv(table)
    return ensemble, selection.unit_id[selection.hu_rank.notna()].tolist()


def test_a_trained_network_reaches_set_1():
    """Every selected unit in 60 evaluations or less; eight of them against 1,000 steps of the published set 1."""
    ensemble, unit_ids = trained_ensemble()
    units = ensemble.index_of(unit_ids)
    limits = bounds(ensemble.image_mean_px, ensemble.image_std_px)
    noise = [np.random.default_rng([0, unit_id]).normal(128, 8, (36, 64)) for unit_id in unit_ids]
    start_px = np.stack(noise).clip(0, 255)
    start = torch.as_tensor((start_px - ensemble.image_mean_px) / ensemble.image_std_px, dtype=torch.float32)

    def reach(**config):
        return ascend_projected(
            ensemble.respond, units, start, limits, ensemble.image_std_px, Meis(**config), report=SILENT
        )

    images, history = reach()
    assert history.evaluations.max() <= 60
    assert (history.contrast_px <= LIMIT_PX + 1e-3).all()
    assert images.min() >= limits[0] and images.max() <= limits[1]
    reference = set_1(ensemble.respond, units[:8], start[:8], ensemble.image_std_px, limits)
    reached = history.activation[:8] / reference
    assert reached.median() >= 0.99 and reached.min() >= 0.95
    assert (reach(max_evaluations=5)[1].activation[:8] / reference).median() < 0.99
