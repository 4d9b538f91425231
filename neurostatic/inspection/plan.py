"""What a run would cost: jobs, hours of a GPU, and disk, before anything is spent."""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from neurostatic.config import SIMULATE, Config
from neurostatic.config.networks import Network
from neurostatic.config.sections import Meis
from neurostatic.inspection.costs import ASCENT, TRAINING, forward_flop, n_parameters
from neurostatic.inspection.layout import bullets, columns, plural
from neurostatic.inspection.networks import read_overlays
from neurostatic.inspection.projects import clone_folder
from neurostatic.problems import InputError
from neurostatic.store import read_provenance, read_table

TYPICAL_EPOCHS = 40  # at which early stopping ended the training of the published network on a public scan
ASSUMED_TFLOPS = 5.0
VOLUMES_A_TRIAL = 7.4  # of a virtual mouse's scan
SHOWN_BYTES = 144 * 256  # of an image at the size at which a virtual mouse is shown it
DIVERSE_STEPS = 100  # of stimuli.diversity.diverse_images
ANNEALED = 5 * 300 * 12  # Gabors a unit of stimuli.gabors.optimal_gabors, before Nelder-Mead
STORED = 0.92  # of the size of responses and images, compressed


@dataclass(frozen=True)
class Size:
    """Of a scan: trials, different images, units."""

    trials: int
    images: int
    units: int


@dataclass(frozen=True)
class Rate:
    """What a device does of these networks, and how that is known."""

    tflops: float
    known: str
    device: str = "GPU"


def plan(overlays: list[str], tflops: float = 0.0) -> str:
    """The jobs that Snakemake would run in this folder, and what they take, as text.

    Args:
        overlays: config files as given to Snakemake's --configfile.
        tflops: what a GPU does of these networks; 0: as measured in this folder's trainings, else `ASSUMED_TFLOPS`.

    Raises InputError for a configuration or a scan that cannot be run.
    """
    config = read_overlays(overlays)
    jobs = planned_jobs(overlays)
    if not jobs:
        return "Nothing to be done: all results are there."
    sizes = {name: _scan_size(name, source, config) for name, source in config.scans.items()}
    datasets = {name: _together(sizes[scan] for scan in scans) for name, scans in config.datasets.items()}
    rate = Rate(tflops, "as you say") if tflops else measured_rate(config, datasets)
    all_jobs = {"train_model": _n_models(config), "make_meis": 2 * config.meis.jobs * len(datasets)}
    hours = {
        rule: flop / (rate.tflops * 1e12) / 3600 * jobs.get(rule, 0) / all_jobs.get(rule, len(datasets))
        for rule, flop in _flop(config, datasets).items()
    }
    disk = _disk_gb(config, sizes, datasets)
    notes = [
        f"{plural(len(config.scans), 'scan')}, {plural(len(datasets), 'data set')}, {len(config.networks)} networks x "
        f"{len(config.training.seeds)} seeds: {_n_models(config)} models.",
        f"Hours are of one {rate.device} at {rate.tflops:.3g} TFLOP/s, {rate.known}; --tflops N is another.",
        f"A training is taken to end after {_epochs(config)} epochs of at most {config.training.max_epochs}. MEIs are "
        "of as many units as `selection` may allow; cells too near to each other will make them fewer.",
    ]
    return "\n".join(
        [
            *columns([("rule", "jobs", f"{rate.device} hours"), *_rows(jobs, hours)]),
            "",
            *columns([("folder", "GB"), *((name, f"{gb:.3g}") for name, gb in disk.items())]),
            *columns([("all of results", f"{sum(disk.values()):.3g} GB")]),
            "",
            *bullets(notes),
        ]
    )


def _rows(jobs: dict[str, int], hours: dict[str, float]) -> list[tuple[str, int, str]]:
    """Rule, jobs, hours; and their sums."""
    rows = [(rule, n_jobs, f"{hours[rule]:.3g}" if rule in hours else "-") for rule, n_jobs in jobs.items()]
    return [*rows, ("total", sum(jobs.values()), f"{sum(hours.values()):.3g}")]


