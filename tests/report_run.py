"""A tiny finished run, written without computing one, and the page that is made of it."""

import html
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from synthetic_loops import confusion_and_diagonal, left_out_table, loop_tests_table, matching_tables, oracle_table

from neurostatic.config import (
    STIMULUS_SETS,
    DataConfig,
    Gabors,
    Masks,
    Meis,
    Network,
    Probes,
    Selection,
    Stimuli,
    Training,
)
from neurostatic.fitting.evaluation import summarize_scores
from neurostatic.fitting.selection import best_models
from neurostatic.fitting.training import HISTORY
from neurostatic.provenance import provenance
from neurostatic.report.page import write_page
from neurostatic.report.reading import read_results
from neurostatic.report.results import Results
from neurostatic.stimuli.files import MANIFEST_COLUMNS, StimulusSet, image_checksum, write_set
from neurostatic.store import write_arrays, write_json, write_table

NETWORKS = {
    "GaussianLaplace": Network(gamma_hidden=1.0),
    "Stacked2d": Network(core="Stacked2d", readout="FullGaussian2d", shifter="none", modulator="none"),
    "Linear<i>$x": Network(core="StackedLinearGaussianLaplace"),
    "Identity": Network(core="Identity", modulator="none"),
}
SEEDS = [1, 2]
MATCHING = {
    "method": "proximity", "one_to_one": False, "max_distance_um": np.inf, "min_vote_fraction": 0.0,
    "min_posterior": 0.0,
}  # fmt: skip
STATISTICS = {"seed": 0, "n_permutations": 10_000, "n_resamples": 9_000}
N_UNITS, N_SELECTED = 12, 5
AREAS = ["V1", "<b>LM & co</b>"]
Models = tuple[tuple[str, int], ...]
KINDS = list(STIMULUS_SETS)
LOOP = {
    "dataset": "mouse",
    "source": "day1",
    "targets": {"day2": ("mei_vs_rf",), "day3": ("mei_vs_gabor", "mei_vs_natural"), "day4": ("mei_vs_natural",)},
    "oracle": ("day5",),
}
SCANS = ["day1", *LOOP["targets"], *LOOP["oracle"]]
LOST = {"day3": [1], "day4": [1, 3]}  # units that are not found again
SKIPPED = {"day4": "it shares no stack with <day1>"}
CONSTANT = {"day2": 2}
CELLS = ["simple", "linear", "end_stopped", "complex", "complex"]
DISAGREEMENT = [0.11, 0.21, 0.41, 0.31, 0.61]


def made(rule: str, **parameters) -> dict:
    return provenance({"rule": rule, **parameters}, {}, 0, "cpu")


def write_scan(folder: Path, name: str, stim_type: str, rng: np.random.Generator) -> None:
    tiers = np.repeat(["train", "validation", "test"], [8, 2, 5]) if stim_type == "imagenet" else np.repeat("train", 15)
    n = len(tiers)
    data = xr.Dataset(
        {
            "images": (("image", "y", "x"), rng.uniform(0, 255, (n, 9, 16)).astype("float32")),
            "responses": (("trial", "unit"), np.ones((n, N_UNITS), "float32")),
        },
        {
            "tier": ("trial", tiers),
            "image_index": ("trial", np.arange(n)),
            "brain_area": ("unit", np.array(AREAS)[np.arange(N_UNITS) % 2]),
            "layer": ("unit", np.repeat("L2/3", N_UNITS)),
        },
        {"animal_id": 7, "session": 1, "scan_idx": 2, "day": 1, "stim_type": stim_type, "dropped_excluded": 3,
         "dropped_eye": 41, "height_px": 9, "width_px": 16},
    )  # fmt: skip
    write_arrays(data, folder / f"datasets/{name}.zarr.zip", made("build_dataset"))
    write_json({"scan": name, "info": {}, "provenance": made("import_scan")}, folder / f"scans/{name}.json")


