"""Gradients of responses: a network's receptive field at gray, its image, and how far gradients vary over images."""

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import Respond, ascend
from neurostatic.stimuli.scale import Scale

BATCH_IMAGES = 256
CONSTANT_GRADIENT = 1e-10  # variance of a gradient over images, relative to its power, that is rounding only


def point_rfs(
    respond: Respond, questions: torch.Tensor, height: int, width: int, batch_images: int = BATCH_IMAGES
) -> xr.Dataset:
    """Gradient of each unit's response at the gray image, the mean of all training images.

    point_rf_u = d respond_u(z) / dz at z = 0

    Args:
        questions: (unit,) long; height, width: of the images in px.

    Returns:
        point_rf (unit, y, x), response per normalized gray level; response (unit) to the gray image; failed (unit):
        the reason, or "". A gradient that is not finite is NaN.

    Source: GradRF.point_rf.
    """
    gray = torch.zeros(1, height, width, device=questions.device)
    pairs = np.stack([np.zeros(len(questions), dtype=int), np.arange(len(questions))])
    gradients, responses = _paired_gradients(respond, questions, gray, pairs, batch_images)
    finite = np.isfinite(gradients).all((1, 2))
    gradients[~finite] = np.nan
    failed = np.where(finite, "", "not finite")
    failed = np.where((gradients == 0).all((1, 2)), "no gradient: the response to gray is flat", failed)
    return xr.Dataset(
        {"point_rf": (("unit", "y", "x"), gradients), "response": ("unit", responses), "failed": ("unit", failed)}
    )


