import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from exports import make_export
from PIL import Image

import neurostatic
from neurostatic.cli import main
from neurostatic.config import Network, read_config
from neurostatic.data import read_sensorium, scan_verdict
from neurostatic.data.scans import read_scan
from neurostatic.inspection import projects, summaries
from neurostatic.models import CorePlusReadout, save_bad, save_network
from neurostatic.provenance import provenance
from neurostatic.store import row_blocks, write_arrays, write_json, write_table

ROOT = Path(__file__).parents[1]
MADE = provenance({"rule": "build_dataset"}, {"scans/day1/" + "x" * 90 + ".csv": "0123456789abcdef" * 4}, 7, "cpu")
TWIN = ROOT.parent / "shared" / "data" / "static90101-1-1-twin.zip"


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    base = tmp_path_factory.mktemp("exports")
    return {form: make_export(base / form, form, volume_s=0.122, repeats=7) for form in ("traces", "responses")}


@pytest.fixture
def broken(exports, tmp_path):
    """An export with two problems."""
    folder = shutil.copytree(exports["traces"], tmp_path / "broken")
    (folder / "eye.csv").unlink()
    units = pd.read_csv(folder / "units.csv")
    units.assign(mask_type="cell").to_csv(folder / "units.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projects") / "mouse7"
    assert main(["init", str(folder)]) == 0
    return folder


def line_of(text, start):
    """The words of the one line that starts with these."""
    (line,) = [line.split() for line in text.splitlines() if line.split()[: len(start.split())] == start.split()]
    return line


def described(path, capsys):
    assert main(["describe", str(path)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.replace(str(path), "").splitlines())) <= 100
    return text


def refused(arguments, capsys):
    """The message of a command that ends with exit code 1."""
    assert main([str(argument) for argument in arguments]) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err


