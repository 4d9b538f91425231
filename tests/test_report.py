"""The report: every section, numbers as in the tables, nothing from elsewhere, nothing unescaped."""

import html
import json
import re
import runpy
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from report_run import (
    KINDS,
    LOOP,
    N_SELECTED,
    N_UNITS,
    NETWORKS,
    SCANS,
    SEEDS,
    change_table,
    made,
    page_of,
    read,
    rows_of,
    with_variants,
    words_of,
    write_evaluation,
    write_meis,
    write_tree,
)

from neurostatic.config import (
    STIMULUS_SETS,
    Masks,
    Meis,
)
from neurostatic.problems import InputError
from neurostatic.report.figures_gallery import detailed_figure, gray_limit, seeds_figure, shown_figure
from neurostatic.report.figures_models import kept_states, learning_figure
from neurostatic.report.figures_stimuli import quality_figure
from neurostatic.report.figures_truth import truth_figure
from neurostatic.report.markup import percent
from neurostatic.report.methods import methods_section
from neurostatic.report.sections_models import models_section
from neurostatic.report.sections_stimuli import meis_section, stimuli_section
from neurostatic.report.style import CONTROL_NAMES, tile
from neurostatic.statistics import compare_pairs, slope_through_origin
from neurostatic.store import checksum, write_arrays

# The pages that are looked at whole are made by fixtures of the module, as they are.
pytestmark = pytest.mark.usefixtures("quick_pictures")

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "write_report.py"
SECTIONS = ["summary", "data", "oracle", "models", "meis", "stimuli", "closed-loop", "truth", "methods", "origin"]


class Inputs(list):
    """As Snakemake hands them to a script: a list, some of it named."""

    verdicts = tuple(f"results/scans/{scan}.json" for scan in SCANS)
    probes = ("results/probes/mouse.zarr.zip",)
    truth = tuple(f"results/truth/{table}.csv" for table in ("recovery", "ceiling", "stimuli"))


class Params(dict):
    __getattr__ = dict.__getitem__


def run_script(folder: Path) -> None:
    """Run the rule's script as Snakemake does, in the folder that holds results/."""
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".csv", ".zip")]
    params = {"datasets": {"mouse": ["day1"]}, "loops": {"loop1": LOOP}, "networks": list(NETWORKS), "seeds": SEEDS}
    params |= {"stimulated": ["mouse"], "kinds": KINDS}
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
    assert page.count("<img ") == 29
    assert page.count("<figcaption>") == page.count("<figure>") > 28
    assert not re.search("Left out(:| for)", page)


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
    (predicted,) = rows_of(page, "How well are neurons predicted?")
    assert predicted[1:4] == [str(N_UNITS), f"{selection.oracle.median():.3f}", f"{selection.cnn_corr.mean():.3f}"]
    assert f"racle median {selection.oracle.median():.3f} (n = {N_UNITS} units)" in words
    explainable = pd.read_csv(tree / "reliability/mouse.csv").explainable
    assert f"day1 {N_UNITS} 20 x 6.5 {selection.oracle.median():.3f} 0.200 {explainable.median():.3f} 0.800 2" in words
    mean = ceiling.noiseless_correlation.mean()
    assert f"oiseless rate predicts single trials with a mean correlation of {mean:.3f} (n = {N_UNITS} units)" in words
    assert predicted[7:] == [f"{selection.hu_rank.notna().sum()} of {N_UNITS}", f"{mean:.3f}"]
    rows = rows_of(page, "Do neurons prefer the image that was made for them?")
    for kind, row in zip(KINDS, rows, strict=True):
        of_kind = tests[(tests.response == "normalized") & (tests.kind == kind)].set_index("test")
        p_values = of_kind.p_value
        assert row[1].endswith(f"against {CONTROL_NAMES[kind]}") and row[2] == "5"
        assert row[6] == f"{of_kind.estimate['mei_greater_fraction']:.0%}".replace("%", " %")
        ratio, own_best = of_kind.loc["ratio_of_means"], of_kind.loc["own_best_permutation"]
        assert row[5] == f"{ratio.estimate:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        ends = f"({100 * own_best.low:.0f} to {100 * own_best.high:.0f} %; chance 20 %)"
        assert row[3] == f"{100 * own_best.estimate:.0f} % of 5 {ends}"
        assert row[4] == f"{p_values['own_best_permutation']:.3g}"
        assert row[7] == f"Wilcoxon p = {p_values['mei_vs_control_wilcoxon']:.3g}"
    normalized = diagonal[(diagonal.response == "normalized") & (diagonal.kind == "mei_vs_gabor")]
    more = int(((normalized.q_value < 0.05) & (normalized.diff_resp > 0)).sum())
    assert more > 0
    assert f"Of 5 cells tested, {more} respond significantly more to their MEI than to their Gabor" in words
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
    assert "No match was left out, however doubtful" in words
    assert "with the eye at its mean position and a gain of one" in words
    assert "of 72,800 candidates that differ in phase" in words
    assert "own scan, the one that the CNN answers most: as it is; behind the tight mask" in words
    assert "of the 15 images of" in words
    assert "enlarged 4 times" in words
    assert "converted to pixel values by monotone interpolation of the measured levels, rounded" in words
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


