"""How fast are MEIs, searches and contrast matching beside plain ways to do the same?

The plain ways are written here, from the equations: no package makes MEIs of networks like these. Their networks are
those of neuralpredictors (`speed_training`), with the same weights. Both sides are checked to give the same before they
are timed.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from speed_training import SCAN, ours, peer_of

from neurostatic.config import Gabors, Meis, read_config
from neurostatic.models.ensembles import Ensemble
from neurostatic.models.files import TrainedNetwork
from neurostatic.models.networks import CorePlusReadout
from neurostatic.stimuli.ascent import blur, precondition_gradient
from neurostatic.stimuli.contrast import match_many
from neurostatic.stimuli.gabors import best_gabors, candidates, create_gabor, pixel_matched
from neurostatic.stimuli.meis import make_meis, start_images
from neurostatic.stimuli.scale import Scale

ROOT = Path(__file__).parents[1]
MEAN_PX, STD_PX = 111.0, 60.0
N_UNITS, N_SEEDS, N_MEIS = 1000, 4, 16
UNIT_IDS = list(range(N_UNITS))
SILENT = len  # a report that says nothing


PUBLISHED = Meis(tuning_points=10)  # set 0 of the published optimizer, 1,000 steps
AT_CONTRAST = replace(PUBLISHED, blur=False, train_norm_px=11.0)  # its set 1
PROJECTED = replace(PUBLISHED, optimizer="projected", contrast_px=11.0)  # the highest response at this contrast
SOME_GABORS = Gabors(wavelengths_px=(10,), orientations_deg=(45,), sigmas_px=(5,))
N_SOME_GABORS, N_GABORS = len(candidates(SOME_GABORS)), len(candidates(Gabors()))  # 364 of 72,800


def networks() -> list[torch.nn.Module]:
    """Four seeds of the published network, of 1,000 units, whose batch norm has seen images."""
    found = []
    for seed in range(N_SEEDS):
        network = ours(N_UNITS)
        network.initialize({SCAN: torch.ones(N_UNITS)}, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(10 + seed)
        with torch.no_grad():
            features = network.readout[SCAN].features
            features.add_(0.05 * torch.randn(features.shape, generator=generator))
            network.train()(torch.randn(20, 1, 36, 64, generator=generator), SCAN)
        found.append(network.eval())
    return found


def peers_of(members: list[torch.nn.Module]) -> list[torch.nn.Module]:
    """The same networks of neuralpredictors' parts."""
    return [peer_of(member, N_UNITS).eval() for member in members]


def ensemble_of(members: list[torch.nn.Module]) -> Ensemble:
    """As the workflow makes it: weights without gradients."""
    normalization = {SCAN: {"image_mean": MEAN_PX, "image_std": STD_PX}}
    frozen = [TrainedNetwork(member.requires_grad_(False), {SCAN: UNIT_IDS}, normalization) for member in members]
    return Ensemble(frozen, SCAN, [(None, None)])


def our_meis(ensemble: Ensemble, config: Meis) -> np.ndarray:
    """(unit, y, x) px of the first units."""
    units, unit_ids = np.arange(N_MEIS), UNIT_IDS[:N_MEIS]
    scale = Scale(MEAN_PX, STD_PX)
    return make_meis(ensemble.answer, units, SCAN, unit_ids, scale, (36, 64), config, report=SILENT).mei.values


def drive_at_contrast(ensemble: Ensemble, meis_px: np.ndarray, contrast_px: float) -> np.ndarray:
    """(unit,) responses to their MEIs, those of more contrast with their deviation from the mean scaled to it."""
    deviation = meis_px - meis_px.mean((1, 2), keepdims=True)
    scale = np.minimum(contrast_px / meis_px.std((1, 2), ddof=1, keepdims=True), 1)
    images_px = np.clip(meis_px - deviation + scale * deviation, 0, 255)
    return ensemble.respond_px(images_px, np.arange(len(images_px)))


