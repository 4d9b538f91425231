"""One whole small loop through Snakemake: results, reruns, repeatability, and bad input."""

import ast
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from projects import copy_of_the_loop, copy_of_the_project, snakemake

from neurostatic.closed_loop.confusion import pool_confusions, scan_confusion
from neurostatic.closed_loop.hypotheses import loop_tests
from neurostatic.config import STIMULUS_SETS, read_config
from neurostatic.data.datasets import open_multi_dataset
from neurostatic.fitting.tensors import TierTensors
from neurostatic.fitting.training import train_network
from neurostatic.models import Ensemble, TrainedNetwork, load_network
from neurostatic.problems import NoModelError
from neurostatic.simulation.recovery import drive_ratio
from neurostatic.stimuli.meis import make_meis
from neurostatic.stimuli.scale import Scale
from neurostatic.store import read_arrays, read_provenance, read_table

pytestmark = pytest.mark.loop


@pytest.fixture(scope="module")
def project(finished_loop, tmp_path_factory) -> Path:
    """A copy of the project in which the small loop has run."""
    folder = tmp_path_factory.mktemp("project")
    copy_of_the_loop(finished_loop, folder)
    return folder


def test_every_result_of_the_contract_is_there(project):
    results = project / "results"
    assert (results / "report.html").stat().st_size > 50_000
    selection = read_table(results / "selection/mouse1.csv")
    assert list(selection.columns) == [
        "scan", "unit_id", "oracle", "rank", "top_ptile", "cnn_corr", "lin_corr",
        "cnn_fraction_oracle", "lin_fraction_oracle", "hu_rank", "left_out",
    ]  # fmt: skip
    n_selected = selection.hu_rank.notna().sum()
    cnn = read_arrays(results / "meis/mouse1/cnn.zarr.zip")
    assert cnn.mei.dims == ("unit", "y", "x") and cnn.sizes["unit"] == n_selected
    assert cnn.variant_mei.dims[:5] == ("model", "eye", "behavior", "unit", "start")
    assert cnn.model.values.tolist() == ["ensemble", "1", "2"] and (cnn.seed_disagreement >= 0).all()
    for kind, classes in STIMULUS_SETS.items():
        manifest = read_table(results / f"stimuli/mouse1/{kind}/manifest.csv")
        assert manifest.image_class.value_counts().to_dict() == dict.fromkeys(classes, n_selected)
        assert read_table(results / f"stimuli/mouse1/{kind}/qc.csv").ok.all()
    target = read_table(results / "stimuli/mouse1/target.csv")
    assert (target.target == "mei_vs_rf").all()
    assert all((results / "stimuli/mouse1" / file).is_file() for file in target.file)
    confusion = read_arrays(results / "closed_loop/loop1/confusion.zarr.zip")
    assert confusion.mu.dims == ("kind", "response", "model_type", "image_unit_id", "matched_unit_id")
    assert confusion.kind.values.tolist() == list(STIMULUS_SETS)
    tests = read_table(results / "closed_loop/loop1/tests.csv")
    columns = ["test", "statistic", "p_value", "effect", "estimate", "low", "high", "n", "n_animals"]
    assert list(tests.columns) == ["loop", "kind", "response", *columns]
    population = read_table(results / "closed_loop/population.csv")
    assert list(population.columns) == ["kind", "response", *columns]
    assert (population.n_animals == 1).all() and population.n.max() > tests.n.max()
    of_cells = read_table(results / "closed_loop/population_diagonal.csv")  # two loops of one source: its cells once
    assert not of_cells.duplicated(["source", "kind", "response", "unit_id"]).any()
    n_cells = of_cells.groupby(["kind", "response"]).diff_resp.count()
    n_tested = population[population.test == "mei_mean"].set_index(["kind", "response"]).n
    pd.testing.assert_series_equal(n_cells, n_tested, check_names=False, check_like=True)
    diagonal = read_table(results / "closed_loop/loop1/scans/mouse1-day2-mei_diagonal.csv")
    assert set(diagonal.response) == {"raw", "normalized", "zscore"} and diagonal.target_unit_id.notna().all()
    for _, of_kind in tests.groupby("kind"):
        assert {"diagonal_permutation", "mei_vs_control_wilcoxon"} <= set(of_kind.test)
    shown = read_table(results / "truth/stimuli.csv")
    assert shown.groupby("stimulus_set").unit_id.nunique().to_dict() == dict.fromkeys(STIMULUS_SETS, n_selected)
    assert (shown.true_mei > 0).any() and shown.true_control.notna().any()
    recovery = read_table(results / "truth/recovery.csv")
    assert not recovery.unit_id.duplicated().any()
    assert list(recovery.columns) == [
        "scan", "unit_id", "kind", "oracle", "mei_drive_ratio", "rf_drive_ratio", "match_correct",
    ]  # fmt: skip
    network = "results/models/mouse1/GaussianLaplace/1"
    for path in (
        f"{network}.csv",
        f"{network}_history.csv",
        "results/evaluation/mouse1.csv",
        "results/evaluation/mouse1.zarr.zip",
        "results/masks/mouse1.zarr.zip",
        "results/selection/mouse1.csv",
    ):
        made = read_provenance(project / path)
        assert {"commit", "dirty", "config_sha256", "inputs", "versions", "device", "seed", "command"} <= set(made)
    log = (project / "results/logs/train_model/mouse1/GaussianLaplace/1.log").read_text()
    assert re.match(r"train_model: commit .*device (cpu|cuda).*torch", log) and "epoch 1 " in log


