"""The table of defects: what goes wrong in an export, and the line that a user reads about it."""

import re
import shutil

import numpy as np
import pytest
from damages import (
    FLIPS,
    all_of,
    append,
    change_array,
    change_info,
    change_line,
    change_masks,
    change_table,
    change_text,
    pickled_array,
    remove,
    set_cell,
    set_entry,
    swap_flips,
    write,
)
from exports import make_export

from neurostatic.cli import main
from neurostatic.data import read_scan
from neurostatic.problems import InputError


@pytest.fixture(scope="module")
def exports(exports, tmp_path_factory):
    """The valid exports, and one whose fields are registered to a stack."""
    return exports | {"registered": make_export(tmp_path_factory.mktemp("exports") / "registered", registered=True)}


@pytest.fixture
def export(exports, tmp_path):
    """A copy of the valid traces export, to be spoiled."""
    return shutil.copytree(exports["traces"], tmp_path / "scan")


def problems_of(folder):
    """What is wrong with an export, line by line."""
    with pytest.raises(InputError) as error:
        read_scan(folder)
    title, *lines = str(error.value).splitlines()
    assert title == f"scan export {folder}: {len(lines)} problem{'s' if len(lines) > 1 else ''}"
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


def is_said(message, lines):
    """Is this one of the lines? '…' stands for words of numpy or yaml, or for numbers."""
    return any(re.fullmatch(".*".join(map(re.escape, message.split("…"))), line) for line in lines)


