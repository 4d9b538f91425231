"""Gradients of toy networks whose derivatives are known, and golden check C9 for the image of a linearized network."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import elu

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import ascend
from neurostatic.stimuli.gradients import grad_rfs, gradient_spectra, gradient_spectrum, image_gradients, point_rfs
from neurostatic.stimuli.scale import Scale

Y, X = np.mgrid[:36, :64].astype(float)
MEAN_PX, STD_PX = 112.0, 60.0
SCALE = Scale(MEAN_PX, STD_PX)
SILENT = len  # a report that says nothing
START_PX = 128 + 8 * np.sin(1.7 * Y + 0.9 * X)


def gabor(ph=0.3, cx=30.0, th=np.pi / 6):
    along = (X - cx) * np.cos(th) + (Y - 17) * np.sin(th)
    return np.exp(-((X - cx) ** 2 / 50 + (Y - 17) ** 2 / 18)) * np.cos(2 * np.pi * along / 9 + ph)


EVEN, ODD = gabor(), gabor(0.3 + np.pi / 2)
EVEN_WEIGHTS, ODD_WEIGHTS = (torch.tensor(weights, dtype=torch.float32) for weights in (EVEN, ODD))
IMAGES_PX = np.random.default_rng(0).uniform(0, 255, (12, 36, 64))
Z = (IMAGES_PX - MEAN_PX) / STD_PX
LINEAR, NONLINEAR, ENERGY, DEAD, BROKEN = range(5)


def respond(images, questions):
    """Five units: a filter, a filter through ELU, a phase-invariant pair, one that is silent, one that is broken."""
    even, odd = (images * EVEN_WEIGHTS).sum((1, 2)), (images * ODD_WEIGHTS).sum((1, 2))
    units = torch.stack((even, elu(0.1 * even - 0.2) + 1, 0.5 * (even + 1) ** 2 + odd**2, even, even), -1)
    gain = torch.tensor([1, 1, 1, 0, torch.nan])
    return units.gather(1, questions[:, None])[:, 0] * gain[questions]


def questions(*units):
    return torch.tensor(units)


def analytic(unit, z):
    """(image, y, x) gradient of a unit at normalized images."""
    even, odd = ((z * weights).sum((1, 2))[:, None, None] for weights in (EVEN, ODD))
    if unit == NONLINEAR:
        return 0.1 * np.exp(np.minimum(0.1 * even - 0.2, 0)) * EVEN
    return (even + 1) * EVEN + 2 * odd * ODD if unit == ENERGY else np.broadcast_to(EVEN, z.shape)


def images_and_gradients(units, **batch):
    return image_gradients(respond, questions(*units), IMAGES_PX, SCALE, **batch)


def make_rfs(units, **config):
    start = np.stack([START_PX] * len(units))
    return grad_rfs(respond, questions(*units), start, SCALE, Meis(**config), report=SILENT)


def test_point_rfs():
    """At gray each toy unit's gradient is a known multiple of its filter, its response a known number."""
    found = point_rfs(respond, questions(ENERGY, LINEAR, NONLINEAR), 36, 64, batch_images=2)
    assert found.point_rf.dims == ("unit", "y", "x")
    assert_allclose(found.point_rf, [EVEN, EVEN, 0.1 * np.exp(-0.2) * EVEN], atol=1e-6)
    assert_allclose(found.response, [0.5, 0, np.exp(-0.2)], atol=1e-6)
    assert (found.failed == "").all()


def test_the_image_of_a_linear_unit_is_its_mei():
    """C9: 1,000 steps of the main parameters on the filter; the gradient of another unit along it gives the same."""
    found = make_rfs((LINEAR, NONLINEAR))
    for rf in found.rf.values:
        scores = rf.mean(), rf.std(), rf[17, 30], rf.min(), rf[20, 34], rf[0, 0]
        assert_allclose(scores, (128.483149, 12.827823, 249.811770, 48.009524, 78.874583, 128.158119), atol=1e-3)
    drive = ((found.rf.values - MEAN_PX) / STD_PX * EVEN).sum((1, 2))
    assert drive[0] > 10
    assert_allclose(found.activation, (drive[0], 0.1 * drive[1] - 0.2 + 1), rtol=1e-5)


def test_the_image_of_a_nonlinear_unit_is_not_its_mei():
    """The ascent follows the gradient at gray, not that of the true network, and evaluates on the true one."""
    found = make_rfs((ENERGY,), iterations=200)
    assert_array_equal(found.rf, make_rfs((LINEAR,), iterations=200).rf)
    z = torch.as_tensor((START_PX - MEAN_PX) / STD_PX, dtype=torch.float32)[None]
    bounds = (-MEAN_PX / STD_PX, (255 - MEAN_PX) / STD_PX)
    mei, _ = ascend(respond, questions(ENERGY), z, bounds, STD_PX, Meis(iterations=200), report=SILENT)
    assert abs(mei[0].numpy() * STD_PX + MEAN_PX - found.rf[0]).max() > 20
    assert respond(mei, questions(ENERGY)).item() > 1.05 * found.activation.item() > 0


