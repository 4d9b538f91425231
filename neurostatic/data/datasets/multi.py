"""Several data sets as one (StaticMultiDataset): the wanted units of each, in normalized units, tier by tier."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr

from neurostatic.config import DataConfig
from neurostatic.data.anatomy import units_in
from neurostatic.data.datasets.normalization import DEFAULT, Normalization, normalization
from neurostatic.data.reliability import permutation_p
from neurostatic.data.tiers import leaking_trials
from neurostatic.problems import InputError, NoModelError, report_problems
from neurostatic.store import load_arrays, open_arrays

VARIABLES = (
    "images", "responses", "behavior", "pupil_center", "tier", "image_index", "image_class", "image_id",
    "images_picture", "stimulus_type", "unit_id", "brain_area", "layer",
)  # fmt: skip
RELIABILITY_SEED = 0  # of the permutation test, the same for every data set: its p value is a property of the data
IN_MEMORY_BYTES = 2**30  # responses (as float32) of all scans above this stay in the files, read batch by batch


@dataclass(frozen=True)
class Member:
    """One scan of a StaticMultiDataset: its chosen units and its normalization (StaticMultiDataset.Member).

    Arrays of a tier have the trials of that tier in the order of trial_idx; tier None means every trial.

    Attributes:
        name: the scan, and the key of its readout.
        data: as `build_dataset` gives it, with the chosen units and trials.
        normalization: of the chosen units.
        in_memory: whether responses are in memory, or in the store to be read when they are asked for.
    """

    name: str
    data: xr.Dataset
    normalization: Normalization
    in_memory: bool = True

    @property
    def unit_id(self) -> np.ndarray:
        """(unit,) ids of the chosen units."""
        return self.data.unit_id.values

    @cached_property
    def images_normalized(self) -> np.ndarray:
        """(image, channel, y, x) float32, once per image and not per trial: gather with `image_index`."""
        images = self.normalization.images(self.data.images.values)
        return images if "channel" in self.data.images.dims else images[:, None]

    def trials(self, tier: str | None) -> np.ndarray:
        """(trial,) positions of the trials of a tier."""
        tiers = self.data.tier.values
        return np.arange(len(tiers)) if tier is None else np.flatnonzero(tiers == tier)

    def image_index(self, tier: str | None) -> np.ndarray:
        """(trial,) which of the images was shown; equal for repeats of an image."""
        return self.data.image_index.values[self.trials(tier)]

    def images(self, tier: str | None) -> np.ndarray:
        """(trial, channel, y, x) normalized images, one per trial."""
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
        return self.data.responses[self.trials(tier)].values


class StaticMultiDataset(dict[str, Member]):
    """The data sets that one model is fitted to: name of a scan -> its Member (StaticMultiDataset)."""


def open_multi_dataset(paths: Mapping[str, str | Path], config: DataConfig = DEFAULT) -> StaticMultiDataset:
    """Open data sets, and keep the wanted units and trials of each (StaticMultiDataset, DataConfig).

    Statistics come from all units of a scan, before the choice of units, and from the trials that `normalization`
    names. An image that is test (validation) in one scan is no train (validation) image of another: such trials are
    left out, with a warning, as is a scan without a wanted unit. Responses of more than 1 GB in all stay in their
    stores and are read when they are asked for.

    Args:
        paths: store of each scan; their order is the order of the members.

    Raises InputError that lists every store that cannot be read or has images of another size; NoModelError if no scan
    is left.
    """
    problems: list[str] = []
    datasets: dict[str, xr.Dataset] = {}
    for name, path in paths.items():
        try:
            datasets[name] = _open(path)
        except InputError as error:
            problems.append(str(error))
    in_memory = sum(4 * dataset.responses.size for dataset in datasets.values()) <= IN_MEMORY_BYTES
    if in_memory:
        datasets = {name: load_arrays(dataset, paths[name]) for name, dataset in datasets.items()}
    sizes = {name: {dim: dataset.sizes[dim] for dim in dataset.images.dims[1:]} for name, dataset in datasets.items()}
    if any(size != next(iter(sizes.values())) for size in sizes.values()):
        problems.append(f"images differ in size: {sizes}; all scans need one size")
    members, empty = [], []
    for name, dataset in _without_leaks(datasets).items():
        try:
            normalizer = normalization(dataset, config)
            trials = trials_of_type(dataset.stimulus_type.values, config.stimulus_type)
        except InputError as error:
            problems.append(f"scan {name}: {error}")
            continue
        units = units_in(dataset.brain_area.values, dataset.layer.values, config.brain_area, config.layer)
        if config.reliable_p < 1:
            units = units[_reliable(dataset.isel(unit=units), config.reliable_p)]
        if not len(units):
            wanted = f"no unit in area '{config.brain_area}' and layer '{config.layer}'"
            wanted += f" with p below {config.reliable_p}" if config.reliable_p < 1 else ""
            empty.append(
                f"scan {name}: {wanted}; areas: {_counts(dataset.brain_area)}; layers: {_counts(dataset.layer)}"
            )
            continue
        if len(units) < dataset.sizes["unit"]:  # a choice of all would only slow down reading
            dataset = dataset.isel(unit=units)
        if len(trials) < dataset.sizes["trial"]:
            dataset = dataset.isel(trial=trials)
        members.append(Member(name, dataset, normalizer.of_units(units), in_memory))
    report_problems("data set", problems)
    if not members:
        raise NoModelError("data set: no scan has a unit for the models\n" + "\n".join(f"  - {scan}" for scan in empty))
    _warn_of_unknown_names(datasets, config)
    for left_out in empty:
        warnings.warn(f"left out: {left_out}", stacklevel=2)
    return StaticMultiDataset({member.name: member for member in members})


def _open(path: str | Path) -> xr.Dataset:
    """A data set in memory, but for its responses.

    Raises InputError if it is not one.
    """
    dataset = open_arrays(path)
    missing = [variable for variable in VARIABLES if variable not in dataset.variables]
    if missing:
        raise InputError(f"{path}: not a data set, it lacks {', '.join(missing)}")
    return load_arrays(dataset, path, but=("responses",))


def trials_of_type(stimulus_type: np.ndarray, wanted: str) -> np.ndarray:
    """Trials of some stimulus types (DataConfig.stimulus_type).

    Args:
        stimulus_type: (trial,) text.
        wanted: 'all', or types joined by '|'; '~a' stands for every type but a.

    Returns:
        (chosen,) positions of the trials, ascending.

    Raises InputError if there is none.
    """
    chosen = np.zeros(len(stimulus_type), dtype=bool)
    for name in wanted.split("|"):
        if name == "all":
            chosen[:] = True
        else:
            chosen |= stimulus_type != name[1:] if name.startswith("~") else stimulus_type == name
    if not chosen.any():
        shown = ", ".join(np.unique(stimulus_type))
        raise InputError(f"data_config.stimulus_type: no trial is '{wanted}'; shown were {shown}")
    return np.flatnonzero(chosen)


def _reliable(dataset: xr.Dataset, p: float) -> np.ndarray:
    """(unit,) units whose responses to repeated test images agree beyond chance (DataConfig.AreaLayerReliable).

    Upstream took the p of BootstrapOracleTTest, whose samples are not independent; here it is that of a permutation.
    """
    test = np.flatnonzero(dataset.tier.values == "test")
    found = permutation_p(dataset.responses[test].values, dataset.image_index.values[test], RELIABILITY_SEED)
    return np.nan_to_num(found, nan=1.0) < p


def _warn_of_unknown_names(datasets: dict[str, xr.Dataset], config: DataConfig) -> None:
    """A name among several that no unit of any scan has is perhaps misspelt."""
    for key in ("brain_area", "layer"):
        known = {name for dataset in datasets.values() for name in dataset[key].values.tolist()}
        names = getattr(config, key).split("+")
        unknown = [name for name in names if name not in known] if len(names) > 1 and names[0] != "all" else []
        if unknown:
            found = ", ".join(sorted(known))
            warnings.warn(f"data_config.{key}: no unit is of {', '.join(unknown)}; found: {found}", stacklevel=3)


def _counts(labels: xr.DataArray) -> str:
    return ", ".join(f"{label} {count}" for label, count in sorted(Counter(labels.values.tolist()).items()))


def _without_leaks(datasets: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Leave out trials whose image belongs to a higher tier (train < validation < test) in another scan.

    The same image has the same pixels, as they were shown, or the same class and id.
    """
    if len(datasets) < 2:
        return datasets
    tiers = [dataset.tier.values for dataset in datasets.values()]
    pictures = [dataset.images_picture.values[dataset.image_index.values] for dataset in datasets.values()]
    names = [
        [f"{a}|{b}" for a, b in zip(dataset.image_class.values, dataset.image_id.values, strict=True)]
        for dataset in datasets.values()
    ]
    leaking = np.zeros(sum(map(len, tiers)), dtype=bool)
    for identity in (pictures, names):
        leaking |= leaking_trials(np.concatenate(tiers), np.concatenate(identity))
    ends = np.cumsum([len(tier) for tier in tiers])[:-1]
    kept = {}
    for (name, dataset), leaks in zip(datasets.items(), np.split(leaking, ends), strict=True):
        if leaks.any():
            warnings.warn(
                f"scan {name}: {leaks.sum()} trials left out, their images are test or validation in other scans",
                stacklevel=3,
            )
            dataset = dataset.isel(trial=~leaks)
        kept[name] = dataset
    return kept