# What a user reads about each defect, one problem a line. Lines beyond the first are what follows from the defect.
COMMON = {
    # scan.yaml
    "no scan.yaml": (remove("scan.yaml"), "scan.yaml: file is missing"),
    "yaml broken": (
        write("scan.yaml", b"animal_id: [1"),
        "scan.yaml: not a readable YAML file (while parsing a flow sequence …)",
    ),
    "yaml that runs code": (
        write("scan.yaml", b"!!python/object/apply:os.system ['true']"),
        "scan.yaml: not a readable YAML file (could not determine a constructor for the tag …)",
    ),
    "yaml without keys": (
        write("scan.yaml", b"- 17\n- 2\n"),
        "scan.yaml: found [17, 2], allowed are keys and values such as 'session: 1'",
    ),
    "unknown stim_type": (
        change_info(stim_type="movie"),
        "scan.yaml, key stim_type: found 'movie', allowed is one of imagenet, mei, gabor, natural, noise",
    ),
    "text for animal_id": (
        change_info(animal_id="mouse"),
        "scan.yaml, key animal_id: found 'mouse', allowed is a whole number, at least 0",
    ),
    "session below 0": (
        change_info(session=-1),
        "scan.yaml, key session: found -1, allowed is a whole number, at least 0",
    ),
    "timestamp in words": (
        change_info(timestamp="March 11th"),
        "scan.yaml, key timestamp: found 'March 11th', allowed is ISO 8601 such as 2019-03-11T14:00:00",
    ),
    "mei_source in words": (change_info(mei_source="yes"), "scan.yaml, key mei_source: found 'yes', allowed is 0 or 1"),
    # fields of a table
    "number in words": (
        set_cell("units.csv", "ms_delay", 4, "fast"),
        "units.csv, column ms_delay, row 4: found 'fast', allowed is a number, at least 0",
    ),
    "number missing": (
        set_cell("units.csv", "um_x", 3, ""),
        "units.csv, column um_x, row 3: found '', allowed is a number",
    ),
    "decimal comma": (
        set_cell("units.csv", "um_z", 3, "200,5"),
        "units.csv, column um_z, row 3: found '200,5', allowed is a number with a decimal point",
    ),
    "number too large": (
        set_cell("stack_coordinates.csv", "y_um", 7, "1e300"),
        "stack_coordinates.csv, column y_um, row 7: found '1e300', allowed is a number or nothing",
    ),
    "fraction for a whole number": (
        set_cell("trials.csv", "image_id", 12, "1.5"),
        "trials.csv, column image_id, row 12: found '1.5', allowed is a whole number, at least 0",
    ),
    "unit_id below 0": (
        set_cell("units.csv", "unit_id", 3, "-1"),
        "units.csv, column unit_id, row 3: found '-1', allowed is a whole number, at least 0",
        "stack_coordinates.csv, column unit_id, row 3: unit 104 is not in units.csv",
        "structure_matches.csv, column unit_id, row 3: unit 104 is not in units.csv",
    ),
    "size below 0": (
        set_cell("fields.csv", "um_height", 2, "-200"),
        "fields.csv, column um_height, row 2: found '-200', allowed is a number above 0",
    ),
    "size is NaN": (
        set_cell("fields.csv", "um_width", 3, "NaN"),
        "fields.csv, column um_width, row 3: found 'NaN', allowed is a number above 0",
    ),
    "no pixels": (
        set_cell("fields.csv", "px_height", 2, "0"),
        "fields.csv, column px_height, row 2: found '0', allowed is a whole number, at least 1",
    ),
    "excluded in words": (
        set_cell("trials.csv", "excluded", 3, "maybe"),
        "trials.csv, column excluded, row 3: found 'maybe', allowed is true or false (1 or 0)",
    ),
    "unknown mask type": (
        set_cell("units.csv", "mask_type", 2, "cell"),
        "units.csv, column mask_type, row 2: found 'cell', "
        "allowed is one of soma, axon, dendrite, neuropil, artifact, unknown",
    ),
    "unknown stimulus type": (
        set_cell("trials.csv", "stimulus_type", 2, "Frame"),
        "trials.csv, column stimulus_type, row 2: found 'Frame', allowed is one of stimulus.Frame, "
        "stimulus.MonetFrame, stimulus.TrippyFrame, stimulus.ColorFrameProjector, stimulus.Frame2",
    ),
    "text is NaN": (
        set_cell("trials.csv", "condition_hash", 15, "NaN"),
        "trials.csv, column condition_hash, row 15: found 'NaN', allowed is some text",
    ),
    "class of an image missing": (
        set_cell("images.csv", "image_class", 9, ""),
        "images.csv, column image_class, row 9: found '', allowed is some text",
        "trials.csv, columns image_class, image_id, row 19: image (imagenet, 8) is not in images.csv",
    ),
    # units, fields and areas
    "unit_id twice": (
        set_cell("units.csv", "unit_id", 4, "105"),
        "units.csv, column unit_id, row 4: 105 is there already (row 2), allowed is once",
        "stack_coordinates.csv, column unit_id, row 4: unit 103 is not in units.csv",
        "structure_matches.csv, column unit_id, row 4: unit 103 is not in units.csv",
    ),
    "field twice": (
        set_cell("fields.csv", "field", 3, "1"),
        "fields.csv, column field, row 3: 1 is there already (row 2), allowed is once",
        "units.csv, column field, rows 3, 5, 7: field 2 is not in fields.csv (1, 1)",
    ),
    "unknown field": (
        set_cell("units.csv", "field", 6, "9"),
        "units.csv, column field, row 6: field 9 is not in fields.csv (1, 2)",
    ),
    "no soma": (
        change_table("units.csv", lambda t: t.assign(mask_type="axon")),
        "units.csv, column mask_type: no unit is 'soma', at least one is needed; found axon",
    ),
    "pixel counted from 1": (
        set_cell("units.csv", "px_x", 2, "30"),
        "units.csv, column px_x, row 2: found 30, allowed is 0 to 29 "
        "(px_width of its field less 1: the first pixel is 0)",
    ),
    "pixel before the first": (
        set_cell("units.csv", "px_y", 7, "-1"),
        "units.csv, column px_y, row 7: found -1, allowed is 0 to 19 "
        "(px_height of its field less 1: the first pixel is 0)",
    ),
    "no areas": (
        remove("area_masks.npz"),
        "units.csv: column 'brain_area' is missing, and so is area_masks.npz; one of them is needed",
    ),
    "area mask transposed": (
        change_masks(field_2=np.zeros((30, 20), int)),
        "area_masks.npz, field_2: shape is (30, 20), needed is (20, 30) (px_height, px_width of fields.csv)",
    ),
    "label without a name": (
        change_masks(field_1=np.full((20, 30), 3)),
        "area_masks.npz, field_1: found labels from 3 to 3, allowed are 0 (no area) to 2 (area_names has 2)",
    ),
    "labels of floats": (
        change_masks(field_1=np.ones((20, 30))),
        "area_masks.npz, field_1: dtype is float64, allowed is a whole number such as uint8",
    ),
    "area mask missing": (change_masks(field_1=None), "area_masks.npz: label map 'field_1' is missing"),
    "area names missing": (
        change_masks(area_names=None),
        "area_masks.npz, area_names: is missing, needed is a list of texts, one for each label",
    ),
    "area names of bytes": (
        change_masks(area_names=np.array([b"V1", b"LM"])),
        "area_masks.npz, area_names: found |S2 of shape (2,), needed is a list of texts, one for each label",
    ),
    "area masks broken": (
        write("area_masks.npz", b"PK\x03\x04 broken"),
        "area_masks.npz: not a readable .npz archive (File is not a zip file)",
    ),
    # trials
    "trial_idx twice": (
        set_cell("trials.csv", "trial_idx", 8, "0"),
        "trials.csv, column trial_idx, row 8: 0 is there already (row 2), allowed is once",
    ),
    "image not there": (
        set_cell("trials.csv", "image_class", 4, "other"),
        "trials.csv, columns image_class, image_id, row 4: image (other, 16) is not in images.csv",
    ),
    "trials of another scan": (
        change_table("trials.csv", lambda t: t.assign(image_id=t.image_id + 5000)),
        "trials.csv, columns image_class, image_id, rows 2, 3, 4 and 33 more: "
        "image (imagenet, 5002) is not in images.csv",
    ),
    "hash of two images": (
        all_of(*(set_cell("trials.csv", "condition_hash", line, "same") for line in (20, 21))),
        "trials.csv, column condition_hash, rows 20, 21: 'same' stands for several images, allowed is one",
    ),
    "all excluded": (
        change_table("trials.csv", lambda t: t.assign(excluded=1)),
        "trials.csv, column excluded: every trial is excluded, at least one must be false",
    ),
    # images
    "image twice": (
        set_cell("images.csv", "image_id", 3, "1"),
        "images.csv, columns image_class, image_id, row 3: (imagenet, 1) is there already (row 2), allowed is once",
        "trials.csv, columns image_class, image_id, rows 2, 3, 25 and 1 more: image (imagenet, 2) is not in images.csv",
    ),
    "images too few": (
        change_array("images.npy", lambda a: a[1:]),
        "images.npy: shape is (26, 36, 64), needed is (27, y, x), one image for each row of images.csv",
    ),
    "images last": (
        change_array("images.npy", lambda a: np.moveaxis(a, 0, 2)),
        "images.npy: shape is (36, 64, 27), needed is (27, y, x), one image for each row of images.csv",
    ),
    "one image alone": (
        change_array("images.npy", lambda a: a[0]),
        "images.npy: shape is (36, 64), needed is (image, y, x) or (image, y, x, channel) without zeros",
    ),
    "images with one channel": (
        change_array("images.npy", lambda a: a[..., None]),
        "images.npy: shape is (27, 36, 64, 1), needed is (image, y, x, channel) with 2 or 3 channels "
        "(gray images have no channel dimension)",
    ),
    "channels first": (
        change_array("images.npy", lambda a: np.stack([a] * 3, 1)),
        "images.npy: shape is (27, 3, 36, 64), needed is (image, y, x, channel) with 2 or 3 channels "
        "(gray images have no channel dimension)",
    ),
    "images of floats": (
        change_array("images.npy", lambda a: a / 255),
        "images.npy: dtype is float64, allowed is uint8",
    ),
    "images from 0 to 1": (
        change_array("images.npy", lambda a: (a > 127).astype(np.uint8)),
        "images.npy: found no pixel above 1, needed are gray levels from 0 to 255 (were they scaled to 0 to 1?)",
    ),
    "images black": (
        change_array("images.npy", lambda a: 0 * a),
        "images.npy: found no pixel above 0, needed are gray levels from 0 to 255 (were they scaled to 0 to 1?)",
    ),
    "images pickled": (
        pickled_array,
        "images.npy: not a readable .npy array of numbers, … bytes (… Python objects in dtype.)",
    ),
    "aperture without its columns": (
        change_table("images.csv", lambda t: t.assign(aperture_r=0.3)),
        "images.csv: has the columns aperture_r of an aperture; "
        "all of aperture_r, aperture_transition, aperture_x, aperture_y, background_px are needed",
    ),
    "aperture of an image incomplete": (
        change_table(
            "images.csv",
            lambda t: t.assign(
                aperture_r=0.3,
                aperture_transition=0.1,
                aperture_x=0,
                aperture_y=t.image_id.where(t.image_id != 4),
                background_px=128,
            ),
        ),
        "images.csv, columns aperture_r, aperture_transition, aperture_x, aperture_y, background_px, row 5: "
        "an aperture has all of them, an image without one has none",
    ),
    # stacks and calibrations
    "stack of an unknown unit": (
        set_cell("stack_coordinates.csv", "unit_id", 2, "7"),
        "stack_coordinates.csv, column unit_id, row 2: unit 7 is not in units.csv",
    ),
    "unit twice in a stack": (
        set_cell("stack_coordinates.csv", "unit_id", 4, "100"),
        "stack_coordinates.csv, columns stack, unit_id, row 7: (a, 100) is there already (row 4), allowed is once",
    ),
    "stack position in words": (
        set_cell("stack_coordinates.csv", "x_um", 5, "left"),
        "stack_coordinates.csv, column x_um, row 5: found 'left', allowed is a number or nothing",
    ),
    "stack without a name": (
        set_cell("stack_coordinates.csv", "stack", 6, ""),
        "stack_coordinates.csv, column stack, row 6: found '', allowed is some text",
    ),
    "structural cell of an unknown unit": (
        set_cell("structure_matches.csv", "unit_id", 2, "8"),
        "structure_matches.csv, column unit_id, row 2: unit 8 is not in units.csv",
    ),
    "two structural cells of a unit": (
        set_cell("structure_matches.csv", "unit_id", 4, "101"),
        "structure_matches.csv, columns stack, unit_id, row 6: (a, 101) is there already (row 4), allowed is once",
    ),
    "structural cell missing": (
        set_cell("structure_matches.csv", "sunit_id", 3, ""),
        "structure_matches.csv, column sunit_id, row 3: found '', allowed is a whole number, at least 0",
    ),
    "overlap in percent": (
        set_cell("structure_matches.csv", "iou", 5, "75"),
        "structure_matches.csv, column iou, row 5: found '75', allowed is a number from 0 to 1",
    ),
    "distance below 0": (
        set_cell("structure_matches.csv", "distance_um", 7, "-1"),
        "structure_matches.csv, column distance_um, row 7: found '-1', allowed is a number, at least 0",
    ),
    "structural stack without a name": (
        set_cell("structure_matches.csv", "stack", 3, ""),
        "structure_matches.csv, column stack, row 3: found '', allowed is some text",
    ),
    "pixel value of 300": (
        set_cell("monitor_calibration.csv", "pixel_value", 10, "300"),
        "monitor_calibration.csv, column pixel_value, row 10: found '300', allowed is a number from 0 to 255",
    ),
    "pixel value twice": (
        set_cell("monitor_calibration.csv", "pixel_value", 7, "0"),
        "monitor_calibration.csv, columns timestamp, pixel_value, row 7: "
        "(2019-03-10, 0.0) is there already (row 2), allowed is once",
    ),
    "luminance below 0": (
        set_cell("monitor_calibration.csv", "luminance_cd_m2", 8, "-0.1"),
        "monitor_calibration.csv, column luminance_cd_m2, row 8: found '-0.1', allowed is a number, at least 0",
    ),
    "calibrated yesterday": (
        set_cell("monitor_calibration.csv", "timestamp", 3, "yesterday"),
        "monitor_calibration.csv, column timestamp, row 3: "
        "found 'yesterday', allowed is ISO 8601 such as 2019-03-11T14:00:00",
    ),
    "one time zone": (
        set_cell("monitor_calibration.csv", "timestamp", 4, "2019-03-10T00:00:00+01:00"),
        "monitor_calibration.csv, column timestamp: found times with and without a time zone, "
        "allowed is a time zone in all rows and in scan.yaml, or in none",
    ),
}
# Files as a whole; planted last, as pandas would not write what it has read.
FILES = {
    "column missing": (
        change_table("units.csv", lambda t: t.drop(columns="um_y")),
        "units.csv: column 'um_y' is missing; found 'unit_id', 'field', 'mask_type', 'ms_delay', 'px_x', 'px_y', "
        "'um_x', 'um_z'",
    ),
    "column twice": (
        change_line("trials.csv", 1, lambda line: line.replace("exclusion_comment", "image_class")),
        "trials.csv, row 1: column 'image_class' is there 2 times, allowed is once",
        "trials.csv: column 'exclusion_comment' is missing; found …",
    ),
    "table empty": (write("units.csv", b""), "units.csv: is empty, row 1 must name the columns"),
    "table without rows": (
        change_table("stack_coordinates.csv", lambda t: t.iloc[:0]),
        "stack_coordinates.csv: has no rows, at least one is needed",
    ),
    "table is binary": (
        write("fields.csv", b"\x89\x00\x81"),
        "fields.csv, row 1: found byte 0x89, allowed is text in UTF-8",
    ),
    "table in UTF-16": (
        lambda folder: (folder / "fields.csv").write_bytes((folder / "fields.csv").read_text().encode("utf-16-le")),
        "fields.csv, row 1: found byte 0x00, allowed is text in UTF-8",
    ),
    "text in Latin-1": (
        lambda folder: (folder / "trials.csv").write_bytes(
            (folder / "trials.csv").read_bytes().replace(b"photodiode", b"gel\xf6scht")
        ),
        "trials.csv, row 7: found byte 0xf6, allowed is text in UTF-8",
    ),
    "semicolons for commas": (
        change_text("units.csv", lambda text: text.replace(",", ";")),
        "units.csv, row 1: names none of the columns unit_id, field, mask_type, ms_delay, px_x, px_y, um_x, um_y, "
        "um_z; found 'unit_id;field;mask_type;ms_delay;px_x;px_y;um_x;um_y;um_z' (columns are separated by commas)",
    ),
    "header missing": (
        change_text("images.csv", lambda text: text.partition("\n")[2]),
        "images.csv, row 1: names none of the columns image_class, image_id; found 'imagenet', '1'",
    ),
    "header in capitals": (
        change_line("images.csv", 1, str.upper),
        "images.csv, row 1: names none of the columns image_class, image_id; found 'IMAGE_CLASS', 'IMAGE_ID'",
    ),
    "row too long": (
        change_line("stack_coordinates.csv", 3, lambda line: line + ",7"),
        "stack_coordinates.csv, row 3: found 6 fields, allowed are 5 as in row 1",
    ),
    "row cut off": (
        change_line("images.csv", 28, lambda line: line.partition(",")[0]),
        "images.csv, row 28: found 1 fields, allowed are 2 as in row 1",
        "trials.csv, columns image_class, image_id, row …: image (imagenet, 27) is not in images.csv",
    ),
    "quote not closed": (
        change_line("trials.csv", 9, lambda line: line.replace("hash-", '"hash-')),
        "trials.csv, row 9: quotes do not match (unexpected end of data)",
    ),
    "array too long": (
        append("images.npy", b"\0" * 7),
        "images.npy: has 7 bytes more than its shape (…) needs",
    ),
}
TRACES = {
    "eye infinite": (
        set_cell("eye.csv", "radius_px", 9, "inf"),
        "eye.csv, column radius_px, row 9: found 'inf', allowed is a number, at least 0 or nothing",
    ),
    "eye in words": (
        set_cell("eye.csv", "center_x_px", 30, "lost"),
        "eye.csv, column center_x_px, row 30: found 'lost', allowed is a number or nothing",
    ),
    "eye time falls": (
        set_cell("eye.csv", "time_s", 20, "1000"),
        "eye.csv, column time_s, row 20: time is decreasing, found 1000 s after 1001.35 s",
    ),
    "eye on the wrong clock": (
        change_table("eye.csv", lambda t: t.assign(time_s=t.time_s - 1000.5)),
        "eye.csv, column time_s: found 0 to 38.35 s, outside the recording, "
        "1000.5 to 1038.88 s of frame_times_behavior.npy",
    ),
    "eye time in ms": (
        change_table("eye.csv", lambda t: t.assign(time_s=1000 * (t.time_s - 1000.5) + 1000.5)),
        "eye.csv, column time_s: found 50 from row to row (median), allowed is 0.0001 to 1 s; are the times in s?",
    ),
    "treadmill time in days": (
        change_table("treadmill.csv", lambda t: t.assign(time_s=t.time_s / 86400 + 737000)),
        "treadmill.csv, column time_s: found … from row to row (median), allowed is 0.0001 to 1 s; are the times in s?",
        "treadmill.csv, column time_s: found 737000 to 737000 s, outside the recording, "
        "1000.5 to 1038.88 s of frame_times_behavior.npy",
    ),
    "treadmill without times": (
        change_table("treadmill.csv", lambda t: t.assign(time_s=np.nan)),
        "treadmill.csv, column time_s: has 0 times, at least 2 are needed",
    ),
    "every other time missing": (
        change_table("treadmill.csv", lambda t: t.assign(time_s=t.time_s.where(t.index % 2 == 0))),
        "treadmill.csv, column time_s: no two rows that follow each other have a time, some are needed",
    ),
    "delay in us": (
        set_cell("units.csv", "ms_delay", 2, "62500"),
        "units.csv, column ms_delay, row 2: found 62500, allowed is 0 to 125.0 ms (one volume)",
    ),
    "delays in s": (
        change_table("units.csv", lambda t: t.assign(ms_delay=t.ms_delay / 1000)),
        "units.csv, column ms_delay: found at most 0.1141, allowed is 0 to 125.0 ms (one volume); "
        "are the delays in ms?",
    ),
    "flips turned": (
        set_cell("trials.csv", "flip_onset_s", 5, "5.7"),
        "trials.csv, columns flip_blank_s, flip_onset_s, row 5: flips out of order, found 5.7 s and 5.7 s",
    ),
    "end before onset": (
        set_cell("trials.csv", "flip_end_s", 3, "4.2"),
        "trials.csv, columns flip_onset_s, flip_end_s, row 3: flips out of order, found 4.3 s and 4.2 s",
    ),
    "flip in words": (
        set_cell("trials.csv", "flip_blank_s", 22, "dropped"),
        "trials.csv, column flip_blank_s, row 22: found 'dropped', allowed is a number or nothing",
    ),
    "trials overlap": (
        set_cell("trials.csv", "flip_blank_s", 25, "22"),
        "trials.csv, columns flip_blank_s, flip_onset_s, row 25: trials overlap, "
        "found a blank from 22 s on; the image of row 24 comes on at 23.2 s",
    ),
    "flips of another row": (
        swap_flips(30, 31),
        "trials.csv, columns trial_idx, flip_onset_s, row 31: trial 29 comes on at 28.6 s, before an earlier one; "
        "trial_idx must count the trials in time (are the flips those of other rows?)",
    ),
    "no flips": (
        change_table("trials.csv", lambda t: t.assign(flip_blank_s="", flip_onset_s="")),
        "trials.csv, columns flip_blank_s, flip_onset_s: no trial has both flips",
    ),
    "flips on the wrong clock": (
        change_table("trials.csv", lambda t: t.assign(**{name: t[name] + 1000 for name in FLIPS})),
        "trials.csv, column flip_onset_s: no onset lies within the recording, 0 to 38.375 s of frame_times_stim.npy",
    ),
    "flips in ms": (
        change_table("trials.csv", lambda t: t.assign(**{name: 1000 * t[name] for name in FLIPS})),
        "trials.csv, columns flip_onset_s, flip_end_s: images were shown for 500 (median), "
        "allowed is up to 30 s; are the times in s?",
        "trials.csv, column flip_onset_s: no onset lies within the recording, 0 to 38.375 s of frame_times_stim.npy",
    ),
    "one clock lost a slice": (
        change_array("frame_times_stim.npy", lambda a: np.delete(a, 201)),
        "frame_times_stim.npy, frame_times_behavior.npy, entry 201 (from 0): from here on the clocks are 0.0625 s "
        "further apart, allowed is 0.03125 s; both have the same slices (is one missing?)",
    ),
    "frame time stands still": (
        change_array("frame_times_stim.npy", set_entry(10, 0.0)),
        "frame_times_stim.npy, entry 10 (from 0): time is not increasing, found 0.000000 s after 0.562500 s",
    ),
    "frame time is NaN": (
        change_array("frame_times_stim.npy", set_entry(4, np.nan)),
        "frame_times_stim.npy, entry 4 (from 0): found nan or infinite in 1 entries, allowed is a finite time",
    ),
    "frame times in ms": (
        change_array("frame_times_stim.npy", lambda a: 1000 * a),
        "frame_times_stim.npy: found 125 from volume to volume (median), allowed is 0.002 to 5 s; are the times in s?",
    ),
    "clocks run apart": (
        change_array("frame_times_behavior.npy", lambda a: 1000 + 1.2 * (a - 1000)),
        "frame_times_behavior.npy: found 0.075 s from slice to slice (median), needed are the 0.0625 s of "
        "frame_times_stim.npy; both clocks have the same slices",
    ),
    "frame times of whole numbers": (
        change_array("frame_times_stim.npy", lambda a: (1e6 * a).astype(np.int64)),
        "frame_times_stim.npy: dtype is int64, allowed is float32 or float64",
        "frame_times_stim.npy: found 125000 from volume to volume (median), "
        "allowed is 0.002 to 5 s; are the times in s?",
    ),
    "frame times twice": (
        change_array("frame_times_stim.npy", lambda a: np.stack([a, a])),
        "frame_times_stim.npy: shape is (2, 615), needed is (slice,) without zeros",
    ),
    "clocks of different length": (
        change_array("frame_times_behavior.npy", lambda a: a[:-4]),
        "volumes: found 308 in frame_times_stim.npy, 306 in frame_times_behavior.npy, 308 in traces.npy "
        "(frame times are one for each of 2 depths of fields.csv); at most 1 may be missing",
    ),
    "one volume": (
        all_of(
            change_array("traces.npy", lambda a: a[:, :1]),
            *(change_array(f"frame_times_{clock}.npy", lambda a: a[100:102]) for clock in ("stim", "behavior")),
            change_table(
                "trials.csv", lambda t: t.assign(**{name: t[name] - t.flip_onset_s[0] + 6.3 for name in FLIPS})
            ),
        ),
        "volumes: found 1, at least 2 are needed",
        "traces.npy: every unit is constant or NaN, at least one that varies is needed",
    ),
    "a trace too few": (
        change_array("traces.npy", lambda a: a[:-1]),
        "traces.npy: shape is (5, …), needed is (6, volume), one unit for each row of units.csv",
    ),
    "traces too short": (
        change_array("traces.npy", lambda a: a[:, :-2]),
        "volumes: found 308 in frame_times_stim.npy, 308 in frame_times_behavior.npy, 306 in traces.npy "
        "(frame times are one for each of 2 depths of fields.csv); at most 1 may be missing",
    ),
    "traces transposed": (
        change_array("traces.npy", lambda a: a.T),
        "traces.npy: shape is (308, 6), needed is (6, volume), one unit for each row of units.csv (is it transposed?)",
        "volumes: found 308 in frame_times_stim.npy, 308 in frame_times_behavior.npy, 6 in traces.npy "
        "(frame times are one for each of 2 depths of fields.csv); at most 1 may be missing",
    ),
    "traces infinite": (
        change_array("traces.npy", set_entry((2, 7), np.inf)),
        "traces.npy, entry (2, 7) (from 0): found inf, allowed is a number up to 1e+30 or NaN",
    ),
    "traces of zeros": (
        change_array("traces.npy", lambda a: 0 * a),
        "traces.npy: every unit is constant or NaN, at least one that varies is needed",
    ),
    "traces of whole numbers": (
        change_array("traces.npy", lambda a: (100 * a).astype(np.int16)),
        "traces.npy: dtype is int16, allowed is float32 or float64",
    ),
    "traces cut off": (
        lambda folder: (folder / "traces.npy").write_bytes((folder / "traces.npy").read_bytes()[:-100]),
        "traces.npy: not a readable .npy array of numbers, 7420 bytes (mmap length is greater than file size)",
    ),
    "array empty": (
        write("frame_times_behavior.npy", b""),
        "frame_times_behavior.npy: not a readable .npy array of numbers, 0 bytes (EOF: …)",
    ),
    "archive of arrays": (
        all_of(
            lambda folder: np.savez(folder / "times.npz", times=np.ones(3)),
            lambda folder: (folder / "times.npz").rename(folder / "frame_times_stim.npy"),
        ),
        "frame_times_stim.npy: not a readable .npy array of numbers, … bytes (the magic string is not correct; …)",
    ),
    "no eye": (remove("eye.csv"), "eye.csv: file is missing"),
    "name in other letters": (
        lambda folder: (folder / "treadmill.csv").rename(folder / "Treadmill.CSV"),
        "treadmill.csv: file is missing; found Treadmill.CSV, allowed is treadmill.csv",
    ),
    "folder for a file": (
        all_of(remove("treadmill.csv"), lambda folder: (folder / "treadmill.csv").mkdir()),
        "treadmill.csv: is a folder, a file is needed",
    ),
    "two forms": (
        write("behavior.csv", b"x"),
        "mix of two forms: found traces.npy, frame_times_stim.npy, frame_times_behavior.npy, eye.csv… of the traces "
        "form and behavior.csv of the responses form, allowed are files of one form",
    ),
    "eye row too long": (
        change_line("eye.csv", 40, lambda line: line + ",7"),
        "eye.csv, row 40: found 5 fields, allowed are 4 as in row 1",
    ),
}
RESPONSES = {
    "units too few": (
        change_array("responses.npy", lambda a: a[:, 1:]),
        "responses.npy: shape is (…, 5), needed is (trial, 6), one unit for each row of units.csv",
    ),
    "trials too few": (
        change_array("responses.npy", lambda a: a[1:]),
        "responses.npy: shape is (35, …), needed is (36, unit), one trial for each row of trials.csv",
    ),
    "responses transposed": (
        change_array("responses.npy", lambda a: a.T),
        "responses.npy: shape is (6, 36), needed is (trial, 6), one unit for each row of units.csv (is it transposed?)",
        "responses.npy: shape is (6, 36), needed is (36, unit), one trial for each row of trials.csv "
        "(is it transposed?)",
    ),
    "NaN of one unit": (
        change_array("responses.npy", set_entry((3, 2), np.nan)),
        "responses.npy, entry (3, 2) (from 0): found NaN in 1 entries of somata; "
        "allowed is a trial that is NaN for every soma (it is dropped)",
    ),
    "responses infinite": (
        change_array("responses.npy", set_entry((5, 1), -np.inf)),
        "responses.npy, entry (5, 1) (from 0): found -inf, allowed is a number up to 1e+30 or NaN",
    ),
    "responses of zeros": (
        change_array("responses.npy", lambda a: 0 * a),
        "responses.npy: every unit is constant or NaN, at least one that varies is needed",
    ),
    "pupil radius below 0": (
        set_cell("behavior.csv", "pupil_radius", 4, "-1.5"),
        "behavior.csv, column pupil_radius, row 4: found '-1.5', allowed is a number, at least 0 or nothing",
    ),
    "behavior too short": (
        change_table("behavior.csv", lambda t: t.iloc[:-2]),
        "behavior.csv: has 34 rows, needed are 36, one for each row of trials.csv",
    ),
    "behavior column missing": (
        change_table("behavior.csv", lambda t: t.drop(columns="dpupil")),
        "behavior.csv: column 'dpupil' is missing; found 'pupil_radius', 'treadmill', 'pupil_x', 'pupil_y'",
    ),
    "eye in the responses form": (
        write("eye.csv", b"x"),
        "mix of two forms: found eye.csv of the traces form and responses.npy, behavior.csv of the responses form, "
        "allowed are files of one form",
    ),
    "no behavior": (remove("behavior.csv"), "behavior.csv: file is missing"),
    "nothing recorded": (
        all_of(remove("responses.npy"), remove("behavior.csv")),
        "neither the traces form (traces.npy, frame_times_stim.npy, frame_times_behavior.npy, eye.csv, treadmill.csv) "
        "nor the responses form (responses.npy, behavior.csv) is there",
    ),
}
REGISTERED = {
    "field registered twice": (
        change_table("field_registrations.csv", lambda t: t.iloc[[0, 1, 0]]),
        "field_registrations.csv, columns stack, field, row 4: (a, 1) is there already (row 2), allowed is once",
    ),
    "unknown field registered": (
        set_cell("field_registrations.csv", "field", 3, "9"),
        "field_registrations.csv, column field, row 3: field 9 is not in fields.csv (1, 2)",
    ),
    "registration infinite": (
        set_cell("field_registrations.csv", "a21", 2, "inf"),
        "field_registrations.csv, column a21, row 2: found 'inf', allowed is a number",
    ),
    "registration with a gap": (
        set_cell("field_registrations.csv", "reg_z_um", 3, ""),
        "field_registrations.csv, column reg_z_um, row 3: found '', allowed is a number",
    ),
    "registration in words": (
        set_cell("field_registrations.csv", "a32", 3, "none"),
        "field_registrations.csv, column a32, row 3: found 'none', allowed is a number",
    ),
    "registered to no stack": (
        set_cell("field_registrations.csv", "stack", 3, ""),
        "field_registrations.csv, column stack, row 3: found '', allowed is some text",
    ),
    "positions of two origins": (
        write("stack_coordinates.csv", b"stack,unit_id,x_um,y_um,z_um\na,100,1,2,3\n"),
        "field_registrations.csv: is there, and so is stack_coordinates.csv; give one of them",
    ),
    "column of a registration missing": (
        change_table("field_registrations.csv", lambda t: t.drop(columns="a12")),
        "field_registrations.csv: column 'a12' is missing; found 'stack', 'field', 'a11', 'a21', 'a31', 'a22', 'a32', "
        "'reg_x_um', 'reg_y_um', 'reg_z_um'",
    ),
    "registrations without rows": (
        change_table("field_registrations.csv", lambda t: t.iloc[:0]),
        "field_registrations.csv: has no rows, at least one is needed",
    ),
    "registrations without sizes of fields": (remove("fields.csv"), "fields.csv: file is missing"),
}
DEFECTS = {"traces": COMMON | TRACES | FILES, "responses": COMMON | RESPONSES | FILES, "registered": REGISTERED}
EACH = [
    *(("traces", name) for name in DEFECTS["traces"]),
    *(("responses", name) for name in RESPONSES),
    *(("registered", name) for name in REGISTERED),
]


