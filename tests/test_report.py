"""The report: every section, numbers as in the tables, nothing from elsewhere, nothing unescaped."""

import html
import json
import re
import runpy
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from neurostatic.closed_loop.confusion import confusion_dataset, diagonal_entries, pool_confusions, scan_confusion
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.config import DataConfig, Masks, Matching, Meis, Network, Selection, Statistics, Stimuli, Training
from neurostatic.fitting.ensembles import summarize_scores
from neurostatic.fitting.selection import best_models
from neurostatic.fitting.training import HISTORY
from neurostatic.provenance import checksum, provenance
from neurostatic.report.figures_closed_loop import confusion_figure
from neurostatic.report.figures_models import learning_figure
from neurostatic.report.figures_stimuli import gray_limit
from neurostatic.report.methods import methods_section
from neurostatic.report.page import write_page
from neurostatic.report.reading import read_results
from neurostatic.report.sections_models import models_section
from neurostatic.report.style import tile
from neurostatic.statistics import slope_through_origin
from neurostatic.store import InputError, write_arrays, write_json, write_table

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "write_report.py"
SECTIONS = ["summary", "data", "oracle", "models", "meis", "stimuli", "closed-loop", "truth", "methods", "origin"]
NETWORKS = {
    "GaussianLaplace": Network(gamma_hidden=1.0),
    "Stacked2d": Network(core="Stacked2d", readout="FullGaussian2d", shifter="none", modulator="none"),
    "Linear<i>$x": Network(core="StackedLinearGaussianLaplace"),
    "Identity": Network(core="Identity", modulator="none"),
}
SEEDS = [1, 2]
N_UNITS, N_SELECTED = 12, 5
AREAS = ["V1", "<b>LM & co</b>"]
Models = tuple[tuple[str, int], ...]
LOOP = {"dataset": "mouse", "source": "day1", "targets": ["day2"]}


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
                "tuning_contrast": (("unit", "gain"), np.tile(np.arange(6.0), (N_SELECTED, 1))),
                "tuning_response": (("unit", "gain"), rng.uniform(0, 3, (N_SELECTED, 6))),
                "failed": ("unit", [""] * N_SELECTED),
            },
            coords,
        )
        write_arrays(meis, folder / f"meis/mouse/{model_type}.zarr.zip", made("make_meis", meis=asdict(Meis())))
    mask = np.zeros((N_SELECTED, 9, 16))
    mask[:, 3:7, 5:11] = 1
    masks = xr.Dataset(
        {"tight_mask": (("unit", "y", "x"), mask), "reduction_ratio": ("unit", np.full(N_SELECTED, 0.876))}, coords
    )
    write_arrays(masks, folder / "masks/mouse.zarr.zip", made("make_masks", masks=asdict(Masks())))


