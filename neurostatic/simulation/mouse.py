"""The virtual mouse from day to day: what it is shown, and what of it is written down."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from neurostatic.config import Simulation
from neurostatic.problems import InputError
from neurostatic.simulation.blemishes import spoil
from neurostatic.simulation.cortex import HEIGHT_PX, WIDTH_PX, Cortex, at_cell_resolution, grow_cortex
from neurostatic.simulation.export import write_export
from neurostatic.simulation.photos import crop_photos, load_photos
from neurostatic.simulation.recording import Session, record
from neurostatic.simulation.truth import scan_truth

SHOWN_HEIGHT_PX, SHOWN_WIDTH_PX = 144, 256
N_SCALING_IMAGES = 500
MIN_PRESENTATIONS = 20  # within which every blemish has its place
STIM_TYPES = {"gabor": "gabor", "masked_imagenet": "natural"}  # image class -> what a scan that shows it is called


def natural_session(config: Simulation, day: int = 1, only_repeated: bool = False) -> Session:
    """A day of natural images, most of them shown once, some repeated for the oracle; or of these alone.

    The images are the same on every day.

    Args:
        day: of the mouse, from 1; only_repeated: the repeated images alone, for an oracle scan.

    Raises InputError if the photos cannot be read, are too small or flat.
    """
    rng = np.random.default_rng([config.seed, 0])
    images_px = crop_photos(load_photos(config.photos), config.n_images, SHOWN_HEIGHT_PX, SHOWN_WIDTH_PX, rng)
    table = pd.DataFrame({"image_class": "photo", "image_id": np.arange(config.n_images)})
    shown = np.repeat(np.arange(config.n_repeated), config.repeats)
    if only_repeated:
        return Session(day, "imagenet", 0, images_px[: config.n_repeated], table[: config.n_repeated], shown)
    shown = np.concatenate([shown, np.arange(config.n_repeated, config.n_images)])
    return Session(day, "imagenet", 1, images_px, table, shown)


def closed_loop_session(config: Simulation, day: int, manifest: pd.DataFrame, images_px: np.ndarray) -> Session:
    """A later day: every image of a stimulus set, `closed_loop_repeats` times each.

    Args:
        manifest: image_class, image_id of each image; images_px: (image, 144, 256) uint8, as the set has them.

    Raises InputError if the images are no whole multiple of 36 x 64 px.
    """
    if images_px.shape[1] % HEIGHT_PX or images_px.shape[2] % WIDTH_PX:
        raise InputError(
            f"the virtual mouse sees {HEIGHT_PX} x {WIDTH_PX} px: stimuli must be a whole multiple of that, "
            f"found {images_px.shape[1]} x {images_px.shape[2]} px"
        )
    table = manifest[["image_class", "image_id"]].reset_index(drop=True)
    shown = np.repeat(np.arange(len(table)), config.closed_loop_repeats)
    stim_type = next((STIM_TYPES[name] for name in table.image_class if name in STIM_TYPES), "mei")
    return Session(day, stim_type, 0, images_px, table, shown)


def simulate_scan(config: Simulation, session: Session, folder: Path) -> xr.Dataset:
    """Record one session of the virtual mouse, write its raw export into `folder`, and return the truth.

    The cells are the same on every day: they depend on the configuration alone.

    Raises InputError for a day of too few presentations.
    """
    if len(session.shown) < MIN_PRESENTATIONS:
        raise InputError(
            f"day {session.day} of the virtual mouse: {len(session.shown)} presentations are too few, at least "
            f"{MIN_PRESENTATIONS} are needed; raise simulation.closed_loop_repeats or simulation.repeats"
        )
    rng = np.random.default_rng([config.seed, 2, session.day, 1])
    cortex = virtual_cortex(config)
    recording = record(cortex, session, config, rng)
    experiment = spoil(recording, config, rng)
    write_export(experiment, folder)
    return scan_truth(cortex, recording, experiment, config)


def virtual_cortex(config: Simulation) -> Cortex:
    """The cells of the mouse with this seed."""
    rng = np.random.default_rng([config.seed, 3])
    photos = load_photos("bundled")
    images_px = crop_photos(photos, N_SCALING_IMAGES, SHOWN_HEIGHT_PX, SHOWN_WIDTH_PX, rng)
    return grow_cortex(config.n_cells, config.median_events, at_cell_resolution(images_px), config.seed)


def evoked_by(truth: xr.Dataset, images_px: np.ndarray) -> np.ndarray:
    """True evoked response (image,) of unit i of a truth store to image i of (image, 36, 64) px."""
    if not len(images_px):
        return np.zeros(0, np.float32)
    cells = truth[[name for name in truth.data_vars if truth[name].dims == ("unit",)]].to_dataframe()
    cortex = Cortex.from_cells(cells, torch.tensor(truth.evoked_scale.values))
    with torch.no_grad():
        return cortex.evoked(torch.tensor(images_px, dtype=torch.float32)[None])[0].numpy()