def test_methods_say_how_trials_were_split_and_which_data_were_taken(tree):
    results = read(tree, with_loop=True)
    split = {
        "validation_fraction": 0.1,
        "tier_rule": "current",
        "min_repeats": 2,
        "validation_split": "count",
        "tier_seed": 3,
    }
    results.scans["day1"].attributes.update(split)
    words = words_of(methods_section(results))
    assert "Images shown at least 2 times are the test tier; 10 % of the others, drawn with seed 3, the" in words
    assert "data_config" not in words and "in cd/m²" not in words.split("the validation tier")[0]
    results.scans["day1"].attributes.update(tier_rule="2019", validation_split="threshold", luminance=1)
    results.datasets["mouse"].configs["select_units"]["data_config"].update(reliable_p=0.001, exclude=["behavior"])
    words = words_of(methods_section(results))
    assert "Images shown more often than the median image are the test tier; about 10 % of the others" in words
    assert "by area averaging, in cd/m² by the monitor calibration nearest in time." in words
    assert "(data_config: reliable_p 0.001, exclude behavior)" in words


def test_every_step_of_the_selection_is_counted(page):
    rows = rows_of(page, "How units were selected.")
    assert [row[1] for row in rows] == [
        "selection.top_fraction", "selection.edge_um", "–", "selection.percentile", "selection.distance_um"
    ]  # fmt: skip
    assert [row[2:] for row in rows] == [["3", "9"], ["1", "8"], ["0", "8"], ["2", "6"], ["1", "5"]]
    assert rows[-1][-1] == str(N_SELECTED)


def test_names_are_escaped(page):
    assert "<b>" not in page
    assert "&lt;b&gt;LM &amp; co&lt;/b&gt;" in page
    assert "<i>" not in page
    assert "Linear&lt;i&gt;$x" in page


def test_page_without_loop_says_what_is_left_out(tmp_path):
    page = page_of(write_tree(tmp_path, with_loop=False), with_loop=False)
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    words = words_of(page)
    assert "Left out for mouse: its first scan has no monitor_calibration.csv" in words
    assert "Left out: no closed loop is configured" in words
    assert "Left out: there is no closed loop of the virtual mouse" in words
    assert "oiseless rate" not in words  # of real cells it is not known
    assert "Confusion matrices" not in words
    assert page.count("<img ") == 7