def test_the_loop_finds_what_is_there_and_nothing_in_shuffled_responses(project):
    """Positive and negative control on the same recording: only the order of the responses differs."""
    results = project / "results"
    recovery = read_table(results / "truth/recovery.csv")
    assert recovery.match_correct.mean() >= 0.95
    assert recovery.mei_drive_ratio.median() > 0.3
    data = read_arrays(results / "datasets/mouse1-day2-mei.zarr.zip")
    manifest = read_table(results / "stimuli/mouse1/mei_vs_rf/manifest.csv").set_index(["image_class", "image_id"])
    owner = manifest.owner_unit_id.loc[list(zip(data.image_class.values, data.image_id.values, strict=True))].to_numpy()
    matches = read_table(results / "closed_loop/loop1/matches.csv")
    matches = matches[matches.scan == "mouse1-day2-mei"]

    def p_value(responses: np.ndarray, unit_map: pd.DataFrame) -> float:
        table = scan_confusion(
            responses,
            data.unit_id.values,
            data.image_class.values,
            owner,
            np.ones(len(owner), bool),
            unit_map,
            "normalized",
        )
        tests = loop_tests({"loop1": pool_confusions([table])}, "normalized", 0).set_index("test")
        return tests.p_value["diagonal_permutation"]

    unit_map = matches[["src_unit_id", "unit_id"]]
    assert p_value(data.responses.values, unit_map) < 0.001
    rng = np.random.default_rng(0)
    shuffled = [p_value(rng.permutation(data.responses.values), unit_map) for _ in range(5)]
    assert np.median(shuffled) > 0.05
    off_by_one = unit_map.assign(unit_id=np.roll(unit_map.unit_id, 1))
    assert p_value(data.responses.values, off_by_one) > 0.001


def test_every_cell_is_found_or_the_reason_is_told(project):
    loop = project / "results/closed_loop/loop1"
    matches, unmatched = read_table(loop / "matches.csv"), read_table(loop / "unmatched.csv")
    owners = read_table(project / "results/stimuli/mouse1/mei_vs_rf/manifest.csv").owner_unit_id.nunique()
    for scan in ("mouse1-day2-mei", "mouse1-day5-oracle"):
        assert (matches.scan == scan).sum() + (unmatched.scan == scan).sum() == owners
    assert unmatched.reason.notna().all() and matches.posterior.between(0, 1).all()
    left_out = read_table(loop / "left_out.csv")
    assert list(left_out.columns) == ["scan", "unit_id", "target_unit_id", "reason"]
    lost = set(zip(unmatched.scan, unmatched.src_unit_id, strict=True))
    assert lost and lost <= set(zip(left_out.scan, left_out.unit_id, strict=True))


