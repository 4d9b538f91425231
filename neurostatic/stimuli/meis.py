"""Most exciting images: of every unit, in every state of the mouse, from every start, by every seed, as one batch."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from neurostatic.config import Meis
from neurostatic.stimuli.ascent import Respond, ascend
from neurostatic.stimuli.batches import images_that_fit, in_batches
from neurostatic.stimuli.projected import ascend_projected
from neurostatic.stimuli.scale import FLAT_STD_PX, Scale
from neurostatic.stimuli.tuning import contrast_tuning
from neurostatic.stimuli.variants import ENSEMBLE, best_of_starts, disagreement

START_MEAN_PX, START_STD_PX = 128.0, 8.0


def make_meis(
    respond: Respond,
    units: np.ndarray,
    scan: str,
    unit_ids: list[int],
    scale: Scale,
    size_px: tuple[int, int],
    config: Meis,
    seeds: tuple[str, ...] = (),
    device: torch.device | str = "cpu",
    free_bytes: float = np.inf,
    report: Callable[[str], None] = print,
) -> xr.Dataset:
    """MEI: the most exciting image of every unit of a scan, its activation and its contrast tuning.

    All units x starts x states of the mouse (config.eye x config.behavior) x models (the ensemble and, with
    config.each_seed, every seed) are one batch, cut to memory. A unit's start images are the same for every state and
    model, so that what differs between its images is due to these.

    Args:
        respond: normalized images and questions (image, 3): index of the unit, of the state (behaviors run fastest)
            and of the seed (-1: the mean over seeds) -> (image,).
        units: (unit,) indices that `respond` understands; unit_ids: (unit,) their names in `scan`.
        scale: of the images that the networks were trained on; size_px: height and width.
        seeds: names of the seeds, in the order that `respond` understands.
        free_bytes: memory to fill, as for `optimize`.

    Returns:
        mei (unit, y, x) px: by the ensemble, in the first state, from the best start; `score_meis` of it, and
        best_start (unit), the one it came from. Where there is more than one state, start or model also variant_mei
        (model, eye, behavior, unit, start, y, x) px and variant_activation, each by its own model in its own state,
        NaN where it failed; with two or more seeds seed_disagreement (unit) = 1 - mean correlation between the MEIs of
        two seeds, in the first state, from the best start of each.

    Source: MEI, MEIParameter.
    """
    models = {ENSEMBLE: -1, **(dict(zip(seeds, range(len(seeds)), strict=True)) if config.each_seed else {})}
    n_states = len(config.eye) * len(config.behavior)
    shape = (len(models), n_states, len(units), config.starts)
    model, state, unit, start = (axis.ravel() for axis in np.indices(shape))
    asked = np.stack([units[unit], state, np.array(list(models.values()))[model]], 1)
    starts_px = start_images([scan] * len(units), unit_ids, *size_px, config.seed, config.starts)  # (unit, start, y, x)
    streams = [[config.seed, zlib.crc32(scan.encode()), unit_ids[u], s, 1] for u, s in zip(unit, start, strict=True)]
    jitter_px = jitter_offsets(streams, config) if config.jitter_px else None
    questions = torch.as_tensor(asked, device=device)
    found = optimize(respond, questions, starts_px[unit, start], scale, config, jitter_px, free_bytes, report)

    activation = found.activation.reshape(shape)
    chosen = best_of_starts(activation[0, 0])
    rows = np.ravel_multi_index((0, 0, np.arange(len(units)), chosen), shape)
    meis = score_meis(respond, questions[rows], found.take(rows), scale, config)
    meis["best_start"] = ("unit", chosen)
    if found.activation.size > len(units):
        named = {"model": list(models), "eye": list(config.eye), "behavior": list(config.behavior)}
        dims = (*named, "unit", "start")
        full = tuple(map(len, named.values())) + shape[2:]
        meis["variant_mei"] = ((*dims, "y", "x"), found.images_px.reshape(*full, *size_px))
        meis["variant_activation"] = (dims, found.activation.reshape(full))
        meis = meis.assign_coords({name: np.array(labels, dtype=str) for name, labels in named.items()})
        if len(models) > 2:
            of_seeds = found.images_px.reshape(*shape, -1)[1:, 0]  # (seed, unit, start, pixel)
            best = best_of_starts(activation[1:, 0])
            of_seeds = np.take_along_axis(of_seeds, best[..., None, None], 2)[:, :, 0]
            meis["seed_disagreement"] = ("unit", disagreement(of_seeds))
    return meis


@dataclass(frozen=True)
class Optimized:
    """What an ascent came to, image by image.

    Attributes:
        images_px: (image, y, x) float32; activation: (image,) response to it, after clipping to gray levels. Both are
            NaN where it failed.
        history: (step, image) responses on the way; evaluations: (image,) of the model; converged: (image,) bool.
        failed: (image,) the reason, or "".
    """

    images_px: np.ndarray
    activation: np.ndarray
    history: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray
    failed: np.ndarray

    def take(self, rows: np.ndarray) -> "Optimized":
        """Some of the images."""
        return Optimized(
            self.images_px[rows], self.activation[rows], self.history[:, rows], self.evaluations[rows],
            self.converged[rows], self.failed[rows],
        )  # fmt: skip


def optimize(
    respond: Respond,
    questions: torch.Tensor,
    start_px: np.ndarray,
    scale: Scale,
    config: Meis,
    jitter_px: np.ndarray | None = None,
    free_bytes: float = np.inf,
    report: Callable[[str], None] = print,
) -> Optimized:
    """Raise each image's response by the optimizer of the config, in batches that fit memory.

    Args:
        questions: (image, ...) what each image asks `respond`; start_px: (image, y, x).
        jitter_px: (step, image, 2) of the published ascent.
        free_bytes: memory to fill; on a CPU by the start images and the result too.
    """
    n_images, device = len(start_px), questions.device
    images_px = np.empty(start_px.shape, np.float32)
    contrast_px = np.empty(n_images)  # NaN where a pixel is
    if device.type == "cpu":
        free_bytes -= start_px.nbytes + images_px.nbytes
    batch_size = n_images
    if n_images > 1 and np.isfinite(free_bytes):
        two = scale.normalize(start_px[:2], device)
        batch_size = min(n_images, images_that_fit(respond, questions, two, free_bytes))
    if batch_size < n_images:
        report(f"{batch_size} of {n_images} images at a time, as memory allows")

    def work(part: slice) -> list[np.ndarray]:
        asked = respond, questions[part], scale.normalize(start_px[part], device), scale.bounds, scale.std_px, config
        if config.optimizer == "projected":
            images, record = ascend_projected(*asked, report=report)
            found = [record[name].values for name in ("response", "evaluations", "converged")]
        else:
            images, history = ascend(*asked, None if jitter_px is None else jitter_px[:, part], report)
            found = [history, np.full(len(images), config.iterations), np.zeros(len(images), dtype=bool)]
        images_px[part] = scale.to_px(images)
        contrast_px[part] = images_px[part].std((1, 2), dtype=float)
        return found

    histories, *counted = zip(*in_batches(work, n_images, batch_size, report), strict=True)
    evaluations, converged = map(np.concatenate, counted)
    steps = max(map(len, histories))  # batches whose images all stopped early have fewer
    history = np.concatenate(
        [np.pad(part, ((0, steps - len(part)), (0, 0)), constant_values=np.nan) for part in histories], 1
    )
    activation = _responses(respond, questions, images_px, scale, batch_size)
    still = ((history == history[0]) | np.isnan(history)).all(0) & (activation == history[0])
    if config.optimizer == "projected":  # it ended where it began: the image is the noise
        still |= evaluations == 1
    failed = np.select(
        [~(np.isfinite(contrast_px) & np.isfinite(activation)), contrast_px < FLAT_STD_PX, still],
        ["not finite", "flat: the image has no contrast", "no gradient: the response does not depend on the image"],
        "",
    )
    images_px[failed != ""], activation[failed != ""] = np.nan, np.nan
    return Optimized(images_px, activation, history, evaluations, converged, failed)


def score_meis(respond: Respond, questions: torch.Tensor, found: Optimized, scale: Scale, config: Meis) -> xr.Dataset:
    """What is kept of each unit's image: the image and how the unit responds to it.

    Returns:
        mei (unit, y, x) px; activation, monotonic, max_activation, max_contrast, sat_contrast, lim_contrast, img_mean,
        contrast_px (standard deviation, ddof 1) (unit); tuning_contrast, tuning_response (unit, gain); evaluations,
        converged (unit); history (step, unit); failed (unit): the reason, or "". A failed unit's numbers are NaN.
    """
    mei = found.images_px.astype(float)
    usable = np.flatnonzero(found.failed == "")
    names = ("max_activation", "max_contrast", "sat_contrast", "lim_contrast", "monotonic")
    scores = {name: np.full(len(mei), np.nan) for name in names}
    tuning = np.full((2, len(mei), config.tuning_points), np.nan)
    for unit in usable:

        def respond_px(images_px: np.ndarray, unit: np.intp = unit) -> np.ndarray:
            return _responses(respond, questions[unit].expand(len(images_px), *questions.shape[1:]), images_px, scale)

        tuned = contrast_tuning(mei[unit], respond_px, config.tuning_points)
        tuning[:, unit] = tuned.pop("contrast"), tuned.pop("response")
        for name, value in tuned.items():
            scores[name][unit] = value
    scores |= {
        "activation": found.activation,
        "img_mean": mei.mean((1, 2)),
        "contrast_px": mei.std((1, 2), ddof=1),
        "evaluations": found.evaluations,
        "converged": found.converged,
        "failed": found.failed,
    }
    return xr.Dataset(
        {
            "mei": (("unit", "y", "x"), mei),
            **{name: ("unit", values) for name, values in scores.items()},
            "tuning_contrast": (("unit", "gain"), tuning[0]),
            "tuning_response": (("unit", "gain"), tuning[1]),
            "history": (("step", "unit"), found.history),
        }
    )


def start_images(
    scans: list[str], unit_ids: list[int], height: int, width: int, seed: int, n_starts: int = 1
) -> np.ndarray:
    """(unit, start, y, x) float32 noise, mean 128 px, std 8 px, of streams of their own: any batch gives the same."""
    images = np.empty((len(unit_ids), n_starts, height, width), np.float32)
    for row, (scan, unit_id) in enumerate(zip(scans, unit_ids, strict=True)):
        for start in range(n_starts):
            stream = [seed, zlib.crc32(scan.encode()), unit_id, *([start] if start else [])]
            noise = np.random.default_rng(stream).normal(START_MEAN_PX, START_STD_PX, (height, width))
            images[row, start] = noise.clip(0, 255)
    return images


def jitter_offsets(streams: list[list[int]], config: Meis) -> np.ndarray:
    """(step, image, 2) whole px from -jitter to jitter along x and y, each image's from a stream of its own."""
    low, high = -config.jitter_px, config.jitter_px + 1
    drawn = [np.random.default_rng(stream).integers(low, high, (config.iterations, 2)) for stream in streams]
    return np.stack(drawn, 1)


def _responses(
    respond: Respond, questions: torch.Tensor, images_px: np.ndarray, scale: Scale, batch_size: int = 256
) -> np.ndarray:
    """(image,) responses to gray levels (image, y, x), without gradient."""
    responses = []
    with torch.no_grad():
        for start in range(0, len(images_px), batch_size):
            part = slice(start, start + batch_size)
            responses.append(respond(scale.normalize(images_px[part], questions.device), questions[part]).cpu())
    return torch.cat(responses).double().numpy()