def write_model(folder: Path, network: str, seed: int, scores: pd.DataFrame, history: list[dict]) -> None:
    training = asdict(Training()) | {"seeds": None, "checkpoint_epochs": None}
    of_network = NETWORKS[network].settings()
    origin = made("train_model", network=of_network, training=training, data_config=asdict(DataConfig()))
    write_table(scores, folder / f"models/mouse/{network}/{seed}.csv", origin)
    write_table(pd.DataFrame(history, columns=HISTORY), folder / f"models/mouse/{network}/{seed}_history.csv", origin)


def write_evaluation(folder: Path, scans: list[str], oracle: np.ndarray, bad: Models = ()) -> None:
    """Known fractions of the oracle: 0.8 alone, with seed 2 0.9, together 1.0; frozen 0.25 less."""
    alone = np.multiply.outer(np.array([[[0.8, 0.55], [0.9, 0.65]]] * len(NETWORKS)), oracle)
    together = np.multiply.outer(np.array([[1.0, 0.75]] * len(NETWORKS)), oracle)
    for i, network in enumerate(NETWORKS):
        failed = [(network, seed) in bad for seed in SEEDS]
        alone[i, failed] = np.nan
        if all(failed):
            together[i] = np.nan
    dims, of_ensemble = ("network", "seed", "state", "unit"), ("network", "state", "unit")
    variables = {"pearson": (dims, alone), "ensemble_pearson": (of_ensemble, together)}
    for name, value in (("cc_abs", 0.111), ("cc_norm", 0.222), ("feve", -0.333)):
        variables[name] = (dims, alone * 0 + value)
        variables[f"ensemble_{name}"] = (of_ensemble, together * 0 + value)
    coordinates = {"network": list(NETWORKS), "seed": SEEDS, "state": ["per trial", "frozen"]}
    evaluation = xr.Dataset(variables, coordinates | {"scan": ("unit", scans), "oracle": ("unit", oracle)})
    write_table(summarize_scores(evaluation), folder / "evaluation/mouse.csv", made("evaluate_models"))


def write_models(folder: Path, rng: np.random.Generator, bad: Models) -> None:
    all_scores = []
    for network in NETWORKS:
        for seed in SEEDS:
            scores = [
                {"scan": "day1", "unit_id": unit, "tier": tier, "pearson": rng.uniform(0, 0.5)}
                for tier in ("validation", "test")
                for unit in range(N_UNITS)
            ]
            history = [
                {"stage": epoch // 3, "learning_rate": 0.01 / (1 + epoch // 3), "epoch": epoch + 1, "loss": 1.0,
                 "correlation_before": 0.05 * epoch}
                for epoch in range(5)
            ]  # fmt: skip
            if (network, seed) in bad:
                scores, history = [], []
            table = pd.DataFrame(scores, columns=["scan", "unit_id", "tier", "pearson"])
            write_model(folder, network, seed, table, history)
            all_scores.append(table.assign(network=network, seed=seed))
    best = best_models(pd.concat(all_scores), {name: network.model_type for name, network in NETWORKS.items()})
    selection = pd.DataFrame(
        {
            "scan": "day1",
            "unit_id": np.arange(N_UNITS),
            "oracle": rng.uniform(0, 0.7, N_UNITS),
            "cnn_corr": rng.uniform(0, 0.6, N_UNITS),
            "lin_corr": rng.uniform(0, 0.5, N_UNITS),
            "hu_rank": pd.array([*range(N_SELECTED), *[pd.NA] * (N_UNITS - N_SELECTED)], dtype="Int64"),
            "left_out": [
                "",
                "",
                "",
                "",
                "",
                "oracle",
                "oracle",
                "edge",
                "percentile",
                "percentile",
                "distance",
                "oracle",
            ],
        }
    )
    reliability = selection[["scan", "unit_id", "oracle"]].assign(
        oracle_spearman=0.2,
        cc_max=0.8,
        explainable=rng.uniform(0.01, 0.3, N_UNITS),
        p_repeat=np.linspace(0, 0.1, N_UNITS),
        n_images=20,
        n_trials=130,
    )
    write_table(reliability, folder / "reliability/mouse.csv", made("measure_reliability"))
    write_evaluation(folder, ["day1"] * N_UNITS, selection.oracle.to_numpy(), bad)
    origin = made("select_units", data_config=asdict(DataConfig()), selection=asdict(Selection()))
    write_table(selection, folder / "selection/mouse.csv", origin)
    write_table(best, folder / "selection/mouse_models.csv", origin)