def test_matched_cells_respond_alike_to_natural_images(project):
    agreement = read_table(project / "results/closed_loop/loop1/oracle.csv")
    assert agreement.scan.tolist() == ["mouse1-day5-oracle"] and (agreement.n_images == 25).all()
    assert agreement.own[0] > agreement.other[0] + 0.1 and agreement.p_value[0] < 0.01
    matrix = read_arrays(project / "results/closed_loop/loop1/oracle.zarr.zip").correlation
    assert matrix.dims == ("target", "source_unit_id", "matched_unit_id") and matrix.shape[1] == agreement.n_units[0]


def test_a_scan_can_show_two_stimulus_sets(project):
    both = read_table(project / "results/closed_loop/loop2/scans/mouse1-day6-both.csv")
    assert set(both.kind) == {"mei_vs_rf", "mei_vs_natural"}
    assert set(both[both.kind == "mei_vs_natural"].model_type) == {"masked_mei", "masked_natural"}
    assert (both.n_repeats.groupby(both.kind).median() >= 10).all()
    tests = read_table(project / "results/closed_loop/loop2/tests.csv").set_index(["kind", "response", "test"])
    for kind in ("mei_vs_rf", "mei_vs_natural"):
        assert tests.p_value[kind, "normalized", "diagonal_permutation"] < 0.01


def test_scans_without_matches_are_skipped_with_a_reason(project, tmp_path):
    """No cell moves by so little: nothing is left to compare, and the report says why."""
    copy_of_the_loop(project, tmp_path)
    small = yaml.safe_load((tmp_path / "small.yaml").read_text())
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump({**small, "matching": {"max_distance_um": 0.001}}))
    again = ("--rerun-triggers", "mtime", "--forcerun", "match_cells")
    run = snakemake(tmp_path, "--configfile", "strict.yaml", *again)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "mouse1-day2-mei, mei_vs_rf: left out" in run.stdout + run.stderr
    left_out = read_table(tmp_path / "results/closed_loop/loop1/left_out.csv")
    whole = left_out[left_out.unit_id.isna()]
    assert set(whole.scan) == {"mouse1-day2-mei", "mouse1-day3-gabor", "mouse1-day4-natural"}
    assert whole.reason.str.contains("no cell that owns an image was found again").all()
    assert left_out.reason.str.contains("no cell within 0.001 um: the nearest is").any()
    tests = read_table(tmp_path / "results/closed_loop/loop1/tests.csv")
    assert tests[["statistic", "p_value", "estimate"]].isna().all(axis=None) and (tests.n == 0).all()
    assert read_table(tmp_path / "results/closed_loop/population.csv").n.eq(0).all()
    assert "no cell that owns an image was found again" in (tmp_path / "results/report.html").read_text()


def test_data_sets_of_their_own_are_of_mice_of_their_own(tmp_path):
    copy_of_the_project(tmp_path)
    overlay = {
        "simulation": {"n_cells": 20, "n_images": 20, "n_repeated": 2, "repeats": 2},
        "scans": dict.fromkeys(["a1", "b1", "a2"], "simulate"),
        "datasets": {"a": ["a1", "a2"], "b": ["b1"]},
        "loops": {},
    }
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(overlay))
    truths = [f"results/simulation/{scan}.truth.zarr.zip" for scan in overlay["scans"]]
    run = snakemake(tmp_path, "--configfile", "two.yaml", "--", *truths)
    assert run.returncode == 0, run.stdout + run.stderr
    folder = tmp_path / "results/simulation"
    info = {scan: yaml.safe_load((folder / scan / "scan.yaml").read_text()) for scan in overlay["scans"]}
    assert {scan: (i["animal_id"], i["day"]) for scan, i in info.items()} == {"a1": (1, 1), "b1": (2, 1), "a2": (1, 2)}
    truths = {scan: read_arrays(tmp_path / path) for scan, path in zip(info, truths, strict=True)}
    cells = {scan: dict(zip(truth.cell_id.values, truth.x_um.values, strict=True)) for scan, truth in truths.items()}
    same = set(cells["a1"]) & set(cells["a2"])
    assert len(same) > 10 and all(cells["a1"][cell] == cells["a2"][cell] for cell in same)
    assert not set(cells["a1"].values()) & set(cells["b1"].values())
    assert not np.array_equal(truths["a1"].rate, truths["a2"].rate)  # another day, other trials