def test_help_and_version(capsys):
    for arguments in (["--help"], ["--version"], ["check", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"neurostatic {neurostatic.__version__}" in text
    assert all(name in text for name in ("check", "describe", "networks", "init", "export-sensorium"))


def test_check_of_good_exports(exports, capsys):
    assert main(["check", str(exports["traces"]), str(exports["responses"])]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    traces, responses = printed.out.split("\n\n" + str(exports["responses"]))
    assert traces.startswith(f"{exports['traces']}: no problems, 0 remarks")
    assert "45, 1 of them excluded" in traces and "6, 5 of them somata" in traces and "2 at 2 depths" in traces
    assert line_of(traces, "tiers")[1:] == ["20", "test,", "21", "train,", "3", "validation"]
    assert line_of(traces, "dropped")[1:] == ["1", "excluded"]
    assert line_of(traces, "units L2/3 L4") and "filter" in traces and "filter" not in responses


def test_check_says_every_problem_of_every_path(exports, broken, tmp_path, capsys):
    paths = [broken, exports["traces"], tmp_path / "nothing"]
    assert main(["check", *map(str, paths)]) == 1
    printed = capsys.readouterr()
    assert "eye.csv: file is missing" in printed.err and "column mask_type" in printed.err
    assert f"scan export {broken}: 2 problems" in printed.err
    assert f"{tmp_path / 'nothing'}: no such file or folder" in printed.err
    assert "no problems" in printed.out


def test_check_prints_remarks(exports, tmp_path, capsys):
    folder = shutil.copytree(exports["traces"], tmp_path / "scan")
    (folder / "monitor_calibration.csv").unlink()
    assert main(["check", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "no problems, 1 remark\n" in text and "  - monitor_calibration.csv: is not there" in text


def test_what_cannot_become_a_data_set_is_a_problem(tmp_path, capsys):
    folder = make_export(tmp_path / "scan", n_repeated=0)
    assert "repeated images are needed as test images" in refused(["check", folder], capsys)
    folder = make_export(tmp_path / "small", height_px=20)
    assert "20 x 64 px cannot be reduced" in refused(["check", folder], capsys)


def test_what_nobody_foresaw_is_a_message_too(exports, monkeypatch, capsys):
    def fail(scan):
        raise ZeroDivisionError("of something")

    monkeypatch.setattr("neurostatic.inspection.checking.build_dataset", fail)
    message = refused(["check", exports["traces"]], capsys)
    assert re.search(r"please report it \(ZeroDivisionError: of something; test_cli\.py, line \d+\)", message)


def test_check_of_what_is_no_scan(exports, tmp_path, capsys):
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    assert "is neither the folder of a scan" in refused(["check", tmp_path / "note.txt"], capsys)
    assert "nor a readable zip file" in refused(["check", tmp_path / "broken.zip"], capsys)
    assert f"name these: {exports['responses']} {exports['traces']}" in refused(
        ["check", exports["traces"].parent], capsys
    )
    write_arrays(xr.Dataset({"a": ("x", [1.0])}), tmp_path / "a.zarr.zip", MADE)
    assert "is a result, not a scan" in refused(["check", tmp_path / "a.zarr.zip"], capsys)


def test_check_as_a_process_never_loads_torch(exports):
    code = "import sys; from neurostatic.cli import main; end = main(sys.argv[1:]); print('torch' in sys.modules, end)"
    command = [sys.executable, "-c", code, "check", str(exports["traces"])]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "False 0", run.stderr


def test_interrupted(exports, monkeypatch, capsys):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("neurostatic.inspection.checking.check", interrupt)
    assert main(["check", str(exports["traces"])]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_describe_store(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(summaries, "row_blocks", lambda values: row_blocks(values, 64))  # several blocks
    values = np.arange(60.0).reshape(20, 3)
    values[2, 1] = values[19, 0] = np.nan
    arrays = xr.Dataset(
        {
            "rate": (("trial", "unit"), values, {"units": "events/s", "long_name": "expected rate"}),
            "number": ((), 5),
            "lost": ("unit", np.full(3, np.nan, np.float32)),
            "none": ("nobody", np.zeros(0)),
        },
        {
            "area": ("unit", ["V1", "", "LM"]),
            "trial_idx": ("trial", np.arange(20)),
            "dead": ("unit", [True, False, True]),
        },
        {"stim_type": "imagenet", "long": "y" * 300},
    )
    write_arrays(arrays, tmp_path / "a.zarr.zip", MADE)
    text = described(tmp_path / "a.zarr.zip", capsys)
    assert line_of(text, "dimensions nobody") == ["dimensions", "nobody", "0,", "trial", "20,", "unit", "3"]
    assert " ".join(line_of(text, "rate")) == "rate trial, unit float64 events/s 2 0 to 59 expected rate"
    assert line_of(text, "number") == ["number", "-", "int64", "-", "0", "always", "5"]
    assert line_of(text, "lost") == ["lost", "unit", "float32", "-", "3"]
    assert line_of(text, "area") == ["area", "unit", "text", "-", "1", "LM,", "V1"]
    assert line_of(text, "dead") == ["dead", "unit", "bool", "-", "0", "false", "and", "true"]
    assert line_of(text, "stim_type") == ["stim_type", "imagenet"]
    assert line_of(text, "rule") == ["rule", "build_dataset"] and line_of(text, "seed") == ["seed", "7"]
    assert "xxxx.csv  0123456789ab\n" in text and "versions  neurostatic" in text


def test_describe_data_set(exports, tmp_path, capsys):
    from neurostatic.data import build_dataset

    write_arrays(build_dataset(read_scan(exports["traces"])), tmp_path / "day1.zarr.zip", MADE)
    text = described(tmp_path / "day1.zarr.zip", capsys)
    assert line_of(text, "responses")[1:4] == ["trial,", "unit", "float32"]
    assert line_of(text, "tier")[-3:] == ["test,", "train,", "validation"]


def test_describe_table(tmp_path, capsys):
    table = pd.DataFrame({"unit_id": [1, 2, 3], "oracle": [0.25, np.nan, 0.5], "area": ["V1", None, "NA"]})
    write_table(table, tmp_path / "t.csv", MADE)
    text = described(tmp_path / "t.csv", capsys)
    assert text.startswith(f"{tmp_path / 't.csv'}: table of 3 rows")
    assert line_of(text, "oracle") == ["oracle", "float64", "1", "0.25", "to", "0.5"]
    assert line_of(text, "area") == ["area", "text", "1", "NA,", "V1"]
    assert line_of(text, "device") == ["device", "cpu"]
    assert "provenance of the table beside it" in described(tmp_path / "t.csv.json", capsys)
    (tmp_path / "t.csv.json").unlink()
    assert "made by: unknown (t.csv.json is not there)" in described(tmp_path / "t.csv", capsys)


def test_describe_model(tmp_path, capsys):
    config = Network(hidden_channels=2, input_kern=3, hidden_kern=3, layers=1, scale_n=1)
    network = CorePlusReadout(config, {"day1": 3, "day2": 2})
    ids = {"day1": [1, 2, 3], "day2": [4, 5]}
    save_network(network, tmp_path / "1.pt", ids, {scan: {"image_mean": 1.0} for scan in ids}, MADE)
    text = described(tmp_path / "1.pt", capsys)
    assert "1.pt: model, format 2" in text
    assert line_of(text, "hidden_channels") == ["hidden_channels", "2"]
    assert line_of(text, "day1") == ["day1", "3", "units"] and line_of(text, "day2") == ["day2", "2", "units"]
    assert line_of(text, "rule") == ["rule", "build_dataset"]
    assert "1.pt: model, format 1" in described(Path(__file__).with_name("model_format_1.pt"), capsys)
    save_bad("the training diverged", tmp_path / "1.pt", MADE)
    text = described(tmp_path / "1.pt", capsys)
    assert "1.pt: no model, format 2" in text and "reason: the training diverged" in text


def test_networks(tmp_path, capsys):
    """The 64 models of the paper, and what is wrong with a configuration."""
    root = Path(__file__).parents[1]
    assert main(["networks", str(root / "workflow/config/paper.yaml")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("64 models of each data set: 16 networks x 4 seeds (1009, 1215, 2606, 99999)\n")
    assert line_of(text, "hidden_channels") == ["hidden_channels", "32"]
    network = "GaussianLaplace-gamma_hidden-1-gamma_input-100-downsample-false"
    assert line_of(text, "8") == ["8", network, "(maps", "96", "x", "22", "x", "50)"]
    assert text.count("(maps") == 16
    (tmp_path / "mine.yaml").write_text("networks: [{core: [Stacked2d, Identity], readout: FullGaussian2d}]")
    (tmp_path / "more.yaml").write_text("training: {seeds: [7]}")
    assert main(["networks", str(tmp_path / "mine.yaml"), str(tmp_path / "more.yaml")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("2 models of each data set: 2 networks x 1 seeds (7)")
    assert "\nIdentity, a linear model\n" in text and "(maps 1 x 36 x 64)" in text
    (tmp_path / "more.yaml").write_text("networks: {hidden_kern: 4}")
    assert "networks.hidden_kern: 4 is even" in refused(["networks", tmp_path / "more.yaml"], capsys)
    (tmp_path / "more.yaml").write_text("- networks")
    assert "expected sections of keys and values" in refused(["networks", tmp_path / "more.yaml"], capsys)
    assert "not a readable YAML file" in refused(["networks", tmp_path / "none.yaml"], capsys)


def test_describe_verdict(exports, tmp_path, capsys):
    verdict = {"source": "x", **scan_verdict(read_scan(exports["traces"])), "provenance": MADE}
    write_json(verdict, tmp_path / "day1.json")
    text = described(tmp_path / "day1.json", capsys)
    assert "verdict on a scan" in text and line_of(text, "trials") == ["trials", "45"]
    assert line_of(text, "traces.npy")[1] == verdict["files"]["traces.npy"][:12]


def test_describe_small_files(tmp_path, capsys):
    Image.new("L", (256, 144), 7).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.array([[1.0, np.nan], [2.0, 5.0]]))
    tables = "<figure><table></table></figure><figure><img></figure>"
    (tmp_path / "r.html").write_text(f"<h2 id='x'>In short</h2>{tables}<p>Code: commit abc (changed). A</p>")
    write_json({"a": 1}, tmp_path / "a.json")
    assert "144 x 256 px" in described(tmp_path / "a.png", capsys)
    text = described(tmp_path / "a.npy", capsys)
    assert line_of(text, "missing") == ["missing", "1"] and line_of(text, "range") == ["range", "1", "to", "5"]
    text = described(tmp_path / "r.html", capsys)
    assert line_of(text, "figures") == ["figures", "1"]  # tables have captions too
    assert line_of(text, "sections") == ["sections", "In", "short"] and line_of(text, "commit")[1:] == [
        "abc",
        "(changed)",
    ]
    assert line_of(described(tmp_path / "a.json", capsys), "a") == ["a", "1"]


def test_describe_scan(exports, capsys):
    text = described(exports["traces"], capsys)
    assert "45, 1 of them excluded" in text and "data set" not in text


@pytest.mark.parametrize("name", ["a.zarr.zip", "a.csv", "a.pt", "a.json", "a.html", "a.png", "a.npy", "a.txt", "a"])
def test_broken_and_unknown_files(tmp_path, name, capsys):
    assert "no such file" in refused(["describe", tmp_path / name], capsys)
    (tmp_path / name).write_bytes(b"\xff\x00\x80 broken")
    message = refused(["describe", tmp_path / name], capsys)
    assert message.startswith(str(tmp_path / name)) and ("readable" in message or "no kind that" in message)


def test_describe_goes_on_after_a_broken_file(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert main(["describe", str(tmp_path / "b.csv"), str(tmp_path / "a.npy"), str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "always 0" in printed.out and "holds no file of a raw scan export" in printed.err


def test_init_writes_a_config_that_is_the_default(project):
    sections = yaml.safe_load((project / "config.yaml").read_text())
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    other = {"scans": {"example": "scans/example"}, "datasets": {"example": ["example"]}, "loops": {}}
    assert sections == {name: other.get(name, value) for name, value in default.items() if name != "simulation"}
    config = read_config(ROOT / "config.yaml", overlay=sections)
    assert config.scans == {"example": "scans/example"} and config.loops == {}

    def comments(path):
        text = path.read_text().split("simulation:")[0] + path.read_text().split("preprocessing:", 1)[1]
        return re.findall("#.*", text.split("\n\n", 1)[1])

    assert set(comments(ROOT / "config.yaml")) <= set(comments(project / "config.yaml"))


def test_init_writes_an_export_that_passes(project, capsys):
    assert main(["check", str(project / "scans" / "example")]) == 0
    text = capsys.readouterr().out
    assert "200 of 144 x 256 px" in text and "20 images repeated, up to 6 times" in text
    assert 35 <= int(re.search(r"units +\d+, (\d+) of them somata", text)[1]) <= 45
    assert "3\n  calibrations  2 of the monitor" in text and "LM" in text and "L4" in text


def test_snakemake_runs_on_the_project(project, tmp_path):
    readme = (project / "README.txt").read_text()
    command = re.search("Run everything: +snakemake (.*)", readme)[1].split()
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", *command, "--dry-run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "checking example" in run.stdout + run.stderr and "simulate_scan" not in run.stdout + run.stderr
    shutil.rmtree(project / ".snakemake", ignore_errors=True)


def test_init_is_whole_or_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    assert "not an empty folder" in refused(["init", tmp_path / "full"], capsys)
    assert "no such folder" in refused(["init", tmp_path / "no" / "project"], capsys)
    monkeypatch.chdir(tmp_path / "full")
    assert "is the current folder" in refused(["init", "."], capsys)

    def fail(folder):
        folder.mkdir(parents=True)
        raise OSError("disk full")

    monkeypatch.setattr(projects, "_write_example", fail)
    assert "disk full" in refused(["init", tmp_path / "new"], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    monkeypatch.setattr(projects, "_write_example", lambda folder: None)
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 0
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["README.txt", "config.yaml"]


def test_init_needs_the_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(neurostatic, "__file__", str(tmp_path / "neurostatic" / "__init__.py"))
    assert "has no Snakefile; the workflow is needed" in refused(["init", tmp_path / "new"], capsys)


def test_export_sensorium(exports, tmp_path, capsys):
    from neurostatic.data import build_dataset

    dataset = build_dataset(read_scan(exports["traces"]))
    write_arrays(dataset, tmp_path / "day1.zarr.zip", MADE)
    assert main(["export-sensorium", str(tmp_path / "day1.zarr.zip"), str(tmp_path / "tree.zip")]) == 0
    read = read_sensorium(tmp_path / "tree.zip")
    assert np.array_equal(read.responses, dataset.responses) and np.array_equal(read.tier, dataset.tier)
    assert main(["check", str(tmp_path / "tree.zip")]) == 0
    assert "Sensorium tree" in capsys.readouterr().out
    assert "exists already" in refused(["export-sensorium", tmp_path / "day1.zarr.zip", tmp_path / "tree.zip"], capsys)
    assert "no such file" in refused(["export-sensorium", tmp_path / "no.zarr.zip", tmp_path / "tree2"], capsys)


PLACES = {1: 0.0, 2: 40.0, 3: 80.0, 4: 120.0, 5: 160.0, 6: 200.0}  # unit_id -> um along x


def write_cells(path, places, **columns):
    table = pd.DataFrame({"unit_id": list(places), "x_um": list(places.values()), "y_um": 5.0, "z_um": 7.0})
    table.assign(**columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def two_days(tmp_path):
    """Each cell of day 1 has moved by 1 um; cell 6 is not in day 2."""
    later = {unit + 100: place + 1 for unit, place in PLACES.items() if unit != 6}
    return write_cells(tmp_path / "day1.csv", PLACES), write_cells(tmp_path / "day2.csv", later)


def test_match(two_days, tmp_path, capsys):
    output, unmatched = tmp_path / "new" / "matches.csv", tmp_path / "unmatched.csv"
    assert main(["match", *two_days, "--output", str(output), "--unmatched", str(unmatched)]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"matched: 5 of 6 units, 1\.0 um away \(median\); 0\.0 of them are expected to be wrong\n"
        r"unmatched: 1 of 6 units \(1 doubtful\)\n",
        printed.out,
    )
    matches = pd.read_csv(output)
    assert matches["unit_id"].tolist() == [101, 102, 103, 104, 105] and matches["src_x_um"].tolist()[1] == 40
    assert (matches["posterior"] > 0.9).all() and (matches["total_stacks"] == 1).all()
    lost = pd.read_csv(unmatched).iloc[0]
    assert (lost["src_unit_id"], lost["unit_id"]) == (6, 105)
    assert lost["reason"] == "doubtful: posterior 0.00 is below 0.5"


def test_match_to_standard_output(two_days, tmp_path, capsys):
    pd.DataFrame({"unit_id": [2, 6]}).to_csv(tmp_path / "owners.csv", index=False)
    assert main(["match", *two_days, "--units", str(tmp_path / "owners.csv"), "--min-posterior", "0"]) == 0
    printed = capsys.readouterr()
    matches = pd.read_csv(io.StringIO(printed.out))
    assert matches["src_unit_id"].tolist() == [2, 6] and matches["unit_id"].tolist() == [102, 105]
    assert printed.err.startswith("matched: 2 of 2 units, 20.0 um away (median); 1.0 of them are expected to be wrong")
    assert printed.err.endswith("\nunmatched: 0 of 2 units\n")
    assert main(["match", *two_days, "--max-distance-um", "10"]) == 0
    assert "unmatched: 1 of 6 units (1 no cell within 10 um)" in capsys.readouterr().err


def test_match_options(two_days, tmp_path, capsys):
    stacks = pd.concat([pd.read_csv(two_days[0]).assign(stack=stack) for stack in (1, 2)])
    later = pd.concat([pd.read_csv(two_days[1]).assign(stack=stack) for stack in (1, "two")])
    stacks.to_csv(tmp_path / "a.csv", index=False)
    later.to_csv(tmp_path / "b.csv", index=False)
    pair = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert main(["match", *pair]) == 0  # the stack that is 1 in both, though one column is of numbers and one of text
    assert (pd.read_csv(io.StringIO(capsys.readouterr().out))["total_stacks"] == 1).all()
    rival = write_cells(tmp_path / "rival.csv", PLACES | {7: 44.0})
    limits = ["--max-distance-um", "10", "--min-posterior", "0"]
    assert main(["match", rival, two_days[1], *limits]) == 0
    assert pd.read_csv(io.StringIO(capsys.readouterr().out))["shared"].tolist() == [1, 2, 1, 1, 1, 2]
    assert main(["match", rival, two_days[1], *limits, "--one-to-one", "--min-vote-fraction", "1"]) == 0
    printed = capsys.readouterr()
    assert pd.read_csv(io.StringIO(printed.out))["src_unit_id"].tolist() == [1, 2, 3, 4, 5]
    assert "(1 no cell within 10 um; 1 one to one)" in printed.err


def test_match_says_what_is_wrong(two_days, tmp_path, capsys):
    no_table = tmp_path / "none.csv"
    before = Path(two_days[0]).read_bytes()
    other_way = str(Path(two_days[0]).parent / "." / ".." / Path(two_days[0]).parent.name / Path(two_days[0]).name)
    assert other_way != two_days[0]
    assert "would be written" in refused(["match", *two_days, "--output", other_way], capsys)
    assert Path(two_days[0]).read_bytes() == before
    pd.DataFrame({"unit_id": [2, 77]}).to_csv(tmp_path / "strangers.csv", index=False)
    message = refused(["match", *two_days, "--units", str(tmp_path / "strangers.csv")], capsys)
    assert f"strangers.csv: unit 77: not in {two_days[0]}" in message
    message = refused(["match", *two_days, "--output", two_days[0], "--unmatched", two_days[0]], capsys)
    assert f"{two_days[0]}: would be written, and is another of the files as well" in message
    pd.DataFrame({"unit_id": []}).to_csv(tmp_path / "empty.csv", index=False)
    assert "empty.csv: has no rows" in refused(["match", *two_days, "--units", tmp_path / "empty.csv"], capsys)
    named = [write_cells(tmp_path / f"{stack}.csv", PLACES, stack=stack) for stack in ("A", "B")]
    assert "no stack in common: A in the first, B in the second" in refused(["match", *named], capsys)
    assert "no such file" in refused(["match", two_days[0], no_table], capsys)
    assert "finite limit" in refused(["match", *two_days, "--one-to-one"], capsys)
    assert "min_posterior is 2, allowed is 0 to 1" in refused(["match", *two_days, "--min-posterior", "2"], capsys)
    named = write_cells(tmp_path / "named.csv", {"a": 1.0, "b": 2.0}, stack="s")
    message = refused(["match", two_days[0], named, "--output", tmp_path / "matches.csv"], capsys)
    assert "2 problems" in message and f"{named}: column 'unit_id' holds something that is no whole number" in message
    assert "one of the tables has a column 'stack'" in message and not (tmp_path / "matches.csv").exists()
    pd.read_csv(two_days[0]).drop(columns="z_um").to_csv(tmp_path / "flat.csv", index=False)
    assert "source: column 'z_um' is missing" in refused(["match", tmp_path / "flat.csv", two_days[1]], capsys)
    twice = write_cells(tmp_path / "twice.csv", PLACES)
    pd.concat([pd.read_csv(twice)] * 2).to_csv(twice, index=False)
    assert "unit 1 is listed more than once" in refused(["match", twice, two_days[1]], capsys)


def test_match_as_a_process_never_loads_torch(two_days):
    code = "import sys; from neurostatic.cli import main; end = main(sys.argv[1:]); print('torch' in sys.modules, end)"
    run = subprocess.run([sys.executable, "-c", code, "match", *two_days], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines()[-1] == "False 0", run.stderr