def test_missing_values_do_not_break_the_page(tmp_path):
    folder = write_tree(tmp_path, with_loop=True)
    origin = json.loads((folder / "closed_loop/loop1/diagonal.csv.json").read_text())
    change_table(folder / "selection/mouse.csv", oracle=np.nan, cnn_corr=np.nan, lin_corr=np.nan)
    change_table(folder / "truth/recovery.csv", mei_drive_ratio=np.nan, rf_drive_ratio=np.nan, match_correct=np.nan)
    change_table(folder / "truth/ceiling.csv", noiseless_correlation=np.nan)
    change_table(folder / "closed_loop/loop1/matches.csv", mean_distance_um=np.nan)
    diagonal = pd.read_csv(folder / "closed_loop/loop1/diagonal.csv")
    names = ["unit_id", "kind", "response", "diff_rank"]
    diagonal.loc[diagonal.unit_id == 0, diagonal.columns.difference(names)] = np.nan
    diagonal.to_csv(folder / "closed_loop/loop1/diagonal.csv", index=False)
    tests = pd.read_csv(folder / "closed_loop/loop1/tests.csv")
    tests.assign(statistic=np.nan, p_value=np.nan, n=0).to_csv(folder / "closed_loop/loop1/tests.csv", index=False)
    found = read(folder, with_loop=True)
    confusion = found.loops["loop1"].confusion.copy(deep=True)
    confusion.mu[..., 0, :] = np.nan
    write_arrays(confusion, folder / "closed_loop/loop1/confusion.zarr.zip", origin)
    for model_type in ("cnn", "linear"):
        store = (found.datasets["mouse"].cnn if model_type == "cnn" else found.datasets["mouse"].linear).copy(deep=True)
        store.mei[0], store.activation[0], store.monotonic[0] = np.nan, np.nan, np.nan
        store["failed"] = ("unit", ["<flat>", *[""] * (N_SELECTED - 1)])
        if model_type == "cnn":
            store.variant_mei[..., 0, :, :, :], store.variant_activation[..., 0, :] = np.nan, np.nan
            store.seed_disagreement[0] = np.nan
        write_meis(folder, model_type, store)
    for manifest in folder.glob("stimuli/mouse/*/manifest.csv"):
        change_table(manifest, predicted_response=np.nan)
    change_table(folder / "truth/stimuli.csv", true_mei=np.nan, true_control=np.nan, kind="no cell")
    masks = found.datasets["mouse"].masks.copy(deep=True)
    masks.tight_mask[0], masks.reduction_ratio[0] = np.nan, np.nan
    write_arrays(masks, folder / "masks/mouse.zarr.zip", made("make_masks", masks=asdict(Masks())))

    page = page_of(folder, with_loop=True)
    words = words_of(page)
    rest = pd.read_csv(folder / "selection/mouse.csv").oracle.median()
    assert f"median {rest:.3f} (n = 11 units); 1 unit without an oracle" in words
    assert "Made: 4 MEIs and 4 RFs; 4 tight masks" in words
    assert "MEI unit 0 &lt;flat&gt; RF unit 0 &lt;flat&gt;" in words
    of_loop = rows_of(page, "Do neurons prefer the image that was made for them?")
    assert [row[2:] for row in of_loop] == [["0", *["–"] * 6]] * len(KINDS)
    assert "right cell: 75 % (n = 4 units)" in words
    assert not re.search(r"\bnan\b", words)


def test_controls_are_compared_as_measured_and_in_truth(tree, page):
    diagonal = pd.read_csv(tree / "closed_loop/loop1/diagonal.csv")
    true = pd.read_csv(tree / "truth/stimuli.csv")
    groups = {"all": [0, 1, 2, 3, 4], "nonlinear": [2, 3, 4], "linear": [0, 1]}  # as in CELLS
    wanted = []
    for kind in KINDS:
        for group, units in groups.items():
            seen = diagonal[
                (diagonal.kind == kind) & (diagonal.response == "normalized") & diagonal.unit_id.isin(units)
            ]
            known = true[(true.stimulus_set == kind) & true.unit_id.isin(units)]
            n, fraction, _, p = compare_pairs(seen.mei_resp, seen.control_resp)
            n_true, fraction_true, _, p_true = compare_pairs(known.true_mei, known.true_control)
            ratio = (known.true_mei / known.true_control).median()
            assert (n, n_true) == (len(units), len(units))
            wanted.append([group, str(n), f"{100 * fraction:.0f} %", f"{p:.3g}", str(n_true)])
            wanted[-1] += [f"{100 * fraction_true:.0f} %", f"{ratio:.2f}", f"{p_true:.3g}"]
    rows = rows_of(page, "MEI against each control, measured and true.")
    assert [row[1:] for row in rows] == wanted
    names = ["MEI against RF", "MEI against Gabor", "Masked MEI against masked natural image"]
    assert [row[0] for row in rows] == np.repeat(names, 3).tolist()
    assert len({tuple(row[6:7]) for row in rows}) > 1


