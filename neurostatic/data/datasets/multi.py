"""Several data sets as one (StaticMultiDataset): the wanted units of each, in normalized units, tier by tier."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from neurostatic.data.anatomy import select_units
from neurostatic.data.datasets.normalization import Normalization, normalization
from neurostatic.data.frames import leaking_trials, picture_hashes
from neurostatic.store import InputError, read_arrays, report_problems

VARIABLES = ("images", "responses", "behavior", "pupil_center", "tier", "image_index", "unit_id", "brain_area", "layer")


@dataclass(frozen=True)
class Member:
    """One scan of a StaticMultiDataset: its chosen units and its normalization (StaticMultiDataset.Member).

    Arrays of a tier have the trials of that tier in the order of trial_idx; tier None means every trial.

    Attributes:
        name: the scan, and the key of its readout.
        data: as `build_dataset` gives it, with the chosen units.
        normalization: of the chosen units.
    """

    name: str
    data: xr.Dataset
    normalization: Normalization

    @property
    def unit_id(self) -> np.ndarray:
        """(unit,) ids of the chosen units."""
        return self.data.unit_id.values

    @cached_property
    def images_normalized(self) -> np.ndarray:
        """(image, 1, y, x) float32, once per image and not per trial: gather with `image_index`."""
        return self.normalization.images(self.data.images.values)[:, None]

    def trials(self, tier: str | None) -> np.ndarray:
        """(trial,) positions of the trials of a tier."""
        tiers = self.data.tier.values
        return np.arange(len(tiers)) if tier is None else np.flatnonzero(tiers == tier)

    def image_index(self, tier: str | None) -> np.ndarray:
        """(trial,) which of the images was shown; equal for repeats of an image."""
        return self.data.image_index.values[self.trials(tier)]

    def images(self, tier: str | None) -> np.ndarray:
        """(trial, 1, y, x) normalized images, one per trial."""
        return self.images_normalized[self.image_index(tier)]

    def behavior(self, tier: str | None) -> np.ndarray:
        """(trial, 3) normalized pupil_radius, dpupil, treadmill."""
        return self.normalization.behavior(self.data.behavior.values[self.trials(tier)])

    def eye(self, tier: str | None) -> np.ndarray:
        """(trial, 2) normalized pupil center x, y."""
        return self.normalization.eye(self.data.pupil_center.values[self.trials(tier)])

    def responses(self, tier: str | None) -> np.ndarray:
        """(trial, unit) normalized responses."""
        return self.normalization.responses(self.raw_responses(tier))

    def raw_responses(self, tier: str | None) -> np.ndarray:
        """(trial, unit) responses as recorded, for the oracle."""
        return self.data.responses.values[self.trials(tier)]


class StaticMultiDataset(Mapping):
    """An ordered mapping from the name of a scan to its Member (StaticMultiDataset)."""

    def __init__(self, members: list[Member]):
        self._members = {member.name: member for member in members}

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def open_multi_dataset(
    paths: Mapping[str, str | Path], brain_area: str, layer: str, exclude: tuple[str, ...] = ()
) -> StaticMultiDataset:
    """Read data sets and keep the wanted units of each (StaticMultiDataset, DataConfig.CorrectedAreaLayer).

    Statistics come from the train trials of each scan, over all its units, before the choice of units. A picture
    that is test (validation) in one scan is no train (validation) picture of another: such trials are left out,
    with a warning.

    Args:
        paths: store of each scan; their order is the order of the members.
        brain_area, layer: as in `select_units`.
        exclude: fields that are not normalized (DataConfig.exclude).

    Raises InputError that lists every store that cannot be read, has no such unit, or images of another size.
    """
    problems: list[str] = []
    datasets: dict[str, xr.Dataset] = {}
    for name, path in paths.items():
        try:
            dataset = read_arrays(path)
        except InputError as error:
            problems.append(str(error))
            continue
        missing = [variable for variable in VARIABLES if variable not in dataset.variables]
        if missing:
            problems.append(f"{path}: not a data set, it lacks {', '.join(missing)}")
        else:
            datasets[name] = dataset
    sizes = {name: (dataset.sizes["y"], dataset.sizes["x"]) for name, dataset in datasets.items()}
    if len(set(sizes.values())) > 1:
        problems.append(f"images differ in size (y, x): {sizes}; all scans need one size")
    members = []
    for name, dataset in _without_leaks(datasets).items():
        units = select_units(dataset.brain_area.values, dataset.layer.values, brain_area, layer)
        if not len(units):
            problems.append(
                f"scan {name}: no unit in area '{brain_area}' and layer '{layer}'; "
                f"areas: {_counts(dataset.brain_area)}; layers: {_counts(dataset.layer)}"
            )
            continue
        try:
            factors = normalization(dataset, exclude=exclude)
        except InputError as error:
            problems.append(f"scan {name}: {error}")
            continue
        members.append(Member(name, dataset.isel(unit=units), factors.of_units(units)))
    report_problems("data set", problems)
    return StaticMultiDataset(members)


def _counts(labels: xr.DataArray) -> str:
    return ", ".join(f"{label} {count}" for label, count in sorted(Counter(labels.values.tolist()).items()))


def _without_leaks(datasets: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Leave out trials whose picture belongs to a higher tier (train < validation < test) in another scan."""
    if len(datasets) < 2:
        return datasets
    pictures = [picture_hashes(dataset.images.values)[dataset.image_index.values] for dataset in datasets.values()]
    tiers = [dataset.tier.values for dataset in datasets.values()]
    leaking = leaking_trials(np.concatenate(tiers), np.concatenate(pictures))
    ends = np.cumsum([len(tier) for tier in tiers])[:-1]
    kept = {}
    for (name, dataset), leaks in zip(datasets.items(), np.split(leaking, ends), strict=True):
        if leaks.any():
            warnings.warn(
                f"scan {name}: {leaks.sum()} trials left out, their pictures are test or validation in other scans",
                stacklevel=3,
            )
        kept[name] = dataset.isel(trial=~leaks).assign_attrs(dropped_leaking=int(leaks.sum()))
    return kept