def test_a_model_of_shuffled_responses_finds_no_meis(project):
    """Negative control: the same training on responses in random order; its images do not drive the true cells."""
    overlay = yaml.safe_load((project / "small.yaml").read_text())
    config = read_config(project / "config.yaml", overlay)
    members = open_multi_dataset({"mouse1-day1": project / "results/datasets/mouse1-day1.zarr.zip"})
    member = members["mouse1-day1"]
    generator = torch.Generator().manual_seed(0)
    tiers = {}
    for tier in ("train", "validation"):
        data = TierTensors.of(member, tier, torch.device("cpu"))
        order = torch.randperm(len(data.responses), generator=generator)
        tiers[tier] = dataclasses.replace(data, responses=data.responses[order])
    scans = {"mouse1-day1": tiers}
    network, _ = train_network(config.networks["GaussianLaplace"], config.training, scans, 1, torch.device("cpu"))
    recovery = read_table(project / "results/truth/recovery.csv")
    trained = TrainedNetwork(
        network.requires_grad_(False),
        {"mouse1-day1": member.unit_id.tolist()},
        {"mouse1-day1": member.normalization.to_dict()},
    )
    ensemble = Ensemble([trained], "mouse1-day1")
    ids = recovery.unit_id.tolist()
    scale = Scale(ensemble.image_mean_px, ensemble.image_std_px)
    units = ensemble.index_of(ids).numpy()
    meis = make_meis(ensemble.answer, units, "mouse1-day1", ids, scale, (36, 64), config.meis, ["1"])
    truth = read_arrays(project / "results/simulation/mouse1-day1.truth.zarr.zip")
    ratio = np.nanmedian(drive_ratio(truth, np.array(ids), np.nan_to_num(meis.mei.values, nan=128.0)))
    assert ratio < 0.2 < recovery.mei_drive_ratio.median()


def test_jobs_take_less_memory_than_they_ask_for(project):
    """What profiles/slurm asks for in the name of a job, against what the benchmark files saw."""
    profile = yaml.safe_load((project / "profiles/slurm/config.yaml").read_text())
    default_mb = int(profile["default-resources"]["mem_mb"].removesuffix(" * attempt"))
    measured = [pd.read_csv(path, sep="\t").iloc[0] for path in (project / "results/benchmarks").rglob("*.tsv")]
    assert len({row.rule_name for row in measured}) > 20
    for row in measured:
        assert row.max_rss < ast.literal_eval(row.resources).get("mem_mb", default_mb), row.rule_name


def test_a_second_run_does_nothing(project):
    start = time.monotonic()
    run = snakemake(project, "--configfile", "small.yaml")
    assert run.returncode == 0 and "Nothing to be done" in run.stdout + run.stderr
    assert time.monotonic() - start < 15


def test_the_report_of_snakemake_has_our_captions(project):
    """Made without a network, in which nothing else can be reached."""
    offline = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    command = [sys.executable, "-m", "snakemake", "--configfile", "small.yaml", "--report", "overview.html"]
    environment = {**os.environ, **offline, "PYTHONPATH": str(project)}
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    page = (project / "overview.html").read_text()
    for words in ("An inception loop", "Loop loop2: do matched cells", "The whole run on one page", "set mei_vs_rf of"):
        assert words in page, words
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=.https?:", page)