def test_true_responses_are_drawn_by_group_of_cells():
    true = pd.DataFrame(
        {"stimulus_set": ["mei_vs_rf"] * 3 + ["mei_vs_gabor"] * 2, "group": ["linear", *["nonlinear"] * 2, "", ""],
         "true_mei": [1.0, 2.0, 3.0, np.nan, 1.0], "true_control": [2.0, 1.0, 0.5, np.nan, 1.0]}
    )  # fmt: skip
    first, second = truth_figure(true).axes
    assert first.get_title(loc="left") == "above the RF\nin 2 of 3 cells (67 %)"
    nonlinear, linear = first.get_lines()[1:]  # after the line of equality
    np.testing.assert_array_equal(nonlinear.get_xydata(), [[1, 2], [0.5, 3]])
    np.testing.assert_array_equal(linear.get_xydata(), [[2, 1]])
    assert second.get_title(loc="left") == "above the Gabor\nin 0 of 1 cells (0 %)"


def texts_of(drawing) -> list[str]:
    return [text.get_text() for axis in drawing.axes for text in axis.texts]


def test_gabors_have_a_column_where_they_were_looked_for(tree, tmp_path):
    dataset = read(tree, with_loop=True).datasets["mouse"]
    stores = dataset.cnn, dataset.linear, dataset.masks, dataset.natural
    texts = texts_of(detailed_figure(dataset.selected, *stores, dataset.gabors))
    gabor = dataset.gabors.isel(unit=0)
    assert "best Gabor" in texts
    assert f"{float(gabor.activation):.2f} at {float(gabor.gabor_px.std()):.0f} px" in texts
    assert "best Gabor" not in texts_of(detailed_figure(dataset.selected, *stores, None))

    page = page_of(write_tree(tmp_path, with_loop=False), with_loop=False)
    assert "What was made of each unit (5 of 5 units)." in words_of(page)
    assert "Gabor" not in words_of(page)


def test_natural_images_behind_the_mask_come_first():
    rng = np.random.default_rng(0)
    coords = {"scan": ("unit", ["day1"]), "unit_id": ("unit", [3])}
    of_unit = {"mei": (("unit", "y", "x"), rng.normal(128, 20, (1, 9, 16))), "activation": ("unit", [1.5]),
               "tuning_contrast": (("unit", "gain"), [[0.0, 1.0]]), "tuning_response": (("unit", "gain"), [[0.0, 1.0]]),
               "failed": ("unit", [""]), "tight_mask": (("unit", "y", "x"), np.full((1, 9, 16), 0.5))}  # fmt: skip
    made = xr.Dataset(of_unit, coords)
    images = rng.normal(128, 20, (3, 1, 9, 16))
    natural = xr.Dataset(
        {"natural_px": (("kind", "unit", "y", "x"), images), "activation": (("kind", "unit"), [[7.0], [8.0], [9.0]]),
         "failed": (("kind", "unit"), [[""]] * 3)},
        coords | {"kind": ["unmasked", "gaussian", "tight"]},
    )  # fmt: skip
    selected = pd.DataFrame({"scan": ["day1"], "unit_id": [3]})
    shown = detailed_figure(selected, made, made, made, natural, None)
    mosaic = shown.axes[0].images[0].get_array()
    mei, masked, best = (mosaic[:, i * 19 : i * 19 + 16] for i in (0, 1, 3))
    np.testing.assert_allclose(masked, mei / 2)
    np.testing.assert_allclose(best, images[2, 0] - images[2, 0].mean())
    assert any(text.startswith("9.00 at") for text in texts_of(shown))
    unmasked = texts_of(detailed_figure(selected, made, made, made, natural.sel(kind=["gaussian", "unmasked"]), None))
    assert any(text.startswith("7.00 at") for text in unmasked)


