import hashlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from damages import change_array, change_table, set_cell
from exports import make_export

from neurostatic.data import build_dataset, read_scan, scan_verdict
from neurostatic.data.export_files import RESPONSES_FORM, TRACES_FORM
from neurostatic.problems import InputError


@pytest.fixture
def export(exports, tmp_path):
    """A copy of the valid traces export, to be spoiled."""
    return shutil.copytree(exports["traces"], tmp_path / "scan")


def test_many_rows_are_one_line(export):
    change_table("eye.csv", lambda t: t.assign(radius_px=-1))(export)
    with pytest.raises(InputError, match=r"1 problem\n.*column radius_px, rows 2, 3, 4 and \d+ more: found '-1'"):
        read_scan(export)


def test_traces_form(exports):
    scan = read_scan(exports["traces"])
    assert scan.form == "traces" and scan.name == "traces"
    assert scan.info["stim_type"] == "imagenet" and scan.info["timestamp"] == "2019-03-11T14:00:00"
    assert scan.units.unit_id.tolist() == [105, 104, 103, 102, 101, 100]
    assert scan.units.mask_type.tolist() == ["soma"] * 5 + ["axon"]
    assert len(scan.trials) == 36 and scan.trials.excluded.sum() == 1
    assert scan.trials.exclusion_comment[5] == "photodiode fell off" and scan.trials.exclusion_comment[0] == ""
    assert scan.images.shape == (27, 36, 64) and isinstance(scan.images, np.memmap)
    assert scan.area_names == ("V1", "LM") and scan.area_labels[2].shape == (20, 30)
    assert np.array_equal(scan.traces, np.load(exports["traces"] / "traces.npy"))
    assert scan.responses is None and scan.behavior is None
    assert scan.flips_s().shape == (36, 3)
    assert scan.delay_s() == pytest.approx(scan.units.ms_delay / 1000)
    assert (exports["traces"] / "traces.npy").is_file()
    assert set(TRACES_FORM) <= {path.name for path in exports["traces"].iterdir()}


def test_responses_form(exports):
    scan = read_scan(exports["responses"])
    assert scan.form == "responses" and scan.traces is None and scan.eye is None
    assert scan.responses.shape == (36, 6) and len(scan.behavior) == 36
    assert set(RESPONSES_FORM) <= {path.name for path in exports["responses"].iterdir()}


def test_what_other_programs_write(export):
    """Blank lines, a byte-order mark, spaces, 0/1 for bool, NaN for nothing, one scan outside a loop."""
    lines = (export / "trials.csv").read_text().replace("True", "1").replace("False", " 0").splitlines()
    lines.insert(3, "")
    (export / "trials.csv").write_text("\ufeff" + "\n".join(lines) + "\n\n")
    change_table("eye.csv", lambda t: t.assign(radius_px=t.radius_px.where(t.index > 3)))(export)
    (export / "scan.yaml").write_text(
        "animal_id: 1\nsession: 2\nscan_idx: 3\nstim_type: imagenet\ntimestamp: 2019-03-11 14:00:00\n"
    )
    scan = read_scan(export)
    assert scan.trials.excluded.tolist() == [i == 5 for i in range(36)]
    assert np.isnan(scan.eye.radius_px[0])
    assert scan.info["day"] is None and scan.info["timestamp"] == "2019-03-11T14:00:00"
    set_cell("trials.csv", "trial_idx", 30, "x")(export)
    text = (export / "trials.csv").read_text().splitlines()
    text.insert(10, "")
    (export / "trials.csv").write_text("\n".join(text))
    with pytest.raises(InputError, match="row 31: found 'x'"):  # the line in the file
        read_scan(export)


def test_areas_and_layers_may_stand_in_units(tmp_path):
    scan = read_scan(make_export(tmp_path / "scan", area_columns=True, optional_files=False))
    assert scan.area_names == () and scan.area_labels == {1: None, 2: None}
    assert scan.stack_coordinates is None and scan.monitor_calibration is None
    assert scan.units.layer.tolist() == ["L2/3", "L4"] * 3