def test_same_seed_same_bits(project):
    """Training and MEIs made again are equal to the last bit; another seed is not."""
    model, meis = "results/models/mouse1/GaussianLaplace/{}.pt", "results/meis/mouse1/cnn.zarr.zip"

    def made():
        weights = [torch.load(project / model.format(seed), weights_only=True)["weights"] for seed in (1, 2)]
        return *weights, read_arrays(project / meis).mei.values

    first, other, mei = made()
    run = snakemake(
        project, "--configfile", "small.yaml", "--forcerun", model.format(1), meis, "--", model.format(1), meis
    )
    assert run.returncode == 0 and "train_model" in run.stdout + run.stderr, run.stderr
    again, _, mei_again = made()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    np.testing.assert_array_equal(mei, mei_again)


def test_models_and_ensembles_are_scored(project):
    """Seeds stay an axis; of each network the ensemble predicts better than its seeds on average."""
    evaluation = read_arrays(project / "results/evaluation/mouse1.zarr.zip")
    assert evaluation.pearson.dims == ("network", "seed", "state", "unit")
    assert evaluation.seed.values.tolist() == [1, 2] and evaluation.n_seeds.values.tolist() == [2, 2]
    scores = read_table(project / "results/models/mouse1/GaussianLaplace/2.csv")
    one = evaluation.sel(network="GaussianLaplace", seed=2, state="per trial")
    np.testing.assert_allclose(one.pearson, scores.pearson[scores.tier == "test"], atol=1e-6)
    summary = read_table(project / "results/evaluation/mouse1.csv").set_index(["network", "seed", "state"])
    assert summary.index.is_unique and len(summary) == 2 * 3 * 2
    for network in ("GaussianLaplace", "StackedLinearGaussianLaplace"):
        seeds = [summary.pearson[network, seed, "per trial"] for seed in ("1", "2")]
        assert summary.pearson[network, "ensemble", "per trial"] > np.mean(seeds)
        assert summary.pearson[network, "ensemble", "frozen"] < summary.pearson[network, "ensemble", "per trial"]


def test_a_model_that_cannot_be_is_marked_and_the_others_go_on(project, tmp_path):
    """NoModelError: no unit of the wanted area; then what rests on the models, with one of them bad."""
    copy_of_the_loop(project, tmp_path)
    small = yaml.safe_load((tmp_path / "small.yaml").read_text())
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**small, "data_config": {"brain_area": "AL"}}))
    model = "results/models/mouse1/GaussianLaplace/2.pt"
    options = ("--rerun-triggers", "mtime", "--forcerun")
    run = snakemake(tmp_path, "--configfile", "bad.yaml", *options, model, "--", model)
    assert run.returncode == 0, run.stderr
    assert "no model: data set: no scan has a unit" in run.stdout + run.stderr
    with pytest.raises(NoModelError, match="no unit in area 'AL'"):
        load_network(tmp_path / model)
    scores = read_table(tmp_path / "results/models/mouse1/GaussianLaplace/2.csv")
    assert scores.empty and "pearson" in scores
    targets = ["results/selection/mouse1.csv", "results/evaluation/mouse1.csv", "results/meis/mouse1/cnn.zarr.zip"]
    run = snakemake(tmp_path, "--configfile", "small.yaml", "--rerun-triggers", "mtime", "--", *targets)
    assert run.returncode == 0, run.stdout + run.stderr
    best = read_table(tmp_path / "results/selection/mouse1_models.csv").set_index("model_type")
    assert best.seed["cnn"] == 1
    evaluation = read_arrays(tmp_path / "results/evaluation/mouse1.zarr.zip")
    assert evaluation.n_seeds.sel(network="GaussianLaplace") == 1
    assert "left out:" in (tmp_path / "results/logs/make_meis/mouse1/cnn_1.log").read_text()


