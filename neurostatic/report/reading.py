"""Read what a run has left in its results folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from neurostatic.config.networks import Network
from neurostatic.problems import InputError
from neurostatic.report.results import (
    DatasetResult,
    LoopResult,
    PopulationResult,
    Results,
    ScanResult,
    StimulusResult,
    summarize_scan,
)
from neurostatic.store import PROVENANCE, load_arrays, open_arrays, read_provenance, read_table

N_SHOWN_UNITS = 6  # of each stimulus set, whose images are shown


class ResultsFolder:
    """A results folder that remembers which files were read from it, and their provenance.

    Attributes:
        sources: path of each file that was read -> its provenance.
    """

    def __init__(self, folder: str | Path):
        self.folder = str(folder)
        self.sources: dict[str, dict[str, Any]] = {}

    def table(self, name: str) -> pd.DataFrame:
        """A CSV table."""
        path = f"{self.folder}/{name}"
        found = read_table(path)
        self.sources[path] = read_provenance(path)
        return found

    def arrays(self, name: str, but: tuple[str, ...] = ()) -> xr.Dataset:
        """A Zarr zip store in memory, all but some variables, which need not be there."""
        path = f"{self.folder}/{name}"
        opened = open_arrays(path)
        found = load_arrays(opened, path, tuple(variable for variable in but if variable in opened))
        self.sources[path] = json.loads(found.attrs[PROVENANCE])
        return found

    def scan(self, name: str) -> ScanResult:
        """Verdict and data set of a scan."""
        path = f"{self.folder}/scans/{name}.json"
        try:
            verdict = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable JSON file ({error})") from error
        self.sources[path] = verdict["provenance"]
        return summarize_scan(self.arrays(f"datasets/{name}.zarr.zip", but=("responses",)))

    def configs(self, *names: str) -> dict[str, dict[str, Any]]:
        """Rule -> the parameters it ran with, of files that were read."""
        configs = [self.sources[f"{self.folder}/{name}"]["config"] for name in names]
        return {config["rule"]: config for config in configs}


def read_results(
    folder: str | Path,
    scans: list[str],
    datasets: dict[str, list[str]],
    loops: dict[str, dict[str, Any]],
    networks: list[str],
    seeds: list[int],
    stimulated: list[str],
    kinds: list[str],
    probed: bool,
    with_truth: bool,
    provenance: dict[str, Any],
) -> Results:
    """Everything that the page shows.

    Args:
        folder: of the results.
        datasets: name -> its scans; loops: name -> dataset, source, targets (scan -> stimulus sets), oracle (scans).
        networks, seeds: of the models; stimulated: data sets with stimulus sets; kinds: of these.
        probed: whether the models were asked more than their MEIs.
        with_truth: whether the comparison with the virtual mouse is there.
        provenance: of the page.

    Raises InputError for a file that is missing or not readable.
    """
    results = ResultsFolder(folder)
    return Results(
        scans={scan: results.scan(scan) for scan in scans},
        datasets={
            name: _dataset(results, name, list(members), networks, seeds, kinds if name in stimulated else [], probed)
            for name, members in datasets.items()
        },
        loops={name: _loop(results, name, loop) for name, loop in loops.items()},
        population=_population(results) if len(loops) > 1 else None,
        recovery=results.table("truth/recovery.csv") if with_truth else None,
        ceiling=results.table("truth/ceiling.csv") if with_truth else None,
        true_stimuli=results.table("truth/stimuli.csv") if with_truth else None,
        sources=results.sources,
        provenance=provenance,
    )


def _population(results: ResultsFolder) -> PopulationResult:
    tests, diagonal = (results.table(f"closed_loop/population{table}.csv") for table in ("", "_diagonal"))
    return PopulationResult(tests, diagonal)


def _dataset(
    results: ResultsFolder,
    name: str,
    scans: list[str],
    networks: list[str],
    seeds: list[int],
    kinds: list[str],
    probed: bool,
) -> DatasetResult:
    def of_models(ending: str) -> pd.DataFrame:
        tables = [
            results.table(f"models/{name}/{network}/{seed}{ending}.csv").assign(network=network, seed=seed)
            for network in networks
            for seed in seeds
        ]
        # A model that failed has no rows; without types of its own it would change those of the others' columns.
        return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)

    selection, masks = f"selection/{name}.csv", f"masks/{name}.zarr.zip"
    probes = f"probes/{name}.zarr.zip" if probed else ""
    natural, gabors = f"natural/{name}.zarr.zip", f"gabors/{name}.zarr.zip" if "mei_vs_gabor" in kinds else ""
    cnn, linear = (f"meis/{name}/{model_type}.zarr.zip" for model_type in ("cnn", "linear"))
    scores = of_models("")
    of_networks = {network: results.configs(f"models/{name}/{network}/{seeds[0]}.csv") for network in networks}
    found = DatasetResult(
        scans=scans,
        reliability=results.table(f"reliability/{name}.csv"),
        selection=results.table(selection),
        best=results.table(f"selection/{name}_models.csv"),
        networks={network: Network(**config["train_model"]["network"]) for network, config in of_networks.items()},
        seeds=seeds,
        scores=scores,
        history=of_models("_history"),
        evaluation=results.table(f"evaluation/{name}.csv"),
        cnn=results.arrays(cnn),
        linear=results.arrays(linear),
        masks=results.arrays(masks),
        natural=results.arrays(natural, but=("shown_px",)),
        gabors=results.arrays(gabors) if gabors else None,
        probes=results.arrays(probes, but=("diverse", "point_rf", "grad_rf")) if probes else None,
        stimuli=_stimuli(results, name, scans[0], kinds) if kinds else None,
        configs=of_networks[networks[0]],
    )
    used = [selection, cnn, masks, natural, *filter(None, [gabors, probes])]
    used += [f"stimuli/{name}/{kind}/qc.csv" for kind in kinds[:1]]
    found.configs.update(results.configs(*used))
    return found


def _stimuli(results: ResultsFolder, dataset: str, first_scan: str, kinds: list[str]) -> StimulusResult:
    manifests = {kind: results.table(f"stimuli/{dataset}/{kind}/manifest.csv") for kind in kinds}
    return StimulusResult(
        manifests=manifests,
        qc={kind: results.table(f"stimuli/{dataset}/{kind}/qc.csv") for kind in kinds},
        examples={
            kind: _first_images(f"{results.folder}/stimuli/{dataset}/{kind}", manifest)
            for kind, manifest in manifests.items()
        },
        calibration=results.table(f"calibrations/{first_scan}.csv"),
        fit=results.table(f"calibrations/{first_scan}_fit.csv"),
    )


def _first_images(folder: str, manifest: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The centered images of the first units of a stimulus set: their rows of the manifest, and (image, y, x)."""
    centered = manifest[(manifest.x_shift == 0) & (manifest.y_shift == 0)]
    first = centered.groupby("image_class", sort=False).head(N_SHOWN_UNITS).reset_index(drop=True)
    images = []
    for file in first.file:
        try:
            with Image.open(f"{folder}/{file}") as picture:
                images.append(np.asarray(picture.convert("L")))
        except (OSError, ValueError, SyntaxError) as error:  # pillow reports some broken PNGs as SyntaxError
            raise InputError(f"{folder}/{file}: not a readable image ({error})") from error
    return first, np.stack(images)


def _loop(results: ResultsFolder, name: str, loop: dict[str, Any]) -> LoopResult:
    folder = f"closed_loop/{name}"
    matches, confusion = f"{folder}/matches.csv", f"{folder}/confusion.zarr.zip"
    return LoopResult(
        dataset=loop["dataset"],
        source=loop["source"],
        targets={scan: list(kinds) for scan, kinds in loop["targets"].items()},
        matches=results.table(matches),
        unmatched=results.table(f"{folder}/unmatched.csv"),
        confusion=results.arrays(confusion),
        diagonal=results.table(f"{folder}/diagonal.csv"),
        tests=results.table(f"{folder}/tests.csv"),
        left_out=results.table(f"{folder}/left_out.csv"),
        oracle=results.table(f"{folder}/oracle.csv") if loop["oracle"] else None,
        configs=results.configs(matches, confusion),
    )