@pytest.mark.parametrize(("form", "name"), EACH)
def test_defect_is_named(exports, tmp_path, form, name):
    folder = shutil.copytree(exports[form], tmp_path / "scan")
    spoil, *messages = DEFECTS[form][name]
    spoil(folder)
    lines = problems_of(folder)
    assert [message for message in messages if not is_said(message, lines)] == [], lines
    assert len(lines) == len(messages), lines


# What cannot be planted beside the others.
ALONE = {
    # another defect is in the same file, which would not be read
    *("no scan.yaml", "yaml broken", "yaml that runs code", "yaml without keys", "table empty", "table is binary"),
    *("table in UTF-16", "text in Latin-1", "semicolons for commas", "header missing", "header in capitals"),
    *("table without rows", "quote not closed", "no areas", "area names missing", "area names of bytes"),
    *("area masks broken", "one image alone", "images pickled", "no eye", "treadmill time in days"),
    *("registrations without rows", "registrations without sizes of fields"),
    *("treadmill without times", "every other time missing", "folder for a file", "frame times twice"),
    *("traces cut off", "array empty", "archive of arrays", "no behavior", "nothing recorded"),
    # another defect is in the same place, or this one changes every row or entry
    *("unit_id below 0", "field twice", "no pixels", "no soma", "labels of floats", "area mask missing", "image twice"),
    *("class of an image missing", "row cut off", "trials of another scan", "all excluded", "images last"),
    *("images with one channel", "channels first", "images of floats", "images black", "images from 0 to 1"),
    *("aperture of an image incomplete", "eye on the wrong clock", "eye time in ms", "delays in s", "no flips"),
    *("flips on the wrong clock", "flips in ms", "one clock lost a slice", "frame times in ms", "clocks run apart"),
    *("frame times of whole numbers", "clocks of different length", "one volume", "traces transposed"),
    *("traces of zeros", "traces of whole numbers", "responses transposed", "responses of zeros"),
}
PLANTED = {form: [name for name in defects if name not in ALONE] for form, defects in DEFECTS.items()}


@pytest.mark.parametrize("form", PLANTED)
def test_every_planted_defect_is_named_in_one_run(exports, tmp_path, capsys, form):
    folder = shutil.copytree(exports[form], tmp_path / "scan")
    for name in PLANTED[form]:
        DEFECTS[form][name][0](folder)
    lines = problems_of(folder)
    hidden = [name for name in PLANTED[form] if not is_said(DEFECTS[form][name][1], lines)]
    assert hidden == [], "\n".join(lines)
    assert main(["check", str(folder)]) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [f"  - {line}" for line in lines]


def test_the_table_is_long():
    """At least 40 defects in all and 40 at once, as asked for."""
    assert set().union(*DEFECTS.values()) >= ALONE
    assert len({name for _, name in EACH}) >= 130
    assert {form: len(names) for form, names in PLANTED.items()} == {"traces": 63, "responses": 54, "registered": 8}