def one_at_a_time(peers: list[torch.nn.Module], unit: int, config: Meis) -> np.ndarray:
    """(y, x) px: one image, through all units of every seed, with the gradients of all weights, as published."""
    image = torch.as_tensor((start_images([SCAN], [unit], 36, 64, config.seed)[0] - MEAN_PX) / STD_PX)
    low, high = -MEAN_PX / STD_PX, (255 - MEAN_PX) / STD_PX
    for i in range(config.iterations):
        done = i / config.iterations
        image = image.detach().requires_grad_()
        response = torch.stack([peer(image[:, None])[0, unit] for peer in peers]).mean()
        response.backward()
        gradient = precondition_gradient(image.grad, config.precondition)
        step = config.start_step + (config.end_step - config.start_step) * done
        with torch.no_grad():
            image = image + step * config.step_gain / 255 / (gradient.abs().mean() + 1e-12) * gradient
            sigma_px = config.start_sigma_px + (config.end_sigma_px - config.start_sigma_px) * done
            image = blur(image.clamp(low, high), sigma_px)
    return (image[0].double().numpy() * STD_PX + MEAN_PX).clip(0, 255)


def our_gabors(ensemble: Ensemble) -> np.ndarray:
    """(unit,) which of some Gabors drives it most."""
    return best_gabors(ensemble.respond_px, pixel_matched(), SOME_GABORS, report=SILENT).candidate.values


def gabors_in_batches(peers: list[torch.nn.Module]) -> np.ndarray:
    """The same: all candidates in batches through all networks."""
    prepare, responses = pixel_matched(), []
    tried = candidates(SOME_GABORS).to_numpy()
    for start in range(0, len(tried), 256):
        images_px = prepare(np.stack([create_gabor(36, 64, *values) for values in tried[start : start + 256]]))
        images = torch.as_tensor((images_px[:, None] - MEAN_PX) / STD_PX, dtype=torch.float32)
        with torch.no_grad():
            responses.append(torch.stack([peer(images) for peer in peers]).mean(0).numpy())
    return np.concatenate(responses).argmax(0)


def window_and_whole(n_images: int, n_units: int):
    """Gradients of the demo's CNN, each image asked by one unit: from its window, and from the whole image."""
    config = read_config(ROOT / "config.yaml").networks["GaussianLaplace"]
    network = CorePlusReadout(config, {SCAN: n_units})
    network.initialize({SCAN: torch.ones(n_units)}, torch.Generator().manual_seed(0))
    network.eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n_images, 1, 36, 64, generator=generator).requires_grad_()
    units = torch.randint(0, n_units, (n_images,), generator=generator)
    readout = network.readout[SCAN]

    def window() -> torch.Tensor:
        return torch.autograd.grad(network(images, SCAN, units=units).sum(), images)[0]

    def whole() -> torch.Tensor:
        response = readout(network.core(images), None, units)
        return torch.autograd.grad(torch.nn.functional.elu(response).sum(), images)[0]

    return window, whole


def natural_like(n_images: int) -> np.ndarray:
    """(image, y, x) px, skewed as photos are."""
    return np.random.default_rng(0).gamma(2, 40, (n_images, 36, 64)).clip(0, 255)


def match_by_rendering(image: np.ndarray, mean: float, contrast: float) -> np.ndarray:
    """The published search: for each gain 1000 offsets, each rendered."""
    deviation, offsets = image - image.mean(), np.linspace(-30, 30, 1000)
    offsets = offsets[np.lexsort([-offsets, np.abs(offsets).round(9)])]  # nearest to 0 first, then the positive one
    gain, best = contrast / np.clip(deviation + mean, 0, 255).std(), None
    direction = np.sign(np.log(gain))
    while True:
        rendered = np.clip(gain * deviation + mean + offsets[:, None, None], 0, 255)
        error = np.abs(rendered.mean((1, 2)) - mean)
        picture = rendered[np.argmax(error <= error.min() + 2.55e-7)]
        if best is None or abs(picture.std() - contrast) < abs(best.std() - contrast):
            best = picture
        if direction == 0 or (picture.std() - contrast) * direction > 0:
            return best
        gain *= 1.05**direction


def our_matches(images: np.ndarray, mean: float, contrast: float) -> np.ndarray:
    """All at once."""
    return match_many(images, mean, contrast, 0, 255)