def write_loop(folder: Path, rng: np.random.Generator) -> None:
    units = np.arange(N_SELECTED)
    classes = np.repeat(["multi_cnn_mei", "multi_lin_rf"], N_SELECTED)
    owners = np.tile(units, 2)
    origin = made("make_stimuli", stimuli=asdict(Stimuli()))
    manifest = pd.DataFrame({"image_class": classes, "image_id": owners, "owner_scan": "day1", "owner_unit_id": owners})
    qc = manifest[["image_class", "image_id"]].assign(
        mean_cd_m2=rng.normal(10, 0.1, len(owners)), contrast_cd_m2=2.0, clipped_fraction=0.0321, ok=True
    )
    write_table(manifest, folder / "stimuli/mouse/mei_vs_rf/manifest.csv", origin)
    write_table(qc, folder / "stimuli/mouse/mei_vs_rf/qc.csv", origin)
    pixel = np.arange(0, 256, 51)
    calibration = pd.DataFrame({"timestamp": "t", "pixel_value": pixel, "luminance_cd_m2": 3e-4 * pixel**2.0 + 0.5})
    fit = {"timestamp": ["t", "u"], "amplitude": 3e-4, "gamma": 2.0, "offset": 0.5, "mse": 0.0, "chosen": [True, False]}
    write_table(calibration, folder / "calibrations/day1.csv", made("calibrate_monitor"))
    write_table(pd.DataFrame(fit), folder / "calibrations/day1_fit.csv", made("calibrate_monitor"))
    matches = pd.DataFrame(
        {"scan": "day2", "src_unit_id": units, "unit_id": units + 100, "match_freq": 2, "total_stacks": 3,
         "mean_distance_um": np.linspace(1, 4.4, N_SELECTED), "shared": 1}
    )  # fmt: skip
    write_table(matches, folder / "closed_loop/loop1/matches.csv", made("match_cells", matching=asdict(Matching())))

    n_repeats = 8
    trial_class, trial_owner = np.repeat(classes, n_repeats), np.repeat(owners, n_repeats)
    drive = 2.0 * (trial_owner[:, None] == units) * np.where(trial_class == "multi_cnn_mei", 1.5, 1.0)[:, None]
    responses = rng.gamma(2.0, 0.3, drive.shape) + drive
    summaries, diagonals, tests = {}, [], []
    for response in ("normalized", "zscore"):
        centered = np.ones(len(trial_owner), bool)
        table = scan_confusion(
            responses, units + 100, trial_class, trial_owner, centered, matches[["src_unit_id", "unit_id"]], response
        )
        summaries[response] = pool_confusions([table])
        diagonals.append(diagonal_entries(summaries[response]).assign(response=response))
        tests.append(loop_tests(summaries[response], response, 0, 200).assign(response=response))
    origin = made("summarize_confusion", statistics=asdict(Statistics()))
    write_arrays(confusion_dataset(summaries), folder / "closed_loop/loop1/confusion.zarr.zip", origin)
    write_table(pd.concat(diagonals), folder / "closed_loop/loop1/diagonal.csv", origin)
    write_table(pd.concat(tests), folder / "closed_loop/loop1/tests.csv", origin)
    recovery = pd.DataFrame(
        {"scan": "day1", "unit_id": units, "kind": ["simple", "simple", "end_stopped", "complex", "complex"],
         "oracle": 0.4, "mei_drive_ratio": rng.uniform(0.6, 1, N_SELECTED),
         "rf_drive_ratio": rng.uniform(0, 1, N_SELECTED), "match_correct": [1.0, 1.0, 0.0, 1.0, 1.0]}
    )  # fmt: skip
    ceiling = pd.DataFrame({"scan": "day1", "unit_id": np.arange(N_UNITS), "kind": "simple"})
    ceiling["noiseless_correlation"] = rng.uniform(0.2, 0.8, N_UNITS)
    write_table(recovery, folder / "truth/recovery.csv", made("compare_truth"))
    write_table(ceiling, folder / "truth/ceiling.csv", made("compare_truth"))


def write_tree(folder: Path, with_loop: bool, bad: Models = ()) -> Path:
    """A tiny finished run; bad: the networks and seeds whose trainings failed."""
    rng = np.random.default_rng(3)
    write_scan(folder, "day1", "imagenet", rng)
    write_models(folder, rng, bad)
    write_images(folder, rng)
    if with_loop:
        write_scan(folder, "day2", "mei", rng)
        write_loop(folder, rng)
    return folder


def read(folder: Path, with_loop: bool):
    return read_results(
        folder,
        scans=["day1", "day2"] if with_loop else ["day1"],
        datasets={"mouse": ["day1"]},
        loops={"loop1": LOOP} if with_loop else {},
        networks=list(NETWORKS),
        seeds=SEEDS,
        with_truth=with_loop,
        provenance=made("write_report"),
    )


def page_of(folder: Path, with_loop: bool) -> str:
    write_page(read(folder, with_loop), folder / "report.html")
    return (folder / "report.html").read_text("utf-8")