@pytest.mark.parametrize(
    "written",
    [
        lambda a: np.asfortranarray(a.reshape(-1, 1) if a.ndim == 1 else a),
        lambda a: a[None] if a.ndim == 1 else a,
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: a.astype(float),
    ],
)
@pytest.mark.parametrize("form", ["traces", "responses"])
def test_arrays_of_any_layout(exports, tmp_path, form, written):
    """Fortran order and vectors of two dimensions, as MATLAB writes them, big-endian, float64: the same numbers."""
    folder = shutil.copytree(exports[form], tmp_path / "scan")
    for name in ("traces.npy", "frame_times_stim.npy", "frame_times_behavior.npy", "responses.npy"):
        if (folder / name).is_file():
            change_array(name, written)(folder)
    expected = build_dataset(read_scan(exports[form]))
    assert build_dataset(read_scan(folder)).load().equals(expected.load())


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_tables_of_any_program(exports, tmp_path, line_end):
    """Line ends of Windows and old Macs, letters beyond ASCII, quotes, spaces, a quoted line end."""
    folder = shutil.copytree(exports["traces"], tmp_path / "scan")
    for path in folder.glob("*.csv"):
        path.write_bytes(path.read_text().replace("\n", line_end).encode())
    text = (folder / "trials.csv").read_bytes().decode()
    text = text.replace("photodiode fell off", '"µ-Kamera, ""links"", gelöscht\nam 11.3."').replace(
        "imagenet", ' "图像"'
    )
    (folder / "trials.csv").write_bytes(text.encode())
    images = (folder / "images.csv").read_bytes().decode().replace("imagenet", "图像")
    (folder / "images.csv").write_bytes(images.encode())
    scan = read_scan(folder)
    expected = read_scan(exports["traces"])
    assert scan.trials.exclusion_comment[5] == 'µ-Kamera, "links", gelöscht am 11.3.'
    assert set(scan.trials.image_class) == {"图像"}
    assert scan.units.equals(expected.units) and scan.eye.equals(expected.eye)
    assert scan.trials.drop(columns=["exclusion_comment", "image_class"]).equals(
        expected.trials.drop(columns=["exclusion_comment", "image_class"])
    )
    set_cell("trials.csv", "trial_idx", 30, "x")(folder)
    with pytest.raises(InputError, match="row 31: found 'x'"):  # the comment takes two lines
        read_scan(folder)


def test_what_is_no_folder(exports, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_scan(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a file, the folder of an export is needed"):
        read_scan(exports["traces"] / "traces.npy")
    with pytest.raises(
        InputError, match=r"7 problems\n(?s:.*)neither the traces form .* is there\n.*scan\.yaml: file is m"
    ):
        read_scan(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(export):
    for name in ("units.csv", "traces.npy", "area_masks.npz", "scan.yaml"):
        (export / name).chmod(0)
    with pytest.raises(InputError, match=r"4 problems\n.*units\.csv: cannot be read \(Permission denied\)"):
        read_scan(export)
    export.chmod(0)
    with pytest.raises(InputError, match="no permission to read this folder"):
        read_scan(export)
    export.chmod(0o700)


def test_verdict(exports):
    verdict = scan_verdict(read_scan(exports["traces"]))
    counts = verdict["counts"]
    assert (counts["trials"], counts["excluded"], counts["units"], counts["soma"]) == (36, 1, 6, 5)
    assert (counts["fields"], counts["depths"], counts["images"], counts["images_repeated"]) == (2, 2, 27, 3)
    assert verdict["files"]["traces.npy"] == hashlib.sha256((exports["traces"] / "traces.npy").read_bytes()).hexdigest()
    assert set(verdict["files"]) == {path.name for path in exports["traces"].iterdir()}
    json.dumps(verdict)
    json.dumps(scan_verdict(read_scan(exports["responses"])))


def test_excluded_trials_and_masks_that_are_no_somata_may_be_as_they_are(exports, tmp_path):
    """What is wrong with a trial that was excluded is why it was; axons take part in nothing."""
    folder = shutil.copytree(exports["traces"], tmp_path / "traces")
    trials = pd.read_csv(folder / "trials.csv")
    for column, value in (("flip_onset_s", trials.flip_blank_s[5] - 1), ("flip_end_s", 4.0)):
        trials.loc[5, column] = value  # trial 5 is excluded
        trials.to_csv(folder / "trials.csv", index=False)
        assert read_scan(folder).trials.excluded.sum() == 1
    trials.assign(excluded=False).to_csv(folder / "trials.csv", index=False)
    with pytest.raises(InputError, match="flips out of order"):
        read_scan(folder)
    folder = shutil.copytree(exports["responses"], tmp_path / "responses")
    responses = np.load(folder / "responses.npy")
    responses[5, 2] = responses[8, 5] = np.nan  # an excluded trial; the last unit is an axon
    np.save(folder / "responses.npy", responses)
    scan = read_scan(folder)
    assert build_dataset(scan).trial_idx.values.tolist() == [i for i in range(36) if i != 5]
    responses[8, 4] = np.nan
    np.save(folder / "responses.npy", responses)
    with pytest.raises(InputError, match=r"entry \(8, 4\) \(from 0\): found NaN in 1 entries of somata"):
        read_scan(folder)