def test_a_training_that_was_killed_with_snakemake_goes_on(project, tmp_path):
    """SIGKILL to Snakemake and its job; unlocked and run again, the weights are the same to the last bit."""
    copy_of_the_loop(project, tmp_path)
    model = tmp_path / "results/models/mouse1/GaussianLaplace/2.pt"
    expected = load_network(model).network.state_dict()
    for path in model.parent.glob("2*"):
        path.unlink()
    target = str(model.relative_to(tmp_path))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "small.yaml", "--rerun-triggers"]
    command += ["mtime", "--", target]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    checkpoint = model.with_suffix(".checkpoint")
    while process.poll() is None and not checkpoint.is_file():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.is_file() and not model.exists()
    assert snakemake(tmp_path, "--configfile", "small.yaml", "--unlock").returncode == 0
    run = snakemake(tmp_path, "--configfile", "small.yaml", "--rerun-triggers", "mtime", "--", target)
    assert run.returncode == 0, run.stderr
    assert "going on from the checkpoint of epoch" in run.stdout + run.stderr
    again = load_network(model).network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in expected.items())
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("overlay", "target", "message"),
    [
        ({"training": {"max_epoch": 3}}, [], "training.max_epoch: unknown key; did you mean 'max_epochs'?"),
        ({"training": {"batch_size": "many"}}, [], "training.batch_size: expected int, found 'many'"),
        (
            {"scans": {"a": "no/such/folder"}, "datasets": {"d": ["a"]}, "loops": {}},
            ["results/datasets/a.zarr.zip"],
            "scans.a: no such file or folder: no/such/folder",
        ),
        ({"natural": {"images": "no/pictures"}}, [], "natural.images: no such folder: no/pictures"),
        ({"simulation": {"photos": "no/photos"}}, [], "simulation.photos: no such folder: no/photos"),
        (
            {"scans": {"a": "broken.zip"}, "datasets": {"d": ["a"]}, "loops": {}},
            ["results/datasets/a.zarr.zip"],
            "broken.zip",
        ),
        (
            {"scans": {"a": "export"}, "datasets": {"d": ["a"]}, "loops": {}},
            ["results/datasets/a.zarr.zip"],
            "units.csv: column 'um_x' is missing",
        ),
        ({"data_config": {"brain_area": "AL"}}, ["results/reliability/mouse1.csv"], "no unit in area 'AL'"),
        ({"selection": {"edge_um": 500}}, ["results/selection/mouse1.csv"], "none is more than 500 um inside"),
    ],
)
def test_bad_input_gets_one_clear_message(project, tmp_path, overlay, target, message):
    copy_of_the_loop(project, tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not a zip file")
    shutil.copytree(project / "results/simulation/mouse1-day2-mei", tmp_path / "export")
    units = pd.read_csv(tmp_path / "export/units.csv").drop(columns="um_x")
    units.to_csv(tmp_path / "export/units.csv", index=False)
    small = yaml.safe_load((tmp_path / "small.yaml").read_text())
    for section, values in overlay.items():
        small[section] = values if section in ("scans", "datasets", "loops") else {**small.get(section, {}), **values}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(small))
    force = ["--forcerun", *target] if target else []
    run = snakemake(tmp_path, "--configfile", "bad.yaml", "--rerun-triggers", "mtime", *force, "--", *target)
    said = run.stdout + run.stderr
    assert run.returncode != 0
    assert message in said
    assert "Traceback" not in said
    assert not [path for path in target if (tmp_path / path).exists()]
    assert not list((tmp_path / "results").rglob(".*.tmp"))


def test_verdict_counts_what_the_export_holds(project):
    verdict = json.loads((project / "results/scans/mouse1-day1.json").read_text())
    export = project / "results/simulation/mouse1-day1"
    assert verdict["counts"]["trials"] == len(pd.read_csv(export / "trials.csv"))
    assert verdict["counts"]["soma"] == (pd.read_csv(export / "units.csv").mask_type == "soma").sum()