def write_images(folder: Path, rng: np.random.Generator) -> None:
    coords = {"scan": ("unit", ["day1"] * N_SELECTED), "unit_id": ("unit", np.arange(N_SELECTED))}
    for model_type in ("cnn", "linear"):
        mei = 128 + rng.normal(0, 20, (N_SELECTED, 9, 16))
        meis = xr.Dataset(
            {
                "mei": (("unit", "y", "x"), mei),
                "activation": ("unit", rng.uniform(1, 3, N_SELECTED)),
                "monotonic": ("unit", np.arange(N_SELECTED) % 2 * 1.0),
                "evaluations": ("unit", np.arange(N_SELECTED) + 31),
                "converged": ("unit", np.arange(N_SELECTED) > 0),
                "tuning_contrast": (("unit", "gain"), np.tile(np.arange(6.0), (N_SELECTED, 1))),
                "tuning_response": (("unit", "gain"), rng.uniform(0, 3, (N_SELECTED, 6))),
                "failed": ("unit", [""] * N_SELECTED),
            },
            coords,
        )
        if model_type == "cnn":
            meis = with_variants(meis, ["ensemble", "1", "2"], rng)
        write_meis(folder, model_type, meis)
    mask = np.zeros((N_SELECTED, 9, 16))
    mask[:, 3:7, 5:11] = 1
    none = np.array([""] * N_SELECTED)
    variables = {
        "tight_mask": (("unit", "y", "x"), mask),
        "reduction_ratio": ("unit", np.full(N_SELECTED, 0.876)),
        "failed": ("unit", none),
    }
    write_arrays(
        xr.Dataset(variables, coords), folder / "masks/mouse.zarr.zip", made("make_masks", masks=asdict(Masks()))
    )
    of_kinds = {
        "natural_px": (("kind", "unit", "y", "x"), rng.uniform(0, 255, (2, N_SELECTED, 9, 16))),
        "activation": (("kind", "unit"), rng.uniform(1, 3, (2, N_SELECTED))),
        "failed": (("kind", "unit"), np.array([none, none])),
    }
    natural = xr.Dataset(of_kinds, coords | {"kind": ["unmasked", "tight"]})
    origin = made("find_natural", kinds=["unmasked", "tight"], folder="")
    write_arrays(natural, folder / "natural/mouse.zarr.zip", origin)


def with_variants(meis: xr.Dataset, models: list[str], rng: np.random.Generator) -> xr.Dataset:
    """MEIs as each model makes them from two starts, of which the second is better; of seeds, how much they differ."""
    shape = (len(models), 1, 1, meis.sizes["unit"], 2)
    dims = ("model", "eye", "behavior", "unit", "start")
    meis = meis.assign(
        variant_mei=((*dims, "y", "x"), rng.normal(128, 20, (*shape, 9, 16)).astype("float32")),
        variant_activation=(
            dims,
            np.broadcast_to([1.0, 2.0], shape) + np.arange(len(models))[:, None, None, None, None],
        ),
    ).assign_coords(model=models, eye=["mean"], behavior=["none"])
    return meis.assign(seed_disagreement=("unit", DISAGREEMENT)) if len(models) > 2 else meis


def write_meis(folder: Path, model_type: str, meis: xr.Dataset, **changed) -> None:
    origin = made("join_meis", meis=asdict(Meis(**changed)))
    write_arrays(meis, folder / f"meis/mouse/{model_type}.zarr.zip", origin)


def write_gabors(folder: Path, rng: np.random.Generator) -> None:
    gabors = xr.Dataset(
        {
            "gabor_px": (("unit", "y", "x"), rng.normal(111, 16, (N_SELECTED, 9, 16))),
            "activation": ("unit", rng.uniform(1, 3, N_SELECTED)),
            "failed": ("unit", [""] * N_SELECTED),
        },
        {"scan": ("unit", ["day1"] * N_SELECTED), "unit_id": ("unit", np.arange(N_SELECTED))},
    )
    origin = made("search_gabors", gabors=asdict(Gabors()), target_cd_m2=(10, 2))
    write_arrays(gabors, folder / "gabors/mouse.zarr.zip", origin)