def grad_rfs(
    respond: Respond,
    questions: torch.Tensor,
    start_px: np.ndarray,
    scale: Scale,
    config: Meis,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """The image that the published ascent makes of a network linearized at gray.

    rf_u = ascend(z -> <z, point_rf_u>) from start_u;  activation_u = respond_u(rf_u)

    The published rule, jitter left out. Its contrast tuning is `contrast_tuning` on the true network.

    Args:
        questions: (unit,) long.
        start_px: (unit, y, x) gray levels 0-255 to begin from.
        scale: of the images that the network was trained on.

    Returns:
        rf (unit, y, x) px; activation (unit); point_rf, response and failed as in `point_rfs`. A failed unit's rf and
        activation are NaN, and the others are what they would be without it.

    Source: GradRF.rf.
    """
    found = point_rfs(respond, questions, *start_px.shape[1:])
    filters = torch.as_tensor(found.point_rf.values, device=questions.device)

    def linearized(images: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return (images * filters[positions]).sum((-2, -1))

    rf = np.full(start_px.shape, np.nan)
    activation = np.full(len(questions), np.nan)
    usable = np.flatnonzero(found.failed.values == "")
    if len(usable):
        positions = torch.as_tensor(usable, device=questions.device)
        start = scale.normalize(start_px[usable], questions.device)
        images, _ = ascend(linearized, positions, start, scale.bounds, scale.std_px, config, report=report)
        rf[usable] = scale.to_px(images)
        with torch.no_grad():
            shown = scale.normalize(rf[usable], questions.device)
            activation[usable] = respond(shown, questions[positions]).cpu().numpy()
    return found.assign(rf=(("unit", "y", "x"), rf), activation=("unit", activation))


def image_gradients(
    respond: Respond,
    questions: torch.Tensor,
    images_px: np.ndarray,
    scale: Scale,
    batch_images: int = BATCH_IMAGES,
) -> xr.Dataset:
    """Gradient and response of every unit at every image.

    gradient_ui = d respond_u(z) / dz at z = image_i

    The result takes unit * image * y * x * 4 bytes: 9 GB for 1,000 units and 1,000 images of 36 x 64 px. For spectra
    alone use `gradient_spectra`, which keeps one unit's at a time.

    Args:
        questions: (unit,) long.
        images_px: (image, y, x) gray levels 0-255; scale: of the images that the network was trained on.
        batch_images: pairs of unit and image in one pass of the network.

    Returns:
        gradient (unit, image, y, x) float32, response per normalized gray level; response (unit, image).

    Source: ImageGradResponse.
    """
    images = scale.normalize(images_px, questions.device)
    units, which = np.indices((len(questions), len(images))).reshape(2, -1)
    gradients, responses = _paired_gradients(respond, questions, images, np.stack([which, units]), batch_images)
    shape = (len(questions), len(images))
    return xr.Dataset(
        {
            "gradient": (("unit", "image", "y", "x"), gradients.reshape(*shape, *images_px.shape[1:])),
            "response": (("unit", "image"), responses.reshape(shape)),
        }
    )


def gradient_spectrum(gradients: np.ndarray, components: int | None = 100) -> xr.Dataset:
    """Eigenvalues of the pixel covariance of a unit's gradients over images.

    C = cov_i(gradient_i), ddof 1;  C v = eigenvalue v;  share_k = sum_{j <= k} eigenvalue_j / trace(C)

    How many directions of image space a unit's gradient turns through: a linear filter behind an output nonlinearity
    has one, a phase-invariant cell two or more.

    Args:
        gradients: (image, y, x).
        components: how many of the largest are kept; all y * x if None.

    Returns:
        eigenvalue (component) descending; share (component) of the variance that the components up to this one take.
        share is NaN if the gradient does not depend on the image, and both are if a gradient is not finite.

    Raises:
        ValueError: fewer than 2 images.

    Source: Top100Eigen (components=100), AllEigen (None). There `eigvals` left them unsorted, so that the first 100
    were not always the largest.
    """
    gradients = np.asarray(gradients)
    if gradients.ndim != 3 or len(gradients) < 2:
        raise ValueError(f"gradient_spectrum: needs (image >= 2, y, x), got {gradients.shape}")
    eigenvalues = np.full(gradients[0].size, np.nan)
    share = eigenvalues.copy()
    if np.isfinite(gradients).all():
        eigenvalues = _covariance_eigenvalues(gradients.reshape(len(gradients), -1).astype(float))
        power = (gradients.astype(float) ** 2).sum() / len(gradients)
        if eigenvalues.sum() > CONSTANT_GRADIENT * power:
            share = eigenvalues.cumsum() / eigenvalues.sum()
    kept = slice(components)
    return xr.Dataset({"eigenvalue": ("component", eigenvalues[kept]), "share": ("component", share[kept])})


def gradient_spectra(
    respond: Respond,
    questions: torch.Tensor,
    images_px: np.ndarray,
    scale: Scale,
    components: int | None = 100,
    batch_images: int = BATCH_IMAGES,
) -> xr.Dataset:
    """`gradient_spectrum` of every unit over the same images, with the gradients of one unit in memory at a time.

    Args:
        as in `image_gradients` and `gradient_spectrum`.

    Returns:
        eigenvalue and share (unit, component); response (unit, image).

    Raises ValueError: fewer than 2 images.

    Source: Top100Eigen, AllEigen.
    """
    spectra = []
    for question in questions:
        found = image_gradients(respond, question[None], images_px, scale, batch_images)
        spectrum = gradient_spectrum(found.gradient.values[0], components)
        spectra.append(spectrum.assign(response=("image", found.response.values[0])))
    return xr.concat(spectra, "unit")


def _covariance_eigenvalues(samples: np.ndarray) -> np.ndarray:
    """Eigenvalues, descending, of the covariance (ddof 1) of samples (sample, feature)."""
    n_samples, n_features = samples.shape
    centered = samples - samples.mean(0)
    # The smaller of the two products: both have the same eigenvalues, but for zeros.
    product = centered @ centered.T if n_samples < n_features else centered.T @ centered
    eigenvalues = np.linalg.eigvalsh(product / (n_samples - 1))[::-1].clip(0)
    return np.concatenate([eigenvalues, np.zeros(n_features - len(eigenvalues))])


def _paired_gradients(
    respond: Respond, questions: torch.Tensor, images: torch.Tensor, pairs: np.ndarray, batch_images: int
) -> tuple[np.ndarray, np.ndarray]:
    """(pair, y, x) gradients and (pair,) responses of pairs (2, pair): which image, which unit."""
    gradients = np.empty((pairs.shape[1], *images.shape[1:]), dtype=np.float32)
    responses = np.empty(pairs.shape[1], dtype=np.float32)
    for begin in range(0, pairs.shape[1], batch_images):
        part = slice(begin, begin + batch_images)
        which, units = torch.as_tensor(pairs[:, part], device=images.device)
        shown = images[which].requires_grad_(True)
        response = respond(shown, questions[units])
        (gradient,) = torch.autograd.grad(response.sum(), shown)
        gradients[part], responses[part] = gradient.cpu().numpy(), response.detach().cpu().numpy()
    return gradients, responses