def words_of(page: str) -> str:
    """The page without its pictures, as a reader sees it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"data:[^\"]*", "", page)))


class Inputs(list):
    """As Snakemake hands them to a script: a list, some of it named."""

    verdicts = ("results/scans/day1.json", "results/scans/day2.json")
    truth = ("results/truth/recovery.csv", "results/truth/ceiling.csv")


class Params(dict):
    __getattr__ = dict.__getitem__


def run_script(folder: Path) -> None:
    """Run the rule's script as Snakemake does, in the folder that holds results/."""
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".csv", ".zip")]
    params = {"datasets": {"mouse": ["day1"]}, "loops": {"loop1": LOOP}, "networks": list(NETWORKS), "seeds": SEEDS}
    job = SimpleNamespace(
        input=Inputs(files), output=["results/report.html"], params=Params(params), rule="write_report",
        log=["results/logs/write_report.log"],
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(SCRIPT.parent))
        runpy.run_path(str(SCRIPT), init_globals={"snakemake": job})


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("run") / "results", with_loop=True)


@pytest.fixture(scope="module")
def page(tree) -> str:
    run_script(tree.parent)
    return (tree / "report.html").read_text("utf-8")


def test_page_has_every_section_and_figure(page):
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    assert re.findall(r'<a href="#([^"]+)"', page) == SECTIONS
    assert page.count("<img ") == 13
    assert page.count("<figcaption>") == page.count("<figure>") > 13
    assert "Left out" not in page


def test_page_is_offline(page):
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert not re.search(r"://|<script|<link|@import|url\(", page)  # none of these can occur within base64
    links = [link for link in re.findall(r'href="([^"]*)', page) if not link.startswith("#")]
    assert "closed_loop/loop1/tests.csv" in links


def test_links_lead_to_the_files(tree, page):
    links = [unquote(link) for link in re.findall(r'href="([^#"][^"]*)', page)]
    assert len(links) > 20
    assert all((tree / link).is_file() for link in links)
    sums = re.findall(r"<td>([0-9a-f]{12})</td></tr>", page)
    assert checksum(tree / "selection/mouse.csv")[:12] in sums


def test_numbers_are_those_of_the_tables(tree, page):
    words = words_of(page)
    selection = pd.read_csv(tree / "selection/mouse.csv")
    ceiling = pd.read_csv(tree / "truth/ceiling.csv")
    tests = pd.read_csv(tree / "closed_loop/loop1/tests.csv")
    diagonal = pd.read_csv(tree / "closed_loop/loop1/diagonal.csv")
    recovery = pd.read_csv(tree / "truth/recovery.csv")
    assert f"oracle median {selection.oracle.median():.3f} (n = {N_UNITS} units)" in words
    explainable = pd.read_csv(tree / "reliability/mouse.csv").explainable
    assert f"day1 {N_UNITS} 20 x 6.5 {selection.oracle.median():.3f} 0.200 {explainable.median():.3f} 0.800 2" in words
    mean = ceiling.noiseless_correlation.mean()
    assert f"noiseless rate predicts single trials with a mean correlation of {mean:.3f} (n = {N_UNITS} units)" in words
    assert f"mean correlation of {selection.cnn_corr.mean():.3f}" in words
    p_values = tests[tests.response == "normalized"].set_index("test").p_value
    assert f"permutation test of the diagonal p = {p_values['diagonal_permutation']:.3g}" in words
    assert f"Wilcoxon p = {p_values['cnn_vs_linear_wilcoxon']:.3g}" in words
    for row in tests.dropna(subset="p_value").itertuples():
        assert f"<td>{row.p_value:.3g}</td>" in page
    normalized = diagonal[diagonal.response == "normalized"]
    more = int(((normalized.q_value < 0.05) & (normalized.diff_resp > 0)).sum())
    assert more > 0
    assert f"Of 5 cells tested, {more} respond significantly more to their MEI" in words
    assert f"MEI {recovery.mei_drive_ratio.median():.3f} (n = 5), RF {recovery.rf_drive_ratio.median():.3f}" in words
    assert "right cell: 80 % (n = 5 units)" in words
    assert "end stopped" in words
    assert "day1 59 15 8 2 5" in words  # recorded, kept, train, validation, test
    assert "at most 3.21 % of an image" in words
    assert "keep a median of 0.876 of the response" in words
    assert "within 5 % of mean 10 cd/m² and contrast 2 cd/m²" in words