def test_a_unit_that_fails_says_why_and_leaves_the_others_alone():
    found = make_rfs((BROKEN, ENERGY, DEAD), iterations=100)
    assert found.failed.values[0] == "not finite" and "no gradient" in found.failed.values[2]
    assert found.failed.values[1] == ""
    for name in ("rf", "activation"):
        assert np.isnan(found[name][[0, 2]]).all() and np.isfinite(found[name][1]).all()
    assert np.isnan(found.point_rf[0]).all()
    assert_allclose(found.rf[1], make_rfs((ENERGY,), iterations=100).rf[0], atol=1e-4)
    nothing = make_rfs((DEAD, BROKEN), iterations=3)
    assert np.isnan(nothing.rf).all() and nothing.rf.shape == (2, 36, 64)


@pytest.mark.parametrize("batch_images", [1, 7, 256])
def test_gradients_at_images(batch_images):
    """Every unit at every image, against its derivative by hand, however pairs fall into batches."""
    units = (ENERGY, LINEAR, NONLINEAR)
    found = images_and_gradients(units, batch_images=batch_images)
    assert found.gradient.dims == ("unit", "image", "y", "x") and found.gradient.dtype == np.float32
    for i, unit in enumerate(units):
        expected = analytic(unit, Z)
        assert_allclose(found.gradient[i], expected, atol=2e-6 * abs(expected).max())
    assert_allclose(found.response[1], (Z * EVEN).sum((1, 2)), atol=1e-4)
    step = torch.as_tensor(Z + 1e-2 * EVEN, dtype=torch.float32)
    rise = respond(step, questions(*[ENERGY] * 12)).numpy() - found.response[0].values
    assert_allclose((found.gradient[0] * 1e-2 * EVEN).sum(("y", "x")) + 0.5e-4 * (EVEN**2).sum() ** 2, rise, atol=2e-3)


def test_a_broken_unit_breaks_no_other():
    found = images_and_gradients((BROKEN, ENERGY), batch_images=5)
    assert np.isnan(found.gradient[0]).all()
    assert_array_equal(found.gradient[1], images_and_gradients((ENERGY,), batch_images=5).gradient[0])
    broken, whole = (gradient_spectrum(of_unit, 3) for of_unit in found.gradient)
    assert np.isnan(broken.eigenvalue).all() and np.isnan(broken.share).all()
    assert np.isfinite(whole.share).all()


@pytest.mark.parametrize("n_images", [2, 9, 24, 60])
def test_spectrum_equals_the_covariance_of_pixels(n_images):
    """With fewer images than pixels the smaller product of the same matrix is solved: equal to 1e-10 of the largest."""
    gradients = np.random.default_rng(n_images).normal(size=(n_images, 4, 6)) * np.arange(1, 25).reshape(4, 6) + 3
    expected = np.linalg.eigvalsh(np.cov(gradients.reshape(n_images, 24), rowvar=False))[::-1]
    spectrum = gradient_spectrum(gradients, None)
    assert spectrum.eigenvalue.dims == ("component",) and spectrum.eigenvalue.shape == (24,)
    assert_allclose(spectrum.eigenvalue, expected, rtol=0, atol=1e-10 * expected[0])
    assert (np.diff(spectrum.eigenvalue) <= 0).all() and (spectrum.eigenvalue >= 0).all()
    assert_allclose(spectrum.share, expected.cumsum() / expected.sum(), atol=1e-10)
    assert_array_equal(gradient_spectrum(gradients, 5).eigenvalue, spectrum.eigenvalue[:5])
    assert_array_equal(gradient_spectrum(gradients, 5).share, spectrum.share[:5])


def test_spectra_tell_a_filter_from_a_phase_invariant_unit():
    """One direction behind an output nonlinearity, two of a pair of filters; a constant gradient has no variance."""
    units = (NONLINEAR, ENERGY, LINEAR)
    spectra = gradient_spectra(respond, questions(*units), IMAGES_PX, SCALE, components=4)
    assert spectra.share.dims == ("unit", "component") and spectra.share.shape == (3, 4)
    assert spectra.share[0, 0] > 1 - 1e-9
    assert spectra.share[1, 0] < 0.97 and spectra.share[1, 1] > 1 - 1e-9
    assert np.isnan(spectra.share[2]).all()
    assert_allclose(spectra.eigenvalue[2], 0, atol=1e-9)
    kept = images_and_gradients(units)
    each = [gradient_spectrum(of_unit, 4).eigenvalue for of_unit in kept.gradient]
    assert_allclose(spectra.eigenvalue, each, rtol=1e-6, atol=1e-9)
    assert_array_equal(spectra.response, kept.response)

    # By hand: the gradient is a EVEN + b ODD, so that the covariance of (a, b) in their plane has the same eigenvalues.
    drives = np.stack([(Z * EVEN).sum((1, 2)) + 1, 2 * (Z * ODD).sum((1, 2))])
    filters = np.stack([EVEN.ravel(), ODD.ravel()])
    expected = np.linalg.eigvals(np.cov(drives) @ (filters @ filters.T)).real
    assert_allclose(spectra.eigenvalue[1, :2], sorted(expected, reverse=True), rtol=1e-5)


def test_a_spectrum_needs_two_images():
    with pytest.raises(ValueError, match="image >= 2"):
        gradient_spectrum(np.ones((1, 3, 4)))
    with pytest.raises(ValueError, match="gradient_spectrum"):
        gradient_spectrum(np.ones((3, 4)))