def write_stimuli(folder: Path, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    """A set whose CNN predicts the greater response to the MEI for the units 0, 2 and 4."""
    classes, owners = np.repeat(STIMULUS_SETS[kind], N_SELECTED), np.tile(np.arange(N_SELECTED), 2)
    images = rng.integers(0, 256, (len(owners), 18, 32), dtype=np.uint8)
    manifest = pd.DataFrame({"image_class": classes, "image_id": owners, "owner_scan": "day1", "owner_unit_id": owners})
    manifest = manifest.assign(
        x_shift=0,
        y_shift=0,
        file=[f"{image_class}/{image_id}.png" for image_class, image_id in zip(classes, owners, strict=True)],
        sha256=[image_checksum(image) for image in images],
        predicted_response=np.where(np.arange(len(owners)) < N_SELECTED, owners % 2 == 0, 0.5) + 1.0,
    )[list(MANIFEST_COLUMNS)]
    qc = manifest[["image_class", "image_id"]].assign(
        mean_cd_m2=rng.normal(10, 0.1, len(owners)), contrast_cd_m2=2.0, clipped_fraction=0.0321, ok=True
    )
    origin = made("make_stimuli", stimuli=asdict(Stimuli()), interpolation="pchip")
    write_set(StimulusSet(images, manifest, qc), folder / "stimuli/mouse" / kind, origin)
    return manifest


def write_loop(folder: Path, rng: np.random.Generator) -> None:
    units = np.arange(N_SELECTED)
    write_gabors(folder, rng)
    pixel = np.arange(0, 256, 51)
    calibration = pd.DataFrame({"timestamp": "t", "pixel_value": pixel, "luminance_cd_m2": 3e-4 * pixel**2.0 + 0.5})
    fit = {"timestamp": ["t", "u"], "rig": ["2P3", "2P3"], "amplitude": 3e-4, "gamma": 2.0, "offset": 0.5, "mse": 0.0,
           "gap_hours": [7.25, 99.0], "chosen": [True, False]}  # fmt: skip
    write_table(calibration, folder / "calibrations/day1.csv", made("calibrate_monitor"))
    write_table(pd.DataFrame(fit), folder / "calibrations/day1_fit.csv", made("calibrate_monitor"))
    shown = []
    for kind in KINDS:
        write_stimuli(folder, kind, rng)
        true = rng.uniform(0.5, 3, (2, N_SELECTED))
        shown.append(
            pd.DataFrame({"unit_id": units, "kind": CELLS, "true_mei": true[0], "true_control": true[1]})
            .assign(scan="day1", stimulus_set=kind)
        )  # fmt: skip
    write_table(pd.concat(shown), folder / "truth/stimuli.csv", made("compare_truth"))
    write_loop_tables(folder, "loop1", rng)
    recovery = pd.DataFrame(
        {"scan": "day1", "unit_id": units, "kind": CELLS,
         "oracle": 0.4, "mei_drive_ratio": rng.uniform(0.6, 1, N_SELECTED),
         "rf_drive_ratio": rng.uniform(0, 1, N_SELECTED), "match_correct": [1.0, 1.0, 0.0, 1.0, 1.0]}
    )  # fmt: skip
    ceiling = pd.DataFrame({"scan": "day1", "unit_id": np.arange(N_UNITS), "kind": "simple"})
    ceiling["noiseless_correlation"] = rng.uniform(0.2, 0.8, N_UNITS)
    write_table(recovery, folder / "truth/recovery.csv", made("compare_truth"))
    write_table(ceiling, folder / "truth/ceiling.csv", made("compare_truth"))


def write_loop_tables(folder: Path, name: str, rng: np.random.Generator) -> tuple[pd.DataFrame, xr.Dataset]:
    """What the rules of a loop leave; its diagonal and confusion matrices are given back."""
    units, place = np.arange(N_SELECTED), folder / "closed_loop" / name
    matches, unmatched = matching_tables(units, SCANS[1:], LOST, rng)
    confusion, diagonal = confusion_and_diagonal(units, KINDS, 1.8, name, rng)
    matched, summarized = made("match_cells", matching=MATCHING), made("summarize_confusion", statistics=STATISTICS)
    write_table(matches, place / "matches.csv", matched)
    write_table(unmatched, place / "unmatched.csv", matched)
    write_table(left_out_table(unmatched, SKIPPED, CONSTANT), place / "left_out.csv", summarized)
    write_table(oracle_table(["day5"], N_SELECTED), place / "oracle.csv", made("correlate_matches"))
    write_arrays(confusion, place / "confusion.zarr.zip", summarized)
    write_table(diagonal, place / "diagonal.csv", summarized)
    write_table(loop_tests_table(confusion, diagonal, name), place / "tests.csv", summarized)
    return diagonal, confusion


def write_probes(folder: Path, rng: np.random.Generator) -> None:
    """Units whose own image is best, but for the last."""
    n = N_SELECTED
    confusion = rng.uniform(0, 1, (2, n, n))
    confusion[0, range(n), range(n)] = 2.0
    confusion[0, 0, n - 1] = 3.0
    confusion[1, range(n), range(n)] = 0.5
    coords = {"model_type": ["cnn", "linear"], "y_shift": [-1, 0, 1], "x_shift": [-1, 0, 1]}
    probes = xr.Dataset(
        {
            "confusion": (("model_type", "image_unit", "matched_unit"), confusion),
            "shift_response": (("model_type", "unit", "y_shift", "x_shift"), rng.uniform(0.5, 1, (2, n, 3, 3))),
            "share": (("unit", "component"), np.tile([0.4, 0.7], (n, 1))),
            "similarity": ("unit", np.full(n, 0.25)),
        },
        coords | {"scan": ("unit", ["day1"] * n), "unit_id": ("unit", np.arange(n))},
    )
    write_arrays(probes, folder / "probes/mouse.zarr.zip", made("probe_models", probes=asdict(Probes())))


def write_tree(folder: Path, with_loop: bool, bad: Models = ()) -> Path:
    """A tiny finished run; bad: the networks and seeds whose trainings failed."""
    rng = np.random.default_rng(3)
    write_scan(folder, "day1", "imagenet", rng)
    write_models(folder, rng, bad)
    write_images(folder, rng)
    if with_loop:
        for scan in LOOP["targets"]:
            write_scan(folder, scan, "mei", rng)
        write_scan(folder, "day5", "imagenet", rng)
        write_loop(folder, rng)
        write_probes(folder, np.random.default_rng(4))
    return folder


def read(folder: Path, with_loop: bool, loops: tuple[str, ...] = ("loop1",)) -> Results:
    return read_results(
        folder,
        scans=SCANS if with_loop else ["day1"],
        datasets={"mouse": ["day1"]},
        loops=dict.fromkeys(loops if with_loop else (), LOOP),
        networks=list(NETWORKS),
        seeds=SEEDS,
        stimulated=["mouse"] if with_loop else [],
        kinds=KINDS,
        probed=with_loop,
        with_truth=with_loop,
        provenance=made("write_report"),
    )


def page_of(folder: Path, with_loop: bool, loops: tuple[str, ...] = ("loop1",)) -> str:
    write_page(read(folder, with_loop, loops), folder / "report.html")
    return (folder / "report.html").read_text("utf-8")


def words_of(page: str) -> str:
    """The page without its pictures, as a reader sees it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"data:[^\"]*", "", page)))


def rows_of(page: str, title: str) -> list[list[str]]:
    """Cells of the table with a title, row by row, without its header."""
    table = page.split(f"<strong>{title}</strong>")[0].rsplit("<table>", 1)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in table.split("</tr>")]
    return [[html.unescape(cell) for cell in row] for row in rows if row]


def change_table(path: Path, **columns) -> None:
    table = pd.read_csv(path)
    for column, value in columns.items():
        table.loc[0, column] = value
    table.to_csv(path, index=False)