def test_units_beyond_the_first_have_a_gallery_of_their_own(tree, monkeypatch):
    monkeypatch.setattr("neurostatic.report.sections_stimuli.MAX_DETAILED_UNITS", 2)
    section = meis_section(read(tree, with_loop=True))
    assert "What was made of each unit (2 of 5 units)." in words_of(section)
    assert "MEIs and RFs of the next 3 units." in words_of(section)
    assert section.count("<img ") == 5


def test_images_that_failed_are_listed_with_their_reasons(tree):
    results = read(tree, with_loop=True)
    dataset = results.datasets["mouse"]
    assert "No image failed." in words_of(meis_section(results))
    for store, units in ((dataset.masks, [1, 3]), (dataset.gabors, [2])):
        store["failed"] = ("unit", [f"<no {unit in units}>" if unit in units else "" for unit in range(N_SELECTED)])
    dataset.natural["failed"] = (("kind", "unit"), np.array([[""] * 5, [*[""] * 4, "the mask is empty"]]))
    section = meis_section(results)
    assert rows_of(section, "Images that could not be made.") == [
        ["tight mask", "unit 1, unit 3", "<no True>"],
        ["best Gabor", "unit 2", "<no True>"],
        ["best natural image behind the tight mask", "unit 4", "the mask is empty"],
    ]
    dataset.scans.append("day9")
    assert rows_of(meis_section(results), "Images that could not be made.")[1][1] == "unit 2 of day1"


def test_seeds_stand_beside_their_ensemble(tree, page):
    words = words_of(page)
    assert "disagree by a median of 0.31 (5 units;" in words
    assert "most by 0.61, unit 4." in words
    dataset = read(tree, with_loop=True).datasets["mouse"]
    drawing = seeds_figure(dataset.selected, dataset.cnn)
    texts = texts_of(drawing)
    assert texts[:3] == ["unit 0:  2.00   d = 0.11", "seed 1:  3.00", "seed 2:  4.00"]
    mosaic = drawing.axes[0].images[0].get_array()
    of_seed_1 = dataset.cnn.variant_mei.values[1, 0, 0, 0, 1]  # the second start is the better one
    np.testing.assert_allclose(mosaic[:9, 19:35], of_seed_1 - of_seed_1.mean(), rtol=1e-5)


@pytest.mark.parametrize("models", [None, ["ensemble"], ["ensemble", "1"]])
def test_one_seed_is_not_compared_with_itself(tree, models):
    results = read(tree, with_loop=True)
    cnn = results.datasets["mouse"].cnn.drop_dims(["model", "eye", "behavior", "start"]).drop_vars("seed_disagreement")
    if models:
        cnn = with_variants(cnn, models, np.random.default_rng(0))
    results.datasets["mouse"] = replace(results.datasets["mouse"], cnn=cnn)
    section = meis_section(results)
    assert "single seeds" not in words_of(section)
    assert section.count("<img ") == 3


def test_each_stimulus_set_is_shown(tree, page):
    words = words_of(page)
    for mei, control in (("MEI", "RF"), ("MEI", "Gabor"), ("masked MEI", "masked natural image")):
        text = f"The CNN predicts a larger response to the {mei} than to the {control} for 3 of 5 units (60 %); medians"
        assert f"{text} 2.00 and 1.50" in words
    assert "nearest in time to the scan (t, 7.2 h from it, rig 2P3)" in words
    manifest, images = read(tree, with_loop=True).datasets["mouse"].stimuli.examples["mei_vs_gabor"]
    axes = shown_figure(manifest, images).axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == [*(f"unit {unit}:  {2 - unit % 2}.00" for unit in range(5)), *["1.50"] * 5]
    assert [axes[0].get_ylabel(), axes[5].get_ylabel()] == ["MEI", "Gabor"]
    with Image.open(tree / "stimuli/mouse/mei_vs_gabor/gabor/4.png") as picture:
        np.testing.assert_array_equal(axes[-1].images[0].get_array(), np.asarray(picture))