def planned_jobs(overlays: list[str]) -> dict[str, int]:
    """Rule -> jobs that a dry run of Snakemake lists.

    Raises InputError with what Snakemake says if it refuses.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "host", "reason"]
    command += ["--snakefile", str(clone_folder() / "Snakefile"), *(["--configfile", *overlays] if overlays else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        *_, reason = run.stdout.partition("Building DAG of jobs...")
        raise InputError(f"Snakemake refuses: {reason.strip() or run.stdout}")
    table = re.search(r"job +count\n[- ]+\n(.*?)\ntotal", run.stdout, re.S)
    counts = [line.split() for line in table[1].splitlines()] if table else []
    return {rule: int(count) for rule, count in counts if rule != "all"}


def measured_rate(config: Config, datasets: dict[str, Size], folder: str | Path = "results") -> Rate:
    """Rate at which the trainings of this folder ran, by their benchmark files; an assumption if there is none yet."""
    flop = seconds = 0.0
    devices = []
    for dataset, size in datasets.items():
        for name, network in config.networks.items():
            for seed in config.training.seeds:
                model = f"{dataset}/{name}/{seed}"
                benchmark = Path(folder, "benchmarks/train_model", f"{model}.tsv")
                history = Path(folder, "models", f"{model}_history.csv")
                if benchmark.is_file() and history.is_file():
                    flop += _epoch_flop(network, config, size) * len(read_table(history))
                    seconds += float(pd.read_csv(benchmark, sep="\t").s.iloc[0])
                    devices.append(read_provenance(history)["device"])
    if not devices:
        return Rate(ASSUMED_TFLOPS, "an assumption, as nothing was trained here yet")
    device = "GPU" if "cuda" in devices else "CPU core"
    return Rate(flop / seconds / 1e12, f"as {len(devices)} trainings here took", device)


def _epoch_flop(network: Network, config: Config, size: Size) -> float:
    return TRAINING * forward_flop(network, _size_px(config), size.units) * size.trials


def _flop(config: Config, datasets: dict[str, Size]) -> dict[str, float]:
    """Rule -> operations for all data sets: images that go through the networks, times what one costs."""
    size_px = _size_px(config)
    n_seeds = len(config.training.seeds)
    flop: dict[str, float] = dict.fromkeys(
        ("train_model", "evaluate_models", "make_meis", "search_gabors", "find_natural", "probe_models"), 0.0
    )
    for size in datasets.values():
        forward = {name: forward_flop(network, size_px, size.units) for name, network in config.networks.items()}
        cnn, linear = (
            max((forward[n] for n, network in config.networks.items() if network.model_type == kind), default=0.0)
            for kind in ("cnn", "linear")
        )
        units = round(size.units * (1 if config.meis.units == "all" else config.selection.top_fraction))
        flop["train_model"] += sum(
            _epoch_flop(network, config, size) * _epochs(config) * n_seeds for network in config.networks.values()
        )
        flop["evaluate_models"] += 2 * n_seeds * sum(forward.values()) * size.trials
        both = cnn * (2 if config.meis.each_seed else 1) + linear
        flop["make_meis"] += ASCENT * both * n_seeds * units * _ascents(config.meis)
        flop["search_gabors"] += cnn * n_seeds * _n_gabors(config, units)
        masked = len([kind for kind in config.natural.kinds if kind != "unmasked"])
        flop["find_natural"] += cnn * n_seeds * size.images * (1 + masked * units)
        flop["probe_models"] += cnn * n_seeds * units * _probed(config)
    return flop


def _ascents(meis: Meis) -> int:
    """Steps of all images of a unit."""
    steps = meis.iterations if meis.optimizer == "published" else meis.max_evaluations
    return steps * meis.starts * len(meis.eye) * len(meis.behavior) + meis.tuning_points


def _n_gabors(config: Config, units: int) -> int:
    """Gabors that go through the network; by the search without a grid each unit has its own."""
    if "mei_vs_gabor" not in config.stimuli.sets:
        return 0
    if config.gabors.search == "optimal":
        return ANNEALED * units
    lists = (getattr(config.gabors, name) for name in
             ("phases_deg", "wavelengths_px", "orientations_deg", "sigmas_px", "dys", "dxs"))  # fmt: skip
    return int(np.prod([len(values) for values in lists]))


def _probed(config: Config) -> int:
    """Images a unit that the probes ask about, forth, or forth and back."""
    probes = config.probes
    costs = {
        "confusion": 2,
        "shifts": 2 * (2 * probes.max_shift_px + 1) ** 2,
        "gradients": ASCENT * probes.n_gradient_images,
        "diverse": ASCENT * probes.n_diverse * DIVERSE_STEPS,
    }
    return sum(costs[part] for part in probes.parts)


def _disk_gb(config: Config, sizes: dict[str, Size], datasets: dict[str, Size]) -> dict[str, float]:
    """Folder of results -> GB."""
    size_px = _size_px(config)
    px = size_px[0] * size_px[1]
    simulated = [sizes[name] for name, source in config.scans.items() if source == SIMULATE]
    n_bytes = np.dtype(config.preprocessing.response_dtype).itemsize
    states = len(config.meis.eye) * len(config.meis.behavior) * config.meis.starts
    variants = states * (1 + len(config.training.seeds) * config.meis.each_seed)
    share = 1 if config.meis.units == "all" else config.selection.top_fraction
    disk = {
        "simulation": sum(s.images * SHOWN_BYTES + s.trials * VOLUMES_A_TRIAL * s.units * 4 for s in simulated),
        "datasets": sum(STORED * (s.trials * s.units * n_bytes + s.images * px * 4) for s in sizes.values()),
        "models": sum(
            4 * n_parameters(network, size_px, size.units) * len(config.training.seeds)
            for size in datasets.values()
            for network in config.networks.values()
        ),
        "meis": sum(2 * 2 * 4 * px * size.units * share * (1 + variants) for size in datasets.values()),
        "masks, gabors, natural, probes, stimuli": sum(10 * 4 * px * size.units * share for size in datasets.values()),
    }
    return {folder: count / 1e9 for folder, count in disk.items()}


def _scan_size(name: str, source: str, config: Config) -> Size:
    simulation = config.simulation
    if source == SIMULATE:
        kinds = [kind for loop in config.loops.values() for kind in loop.targets.get(name, ())]
        if kinds:
            copies = {"mei_vs_rf": len(config.stimuli.shifts_px) ** 2}
            images = sum(2 * config.stimuli.max_units * copies.get(kind, 1) for kind in kinds)
            return Size(images * simulation.closed_loop_repeats, images, simulation.n_cells)
        trials = simulation.n_images + simulation.n_repeated * (simulation.repeats - 1)
        return Size(trials, simulation.n_images, simulation.n_cells)
    if Path(source, "trials.csv").is_file():
        tables = (len(read_table(Path(source, table))) for table in ("trials.csv", "images.csv", "units.csv"))
        return Size(*tables)
    from neurostatic.data.importers import read_sensorium  # only here: it is slow to load

    data = read_sensorium(source)
    return Size(data.sizes["trial"], data.sizes["image"], data.sizes["unit"])


def _together(sizes: Iterable[Size]) -> Size:
    """The scans of one data set."""
    sizes = list(sizes)
    return Size(
        sum(size.trials for size in sizes), sum(size.images for size in sizes), sum(size.units for size in sizes)
    )


def _size_px(config: Config) -> tuple[int, int]:
    return config.preprocessing.height_px, config.preprocessing.width_px


def _epochs(config: Config) -> int:
    return min(TYPICAL_EPOCHS, config.training.max_epochs)


def _n_models(config: Config) -> int:
    return len(config.datasets) * len(config.networks) * len(config.training.seeds)
