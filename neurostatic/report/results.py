"""What a run has found, as the page needs it: small, so that many scans fit in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurostatic.config.networks import Network

N_EXAMPLES = 8
TIERS = ("train", "validation", "test", "test_mei", "final_test")


@dataclass(frozen=True)
class ScanResult:
    """One scan.

    Attributes:
        attributes: of the data set: how it was computed, how many trials were dropped for what.
        trials: tier -> number of trials kept.
        units: number of somata by brain_area (rows) and layer (columns).
        n_images: different images that were shown.
        examples: tier -> some of its images (image, y, x) px.
    """

    attributes: dict[str, Any]
    trials: dict[str, int]
    units: pd.DataFrame
    n_images: int
    examples: dict[str, np.ndarray]

    @property
    def n_units(self) -> int:
        """Units of the data set: its somata."""
        return int(self.units.to_numpy().sum())

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> number of trials left out for it."""
        dropped = {name: int(n) for name, n in self.attributes.items() if name.startswith("dropped_")}
        return {name.removeprefix("dropped_"): n for name, n in dropped.items()}


@dataclass(frozen=True)
class StimulusResult:
    """The stimulus sets of a data set, by kind, and the calibration they were made with.

    Attributes:
        manifests, qc: tables of each set, a row an image.
        examples: of each set the rows of its manifest for the images of the first units, and these images
            (image, y, x) uint8.
        calibration, fit: the measured levels, and the power laws of all calibrations of the scan.
    """

    manifests: dict[str, pd.DataFrame]
    qc: dict[str, pd.DataFrame]
    examples: dict[str, tuple[pd.DataFrame, np.ndarray]]
    calibration: pd.DataFrame
    fit: pd.DataFrame


@dataclass(frozen=True)
class DatasetResult:
    """One data set, its models, and what was made of them.

    Attributes:
        scans: names.
        reliability: oracle and ceilings of all modeled units.
        selection: table of all modeled units; best: the best model of each type.
        networks: of the models, by name; seeds: with each of which every network was to be trained.
        scores, history: of every model, with columns network and seed; one whose training failed has no rows.
        evaluation: test scores of every model and of the ensemble of each network's seeds (seed: text).
        cnn, linear: MEIs of the CNN, RFs of the linear model; masks: of the MEIs; natural: best natural images.
        gabors: best Gabors; probes: what else the CNN was asked; None if there are none.
        stimuli: None if no monitor calibration is known for its first scan.
        configs: rule -> the parameters it ran with, from the provenance of its results.
    """

    scans: list[str]
    reliability: pd.DataFrame
    selection: pd.DataFrame
    best: pd.DataFrame
    networks: dict[str, Network]
    seeds: list[int]
    scores: pd.DataFrame
    history: pd.DataFrame
    evaluation: pd.DataFrame
    cnn: xr.Dataset
    linear: xr.Dataset
    masks: xr.Dataset
    natural: xr.Dataset
    gabors: xr.Dataset | None
    probes: xr.Dataset | None
    stimuli: StimulusResult | None
    configs: dict[str, dict[str, Any]]

    @property
    def selected(self) -> pd.DataFrame:
        """Units whose MEIs were made, the first by hu_rank first."""
        return self.selection[self.selection.hu_rank.notna()].sort_values("hu_rank", ignore_index=True)

    def failed_seeds(self, network: str) -> list[int]:
        """Seeds whose training gave no model of a network."""
        trained = set(self.scores.seed[self.scores.network == network])
        return [seed for seed in self.seeds if seed not in trained]


@dataclass(frozen=True)
class LoopResult:
    """One closed loop: who was shown what, and what came of it.

    Attributes:
        dataset, source: the models, and the scan, that the images were made from.
        targets: later scan -> the stimulus sets that were shown in it.
        matches, unmatched: of every later scan, a row a unit that was found again and one that was not.
        confusion, diagonal, tests: of all target scans together.
        left_out: every unit and scan that takes no part in a result, with the reason.
        oracle: how alike matched cells respond to natural images; None if these were shown in no later scan.
        configs: rule -> the parameters it ran with.
    """

    dataset: str
    source: str
    targets: dict[str, list[str]]
    matches: pd.DataFrame
    unmatched: pd.DataFrame
    confusion: xr.Dataset
    diagonal: pd.DataFrame
    tests: pd.DataFrame
    left_out: pd.DataFrame
    oracle: pd.DataFrame | None
    configs: dict[str, dict[str, Any]]

    @property
    def kinds(self) -> list[str]:
        """Stimulus sets that were shown."""
        return list(dict.fromkeys(kind for kinds in self.targets.values() for kind in kinds))


@dataclass(frozen=True)
class PopulationResult:
    """The cells of all loops together; loops of one source scan are pooled, so that each of its cells stands once.

    Attributes:
        tests: with the animal as the outermost level.
        diagonal: response of every cell to its own MEI and to its own control.
    """

    tests: pd.DataFrame
    diagonal: pd.DataFrame


@dataclass(frozen=True)
class Results:
    """Everything on the page.

    Attributes:
        population: None if there is one loop or none.
        recovery, ceiling, true_stimuli: comparison with the truth of the virtual mouse; None for real scans.
        sources: path of each result -> its provenance.
        provenance: of the page itself; its `inputs` are the checksums of the results.
    """

    scans: dict[str, ScanResult]
    datasets: dict[str, DatasetResult]
    loops: dict[str, LoopResult]
    population: PopulationResult | None
    recovery: pd.DataFrame | None
    ceiling: pd.DataFrame | None
    true_stimuli: pd.DataFrame | None
    sources: dict[str, dict[str, Any]]
    provenance: dict[str, Any]


def summarize_scan(data: xr.Dataset) -> ScanResult:
    """Counts of a data set and a few of its images, of each tier the first in the order of the store."""
    tier, image_index = data.tier.values, data.image_index.values
    trials = {name: int((tier == name).sum()) for name in TIERS if (tier == name).any()}
    images = _gray_px(data.images)
    examples = {name: images[np.unique(image_index[tier == name])[:N_EXAMPLES]] for name in trials}
    area, layer = (pd.Series(data[name].values, name=name) for name in ("brain_area", "layer"))
    return ScanResult(dict(data.attrs), trials, pd.crosstab(area, layer), len(images), examples)


def _gray_px(images: xr.DataArray) -> np.ndarray:
    """(image, y, x) gray levels to look at: channels averaged, the brightest luminance is white."""
    if "channel" in images.dims:
        images = images.mean("channel")
    scale = 1.0 if images.attrs.get("units", "px") == "px" else 255 / images.values.max()
    return images.values * scale
