import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from exports import make_export

from neurostatic.data import RESPONSES_FORM, TRACES_FORM, read_scan, scan_verdict
from neurostatic.store import InputError


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A valid export of each form."""
    base = tmp_path_factory.mktemp("exports")
    return {form: make_export(base / form, form) for form in ("traces", "responses")}


@pytest.fixture
def export(exports, tmp_path):
    """A copy of the valid traces export, to be spoiled."""
    return shutil.copytree(exports["traces"], tmp_path / "scan")


def set_cell(name, column, line, value):
    """Spoil one field of a table; the header is line 1."""

    def spoil(folder):
        table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
        table.loc[line - 2, column] = value
        table.to_csv(folder / name, index=False)

    return spoil


def change_table(name, change):
    def spoil(folder):
        change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)

    return spoil


def change_array(name, change):
    def spoil(folder):
        np.save(folder / name, change(np.load(folder / name)))

    return spoil


def change_info(**values):
    def spoil(folder):
        info = yaml.safe_load((folder / "scan.yaml").read_text())
        (folder / "scan.yaml").write_text(yaml.safe_dump(info | values))

    return spoil


def set_entry(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def change_masks(**changes):
    def spoil(folder):
        arrays = dict(np.load(folder / "area_masks.npz")) | changes
        np.savez(folder / "area_masks.npz", **{k: v for k, v in arrays.items() if v is not None})

    return spoil


def pickled_array(folder):
    np.save(folder / "images.npy", np.array([{"not": "pixels"}], dtype=object), allow_pickle=True)


SOME = r"[\d.]+"
DEFECTS = {
    "missing file": (remove("eye.csv"), r"eye\.csv: file is missing"),
    "missing common file": (remove("scan.yaml"), r"scan\.yaml: file is missing"),
    "mix of forms": (write("behavior.csv", b"x"), r"mix of two forms: traces\.npy, .* one form is allowed"),
    "missing column": (
        change_table("units.csv", lambda t: t.drop(columns="px_x")),
        r"units\.csv: column 'px_x' is missing",
    ),
    "empty table": (change_table("eye.csv", lambda t: t.iloc[:0]), r"eye\.csv: has no rows, at least one is needed"),
    "empty file": (write("units.csv", b""), r"units\.csv: not a readable CSV table"),
    "binary table": (write("fields.csv", b"\xff\xfe\x00\x81"), r"fields\.csv: not a readable CSV table"),
    "ragged table": (write("images.csv", b"image_class,image_id\na,1,7,8\n"), r"images\.csv: not a readable CSV table"),
    "text for a number": (
        set_cell("units.csv", "ms_delay", 4, "fast"),
        r"units\.csv, column ms_delay, row 4: found 'fast', allowed is a number, at least 0",
    ),
    "nan where none may be": (
        set_cell("units.csv", "um_z", 3, ""),
        r"units\.csv, column um_z, row 3: found '', allowed is a number",
    ),
    "infinite": (set_cell("eye.csv", "radius_px", 9, "inf"), r"eye\.csv, column radius_px, row 9: found 'inf'"),
    "fraction for a whole number": (
        set_cell("trials.csv", "image_id", 2, "1.5"),
        r"trials\.csv, column image_id, row 2: found '1\.5', allowed is a whole number",
    ),
    "excluded is no bool": (
        set_cell("trials.csv", "excluded", 3, "maybe"),
        r"column excluded, row 3: found 'maybe', allowed is true or false",
    ),
    "unknown mask type": (
        set_cell("units.csv", "mask_type", 2, "cell"),
        r"column mask_type, row 2: found 'cell', allowed is one of soma, axon",
    ),
    "unknown stimulus type": (
        set_cell("trials.csv", "stimulus_type", 2, "Frame"),
        r"column stimulus_type, row 2: found 'Frame', allowed is one of stimulus\.Frame",
    ),
    "double unit_id": (
        set_cell("units.csv", "unit_id", 5, "105"),
        r"units\.csv, column unit_id, row 5: 105 is there already",
    ),
    "double trial_idx": (
        set_cell("trials.csv", "trial_idx", 8, "0"),
        r"trials\.csv, column trial_idx, row 8: 0 is there already",
    ),
    "double image": (
        set_cell("images.csv", "image_id", 3, "1"),
        r"images\.csv, columns image_class, image_id, row 3: \(imagenet, 1\) is there already",
    ),
    "double field": (set_cell("fields.csv", "field", 3, "1"), r"fields\.csv, column field, row 3: 1 is there already"),
    "image not there": (
        set_cell("trials.csv", "image_class", 4, "other"),
        r"trials\.csv, columns image_class, image_id, row 4: image \(other, \d+\) is not in images\.csv",
    ),
    "hash of two images": (
        lambda folder: [set_cell("trials.csv", "condition_hash", line, "same")(folder) for line in range(2, 38)],
        r"column condition_hash, rows 2, 3, 4 and 33 more: 'same' stands for several images",
    ),
    "unknown field": (
        set_cell("units.csv", "field", 6, "9"),
        r"units\.csv, column field, row 6: field 9 is not in fields\.csv \(1, 2\)",
    ),
    "no soma": (
        change_table("units.csv", lambda t: t.assign(mask_type="axon")),
        r"column mask_type: no unit is 'soma'",
    ),
    "pixel counted from 1": (
        set_cell("units.csv", "px_x", 2, "30"),
        r"column px_x, row 2: found 30, allowed is 0 to 29",
    ),
    "delay in us": (
        set_cell("units.csv", "ms_delay", 2, "62500"),
        r"column ms_delay, row 2: found 62500, allowed is 0 to 125\.0 ms",
    ),
    "no areas": (remove("area_masks.npz"), r"column 'brain_area' is missing, and so is area_masks\.npz"),
    "area mask of another size": (
        change_masks(field_2=np.zeros((30, 20), int)),
        r"area_masks\.npz, field_2: shape is \(30, 20\), needed is \(20, 30\)",
    ),
    "label without a name": (
        change_masks(field_1=np.full((20, 30), 3)),
        r"field_1: found int64 labels up to 3, allowed are whole numbers from 0 to 2",
    ),
    "area mask missing": (change_masks(field_1=None), r"label map 'field_1' is missing"),
    "broken area masks": (
        write("area_masks.npz", b"PK\x03\x04 broken"),
        r"area_masks\.npz: not a readable \.npz archive",
    ),
    "images of floats": (
        change_array("images.npy", lambda a: a / 255),
        r"images\.npy: dtype is float64, allowed is uint8",
    ),
    "images with channels": (
        change_array("images.npy", lambda a: a[..., None]),
        r"images\.npy: has 1 channels, allowed are 2 or 3 \(gray images have no channel dimension\)",
    ),
    "one image alone": (
        change_array("images.npy", lambda a: a[0]),
        r"images\.npy: shape is \(36, 64\), needed is \(image, y, x\) or \(image, y, x, channel\) without zeros",
    ),
    "images too few": (
        change_array("images.npy", lambda a: a[1:]),
        r"images\.npy: holds 26, but images\.csv has 27 rows",
    ),
    "pickle": (pickled_array, r"images\.npy: not a readable \.npy array"),
    "cut array": (
        lambda f: (f / "traces.npy").write_bytes((f / "traces.npy").read_bytes()[:-100]),
        r"traces\.npy: not a readable \.npy array",
    ),
    "traces turned": (change_array("traces.npy", lambda a: a.T), r"traces\.npy: holds \d+, but units\.csv has 6 rows"),
    "infinite trace": (
        change_array("traces.npy", set_entry((2, 7), np.inf)),
        r"traces\.npy, entry \(2, 7\) \(from 0\): is infinite",
    ),
    "traces too short": (
        change_array("traces.npy", lambda a: a[:, :-2]),
        r"volumes: \d+ in frame_times_stim\.npy, .*; at most 1 may be missing",
    ),
    "clocks differ": (
        change_array("frame_times_behavior.npy", lambda a: a[:-4]),
        r"volumes: .* at most 1 may be missing",
    ),
    "clock stands still": (
        change_array("frame_times_stim.npy", set_entry(10, 0.0)),
        rf"frame_times_stim\.npy, entry 10 \(from 0\): time is not increasing, found 0\.000000 s after {SOME} s",
    ),
    "nan frame time": (
        change_array("frame_times_stim.npy", set_entry(4, np.nan)),
        r"frame_times_stim\.npy, entry 4 \(from 0\): found nan",
    ),
    "eye time falls": (
        set_cell("eye.csv", "time_s", 20, "1000"),
        r"eye\.csv, column time_s, row 20: time is decreasing, found 1000 s",
    ),
    "eye on the wrong clock": (
        change_table("eye.csv", lambda t: t.assign(time_s=t.time_s - 1000.5)),
        r"eye\.csv, column time_s: found 0 to .* s, outside the recording",
    ),
    "treadmill without times": (
        change_table("treadmill.csv", lambda t: t.assign(time_s=np.nan)),
        r"treadmill\.csv, column time_s: has 0 times",
    ),
    "flips turned": (
        set_cell("trials.csv", "flip_onset_s", 2, "3.0"),
        r"columns flip_blank_s, flip_onset_s, row 2: flips out of order, found 3 s and 3 s",
    ),
    "end before onset": (
        set_cell("trials.csv", "flip_end_s", 3, "4.2"),
        r"columns flip_onset_s, flip_end_s, row 3: flips out of order",
    ),
    "flips on the wrong clock": (
        change_table(
            "trials.csv",
            lambda t: t.assign(flip_blank_s=t.flip_blank_s + 1000, flip_onset_s=t.flip_onset_s + 1000, flip_end_s=""),
        ),
        r"column flip_onset_s: no onset lies within the recording",
    ),
    "all excluded": (
        change_table("trials.csv", lambda t: t.assign(excluded=1)),
        r"column excluded: every trial is excluded",
    ),
    "wrong stim_type": (
        change_info(stim_type="movie"),
        r"scan\.yaml, key stim_type: found 'movie', allowed is one of imagenet, mei",
    ),
    "text for animal_id": (
        change_info(animal_id="mouse"),
        r"scan\.yaml, key animal_id: found 'mouse', allowed is a whole number",
    ),
    "wrong timestamp": (change_info(timestamp="March 11th"), r"key timestamp: found 'March 11th', allowed is ISO 8601"),
    "wrong mei_source": (change_info(mei_source="yes"), r"key mei_source: found 'yes', allowed is 0 or 1"),
    "broken yaml": (write("scan.yaml", b"animal_id: [1"), r"scan\.yaml: not a readable YAML file"),
    "yaml that runs code": (
        write("scan.yaml", b"!!python/object/apply:os.system ['true']"),
        r"scan\.yaml: not a readable YAML file",
    ),
    "stack of an unknown unit": (
        set_cell("stack_coordinates.csv", "unit_id", 2, "7"),
        r"stack_coordinates\.csv, column unit_id, row 2: unit 7 is not in units\.csv",
    ),
    "double stack unit": (
        set_cell("stack_coordinates.csv", "unit_id", 2, "100"),
        r"stack_coordinates\.csv, columns stack, unit_id, row 7: \(a, 100\) is there already",
    ),
    "pixel value of 300": (
        set_cell("monitor_calibration.csv", "pixel_value", 10, "300"),
        r"column pixel_value, row 10: found '300', allowed is a number from 0 to 255",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_named(export, name):
    spoil, message = DEFECTS[name]
    spoil(export)
    with pytest.raises(InputError, match=message):
        read_scan(export)


RESPONSE_DEFECTS = {
    "units missing": (
        change_array("responses.npy", lambda a: a[:, 1:]),
        r"responses\.npy: holds 5 units, but units\.csv has 6 rows",
    ),
    "trials missing": (
        change_array("responses.npy", lambda a: a[1:]),
        r"responses\.npy: holds 35, but trials\.csv has 36 rows",
    ),
    "nan of one unit": (
        change_array("responses.npy", set_entry((3, 2), np.nan)),
        r"responses\.npy, entry \(3, 2\) \(from 0\): found NaN in 1 entries",
    ),
    "behavior missing": (
        change_table("behavior.csv", lambda t: t.iloc[2:]),
        r"behavior\.csv: holds 34, but trials\.csv has 36 rows",
    ),
    "behavior column": (
        change_table("behavior.csv", lambda t: t.drop(columns="dpupil")),
        r"behavior\.csv: column 'dpupil' is missing",
    ),
    "nothing recorded": (
        lambda f: [(f / n).unlink() for n in ("responses.npy", "behavior.csv")],
        r"neither the traces form .* nor the responses form",
    ),
}


@pytest.mark.parametrize("name", RESPONSE_DEFECTS)
def test_defect_of_the_responses_form_is_named(exports, tmp_path, name):
    folder = shutil.copytree(exports["responses"], tmp_path / "scan")
    spoil, message = RESPONSE_DEFECTS[name]
    spoil(folder)
    with pytest.raises(InputError, match=message):
        read_scan(folder)


def test_all_problems_at_once(export):
    chosen = [
        "missing file",
        "double trial_idx",
        "unknown field",
        "images of floats",
        "flips turned",
        "wrong stim_type",
    ]
    for name in chosen:
        DEFECTS[name][0](export)
    with pytest.raises(InputError) as error:
        read_scan(export)
    lines = str(error.value).splitlines()
    assert lines[0] == f"scan export {export}: {len(chosen)} problems"
    assert len(lines) == len(chosen) + 1


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


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_scan(tmp_path / "nothing")


def test_verdict(exports):
    verdict = scan_verdict(read_scan(exports["traces"]))
    counts = verdict["counts"]
    assert (counts["trials"], counts["excluded"], counts["units"], counts["soma"]) == (36, 1, 6, 5)
    assert (counts["fields"], counts["depths"], counts["images"], counts["images_repeated"]) == (2, 2, 27, 3)
    assert verdict["files"]["traces.npy"] == hashlib.sha256((exports["traces"] / "traces.npy").read_bytes()).hexdigest()
    assert set(verdict["files"]) == {path.name for path in exports["traces"].iterdir()}
    json.dumps(verdict)
    json.dumps(scan_verdict(read_scan(exports["responses"])))