def test_networks_are_of_two_types(tree, page):
    words = words_of(page)
    for kind, network in (("CNN", "Stacked2d"), ("linear model", "Identity")):
        of_tier = [
            pd.concat([pd.read_csv(tree / f"models/mouse/{network}/{seed}.csv").assign(seed=seed) for seed in SEEDS])
            .query(f"tier == '{tier}'")
            .groupby("seed")
            .pearson.mean()
            for tier in ("validation", "test")
        ]
        validation, test = (f"{mean.mean():.3f} ({mean.min():.3f} to {mean.max():.3f})" for mean in of_tier)
        assert f"{kind} {network} 2 {validation} {test}" in words
    best = pd.read_csv(tree / "selection/mouse_models.csv")
    assert sorted(best.model_type) == ["cnn", "linear"]
    for row in best.itertuples():
        assert re.search(rf"<td>{re.escape(html.escape(row.network))}</td><td>2</td>.*<td>{row.seed}</td></tr>", page)


def rows_of(page: str, title: str) -> list[list[str]]:
    """Cells of the table with a title, row by row, without its header."""
    table = page.split(f"<strong>{title}</strong>")[0].rsplit("<table>", 1)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in table.split("</tr>")]
    return [[html.unescape(cell) for cell in row] for row in rows if row]


def test_ensembles_are_beside_their_seeds(tree, page):
    mean = pd.read_csv(tree / "selection/mouse.csv").oracle.mean()
    together, low, high = (f"{factor * mean:.3f}\n{(factor - 0.25) * mean:.3f}" for factor in (1.0, 0.8, 0.9))
    alone = "\n".join(f"{a} to {b}" for a, b in zip(low.split("\n"), high.split("\n"), strict=True))
    others = [f"{value}\n{value}" for value in ("0.111", "0.222", "-0.333")]
    assert rows_of(page, "Test scores.") == [
        [network, "2", str(N_UNITS), "per trial\nfrozen", together, alone, *others, "1.000\n0.750"]
        for network in NETWORKS
    ]


def test_ensembles_are_told_scan_by_scan(tmp_path):
    folder = write_tree(tmp_path, with_loop=False)
    write_evaluation(folder, ["day1"] * 4 + ["day2"] * 8, np.repeat([0.5, 0.25], [4, 8]))
    rows = rows_of(page_of(folder, with_loop=False), "Test scores.")
    wanted = [("day1", "4", "0.500\n0.375"), ("day2", "8", "0.250\n0.188"), ("all scans", "12", "0.333\n0.250")]
    assert [row[:2] + row[3:4] + row[5:6] for row in rows] == [
        [network, scan, n_units, correlation] for scan, n_units, correlation in wanted for network in NETWORKS
    ]


def test_models_that_failed_are_counted_and_leave_the_rest_as_it_is(tmp_path):
    bad = (("Stacked2d", 2), ("Identity", 1), ("Identity", 2))
    folder = write_tree(tmp_path, with_loop=False, bad=bad)
    dataset = read(folder, with_loop=False).datasets["mouse"]
    assert dataset.history.dtypes.stage.kind == "i"
    titles = [
        axis.get_title(loc="left")
        for axis in learning_figure(dataset.history, dataset.scores, dataset.best, dataset.networks).axes
    ]
    assert titles == ["CNN: 3 models", "linear model: 2 models"]

    page = page_of(folder, with_loop=False)
    networks = {row[1]: row for row in rows_of(page, "Networks.")}
    assert networks["Stacked2d"][2] == "1 (1 failed, see the log of seed 2)"
    assert networks["Identity"][2:5] == ["no model (see the logs)", "–", "–"]
    assert networks["GaussianLaplace"][2] == "2"
    tested = {row[0]: row for row in rows_of(page, "Test scores.")}
    mean = dataset.selection.oracle.mean()
    assert tested["Stacked2d"][1:3] == ["1", str(N_UNITS)]
    assert tested["Stacked2d"][5] == f"{0.8 * mean:.3f}\n{0.55 * mean:.3f}"
    assert tested["Identity"][1:] == ["0", "0", "per trial\nfrozen", *["–\n–"] * 6]
    assert "once for each seed (1, 2)" in words_of(page)
    assert not re.search(r"\bnan\b", words_of(page))