def test_only_the_first_centered_images_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr("neurostatic.report.reading.N_SHOWN_UNITS", 2)
    folder = write_tree(tmp_path, with_loop=True)
    change_table(folder / "stimuli/mouse/mei_vs_rf/manifest.csv", x_shift=1)
    manifest, images = read(folder, with_loop=True).datasets["mouse"].stimuli.examples["mei_vs_rf"]
    assert manifest.image_id.tolist() == [1, 2, 0, 1]
    assert images.shape == (4, 18, 32)
    (folder / "stimuli/mouse/mei_vs_rf/multi_lin_rf/1.png").unlink()
    with pytest.raises(InputError, match=r"mei_vs_rf/multi_lin_rf/1\.png: not a readable image"):
        read(folder, with_loop=True)


def test_quality_is_drawn_by_class():
    classes = [image_class for pair in STIMULUS_SETS.values() for image_class in pair]
    qc = pd.DataFrame({"image_class": classes, "image_id": 0, "mean_cd_m2": 10.0, "contrast_cd_m2": 2.0})
    (legend,) = quality_figure(qc.assign(clipped_fraction=0.0), 10, 2).legends
    names = ["MEI", "RF", "Gabor", "masked MEI", "masked natural image"]
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(names)


def test_words_follow_the_settings_of_the_run(tree):
    results = read(tree, with_loop=True)
    configs = results.datasets["mouse"].configs
    assert "published, 1000 steps an image" in words_of(meis_section(results))
    configs["make_stimuli"]["interpolation"] = "cubic"
    for section in (stimuli_section, methods_section):
        assert "by cubic splines through the measured levels" in words_of(section(results))
    configs["join_meis"]["meis"] |= asdict(Meis(optimizer="projected", eye=("none", "3 -2"), starts=4))
    configs["search_gabors"]["gabors"]["search"] = "optimal"
    configs["find_natural"]["folder"] = "photos"
    words = words_of(methods_section(results))
    assert "each from 4 noise images, of which the best counts (seed 0), with the eye straight ahead" in words
    assert "(beside it, with the eye at (px) 3 -2)" in words
    assert "at most 11 px contrast" in words
    assert "steps of gradient ascent" not in words
    assert "found by simulated annealing" in words
    assert "of the pictures in photos" in words
    words = words_of(meis_section(results))
    assert "a median of 33 evaluations of the model, and 4 of 5 MEIs converged" in words


def test_missing_result_is_one_clear_error_and_no_page(tmp_path):
    folder = write_tree(tmp_path, with_loop=False)
    (folder / "selection/mouse.csv").unlink()
    with pytest.raises(InputError, match=r"selection/mouse\.csv: no such file"):
        page_of(folder, with_loop=False)
    assert not (folder / "report.html").exists()


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


def test_probes_are_told_where_they_were_made(tree, tmp_path):
    words = words_of(page_of(tree, True))
    n = N_SELECTED
    assert f"contrast, {percent((n - 1) / n)} of 5 units respond more to their own MEI" in words
    assert "a median of 0.25 of that to its MEI" in words  # 0.5 / 2
    assert "a median of 40 % of the variance" in words and "a median correlation of 0.25" in words
    without = words_of(page_of(write_tree(tmp_path, with_loop=False), False))
    assert "In silico" not in without


def test_the_star_is_where_the_kept_state_was():
    history = pd.DataFrame({"network": "a", "epoch": [1, 2, 3, 4], "correlation_before": [0.1, 0.3, 0.2, 0.25]})
    history = pd.concat([history.assign(seed=seed) for seed in (1, 2)])
    scores = pd.DataFrame({"network": "a", "seed": [1, 2], "tier": "validation", "pearson": [0.300004, 0.32]})
    # an earlier state, scored before epoch 2; the last one, which no epoch came after
    assert kept_states(history, scores) == {("a", 1): (1, 0.300004), ("a", 2): (4, 0.32)}