def test_methods_are_the_parameters_of_the_run(page):
    words = words_of(page)
    assert "10000 permutations (seed 0)" in words
    assert "1000 steps of gradient ascent" in words
    assert "learning rate 0.005 then 0.001" in words
    assert "no limit of distance" in words
    assert "2 CNNs and 2 linear models: core GaussianLaplace (hidden_channels 32, input_kern 15, " in words
    assert ", gauss_bias 0) or Identity; readout SpatialTransformerPyramid2d (scale_n 5, downsample true, " in words
    assert "; shifter MLP (shift_layers 3, hidden_channels_shifter 5) or none; modulator " in words
    assert "; output nonlinearity elu1. Each was trained" in words
    assert "the best was the one of the highest validation correlation." in words


def test_methods_say_how_the_best_model_was_chosen(tree):
    results = read(tree, with_loop=True)
    results.datasets["mouse"].configs["select_units"]["selection"]["best_model"] = "best_model_new"
    for section in (methods_section, models_section):
        assert "the best seed of the network whose seeds have the highest mean" in words_of(section(results))


def test_names_are_escaped(page):
    assert "<b>" not in page
    assert "&lt;b&gt;LM &amp; co&lt;/b&gt;" in page
    assert "<i>" not in page
    assert "Linear&lt;i&gt;$x" in page


def test_page_without_loop_says_what_is_left_out(tmp_path):
    page = page_of(write_tree(tmp_path, with_loop=False), with_loop=False)
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    words = words_of(page)
    assert "Left out for mouse: no closed loop uses it" in words
    assert "Left out: no closed loop is configured" in words
    assert "Left out: there is no closed loop of the virtual mouse" in words
    assert "The ceiling is left out" in words
    assert "Confusion matrices" not in words
    assert page.count("<img ") == 6


def change_table(path: Path, **columns) -> None:
    table = pd.read_csv(path)
    for column, value in columns.items():
        table.loc[0, column] = value
    table.to_csv(path, index=False)


def test_missing_values_do_not_break_the_page(tmp_path):
    folder = write_tree(tmp_path, with_loop=True)
    origin = json.loads((folder / "closed_loop/loop1/diagonal.csv.json").read_text())
    change_table(folder / "selection/mouse.csv", oracle=np.nan, cnn_corr=np.nan, lin_corr=np.nan)
    change_table(folder / "truth/recovery.csv", mei_drive_ratio=np.nan, rf_drive_ratio=np.nan, match_correct=np.nan)
    change_table(folder / "truth/ceiling.csv", noiseless_correlation=np.nan)
    change_table(folder / "closed_loop/loop1/matches.csv", mean_distance_um=np.nan)
    diagonal = pd.read_csv(folder / "closed_loop/loop1/diagonal.csv")
    diagonal.loc[diagonal.unit_id == 0, diagonal.columns.difference(["unit_id", "response", "diff_rank"])] = np.nan
    diagonal.to_csv(folder / "closed_loop/loop1/diagonal.csv", index=False)
    tests = pd.read_csv(folder / "closed_loop/loop1/tests.csv")
    tests.assign(statistic=np.nan, p_value=np.nan, n=0).to_csv(folder / "closed_loop/loop1/tests.csv", index=False)
    found = read(folder, with_loop=True)
    confusion = found.loops["loop1"].confusion.copy(deep=True)
    confusion.mu[:, :, :, 0] = np.nan
    write_arrays(confusion, folder / "closed_loop/loop1/confusion.zarr.zip", origin)
    for model_type in ("cnn", "linear"):
        store = (found.datasets["mouse"].cnn if model_type == "cnn" else found.datasets["mouse"].linear).copy(deep=True)
        store.mei[0], store.activation[0], store.monotonic[0] = np.nan, np.nan, np.nan
        store["failed"] = ("unit", ["<flat>", *[""] * (N_SELECTED - 1)])
        write_arrays(store, folder / f"meis/mouse/{model_type}.zarr.zip", made("make_meis", meis=asdict(Meis())))
    masks = found.datasets["mouse"].masks.copy(deep=True)
    masks.tight_mask[0], masks.reduction_ratio[0] = np.nan, np.nan
    write_arrays(masks, folder / "masks/mouse.zarr.zip", made("make_masks", masks=asdict(Masks())))

    words = words_of(page_of(folder, with_loop=True))
    rest = pd.read_csv(folder / "selection/mouse.csv").oracle.median()
    assert f"median {rest:.3f} (n = 11 units); 1 unit without an oracle" in words
    assert "1 MEI and 1 RF could not be made" in words
    assert "p = –" in words
    assert "right cell: 75 % (n = 4 units)" in words
    assert not re.search(r"\bnan\b", words)


def test_missing_result_is_one_clear_error_and_no_page(tmp_path):
    folder = write_tree(tmp_path, with_loop=False)
    (folder / "selection/mouse.csv").unlink()
    with pytest.raises(InputError, match=r"selection/mouse\.csv: no such file"):
        page_of(folder, with_loop=False)
    assert not (folder / "report.html").exists()


def test_confusion_figure_orders_by_the_difference_and_shares_one_scale():
    values = np.arange(18.0).reshape(1, 2, 3, 3)
    confusion = xr.Dataset(
        {"mu": (("response", "model_type", "image_unit_id", "matched_unit_id"), values)},
        {"response": ["normalized"], "model_type": ["cnn", "linear"], "image_unit_id": [4, 7, 9],
         "matched_unit_id": [4, 7, 9]},
    )  # fmt: skip
    diagonal = pd.DataFrame({"response": "normalized", "unit_id": [4, 9], "diff_rank": [1, 0]})
    axes = confusion_figure(confusion, diagonal).axes
    order = [2, 0, 1]  # 9 before 4; 7 has no difference and comes last
    for axis, matrix in zip(axes[:2], values[0], strict=True):
        np.testing.assert_array_equal(axis.images[0].get_array(), matrix[np.ix_(order, order)])
        assert axis.images[0].get_clim() == (0, 17)
        assert [label.get_text() for label in axis.get_xticklabels()] == ["9", "4", "7"]
    assert axes[2].get_ylabel() == "mean response (SD of the cell)"


def test_fraction_of_the_oracle_is_a_slope_through_the_origin():
    assert slope_through_origin([0.1, 0.2, 0.4, np.nan], [0.05, 0.1, 0.2, 1.0]) == pytest.approx(0.5)
    assert slope_through_origin([1.0, 2.0], [1.0, 1.0]) == pytest.approx(0.6)
    assert np.isnan(slope_through_origin([np.nan], [1.0]))


def test_gray_limit_is_shared_and_ignores_missing_images():
    flat, spread = np.full((1, 10, 10), 100.0), np.full((1, 10, 10), 100.0)
    spread[0, :, :5], spread[0, :, 5:] = 80, 120
    missing = np.full((1, 10, 10), np.nan)
    assert gray_limit(np.concatenate([spread, missing]), spread) == pytest.approx(20)
    assert gray_limit(flat) == 1.0


def test_tile_puts_images_where_it_says():
    first, second = np.zeros((2, 3)), np.ones((2, 3))
    mosaic, corners = tile([[first, None], [None, second]])
    assert corners == [(0, 0), (6, 0), (0, 5), (6, 5)]
    assert mosaic.shape == (7, 9)
    np.testing.assert_array_equal(mosaic[5:7, 6:9], second)
    assert np.isnan(mosaic[:2, 3:]).all()
