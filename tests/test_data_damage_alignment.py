"""Trials, units and responses stay together: every number of these exports tells whose it is.

What is changed in all files that belong together changes nothing in the data set. What is changed in one of them alone
is refused, or leaves every trial that is kept with its own values.

No reader can see, as nothing in the files tells it: rows of responses.npy or behavior.csv in another order than those
of trials.csv, rows of traces.npy or columns of responses.npy in another order than units.csv, images in another order
than images.csv; ids exchanged within a table; a clock that is shifted as a whole, while trials, eye and treadmill still
lie within the recording, which is also what a slice lost at the start of one clock is; a slice that both clocks lost in
mid-recording, which moves all later ones to another depth, and a volume that only the traces lost.
"""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from exports import BLANK_S, CLOCK_OFFSET_S, SHOWN_S, make_export
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_data_damage import SIZE, examples
from test_data_importers import make_tree

from neurostatic.data import build_dataset, read_scan, read_sensorium
from neurostatic.problems import InputError

EXCLUDED, AXON = 5, 100
BEHAVIOR = ["pupil_radius", "dpupil", "treadmill", "pupil_x", "pupil_y"]
TRIAL, UNIT, IMAGE = "trials.csv", "units.csv", "images.csv"
TOGETHER = {  # files with one entry for each row of a table, and the axis of the entries
    "traces": {TRIAL: {}, UNIT: {"traces.npy": 0}, IMAGE: {"images.npy": 0}},
    "responses": {TRIAL: {"responses.npy": 0, "behavior.csv": 0}, UNIT: {"responses.npy": 1}, IMAGE: {"images.npy": 0}},
}
FORMS = pytest.mark.parametrize("form", TOGETHER)


def picture(image_id):
    return np.random.default_rng(image_id).integers(0, 256, (9, 16), dtype=np.uint8)


def sample_s(trial_idx):
    """When the response to a trial is sampled, on the stimulus clock."""
    return 3.0 + trial_idx * (BLANK_S + SHOWN_S) + BLANK_S + 0.3


def response(form, trial_idx, unit_id, image_id):
    if form == "responses":
        return 1000.0 * trial_idx + unit_id + image_id / 64
    return 100.0 * unit_id + sample_s(trial_idx)


def behavior(form, trial_idx):
    """(trial, 5) of BEHAVIOR."""
    if form == "responses":
        return np.stack([10.0 + trial_idx + k / 8 for k in range(5)], 1)
    time_s = sample_s(trial_idx)
    return np.stack([20 + time_s, np.ones(len(time_s)), 1 + time_s, 100 + time_s, 200 - time_s], 1)


def make_coded(folder, form):
    """An export of which every number tells whose it is; traces, eye and treadmill are lines in their own time."""
    make_export(folder, form, n_single=8, n_repeated=2, repeats=3, n_units=5, height_px=9, width_px=16)
    units, trials, images = (pd.read_csv(folder / name) for name in (UNIT, TRIAL, IMAGE))
    np.save(folder / "images.npy", np.stack([picture(image_id) for image_id in images.image_id]))
    if form == "responses":
        trial_idx, image_id = trials.trial_idx.to_numpy(), trials.image_id.to_numpy()
        coded = response(form, trial_idx[:, None], units.unit_id.to_numpy(), image_id[:, None])
        np.save(folder / "responses.npy", coded.astype(np.float32))
        pd.DataFrame(behavior(form, trial_idx), columns=BEHAVIOR).to_csv(folder / "behavior.csv", index=False)
        return folder
    times_s = np.load(folder / "frame_times_stim.npy")[::2] + units.ms_delay.to_numpy()[:, None] / 1000
    np.save(folder / "traces.npy", (100 * units.unit_id.to_numpy()[:, None] + times_s).astype(np.float32))
    eye, treadmill = pd.read_csv(folder / "eye.csv"), pd.read_csv(folder / "treadmill.csv")
    eye_s, treadmill_s = eye.time_s - CLOCK_OFFSET_S, treadmill.time_s - CLOCK_OFFSET_S
    eye = eye.assign(radius_px=20 + eye_s, center_x_px=100 + eye_s, center_y_px=200 - eye_s)
    eye.to_csv(folder / "eye.csv", index=False)
    treadmill.assign(velocity_cm_s=1 + treadmill_s).to_csv(folder / "treadmill.csv", index=False)
    return folder


def build(folder):
    return build_dataset(read_scan(folder), SIZE).load()


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    base = tmp_path_factory.mktemp("coded")
    return {form: make_coded(base / form, form) for form in TOGETHER}


@pytest.fixture
def spoil(coded, tmp_path):
    """Gives a fresh copy of a coded export, in the same folder each time."""

    def fresh(form):
        shutil.rmtree(tmp_path / form, ignore_errors=True)
        return shutil.copytree(coded[form], tmp_path / form)

    return fresh


def assert_right(dataset, form, folder, tolerance=1e-2):
    """Every trial and unit that was kept has its own values, image and tier, as in the export of `folder`.

    Returns:
        trial_idx of the trials that were kept.
    """
    trials = pd.read_csv(folder / TRIAL).set_index("trial_idx")
    trial_idx, unit_id = dataset.trial_idx.values, dataset.unit_id.values
    assert len(trial_idx) and (np.diff(trial_idx) > 0).all() and (np.diff(unit_id) > 0).all()
    assert EXCLUDED not in trial_idx and AXON not in unit_id
    shown = trials.loc[trial_idx]
    assert dataset.image_id.values.tolist() == shown.image_id.tolist()
    assert dataset.condition_hash.values.tolist() == shown.condition_hash.tolist()
    pictures = dataset.images.values[dataset.image_index.values]
    assert np.array_equal(pictures, np.stack([picture(image_id) for image_id in shown.image_id]))
    expected = response(form, trial_idx[:, None], unit_id, shown.image_id.to_numpy()[:, None])
    assert np.abs(dataset.responses.values - expected).max() < 1e-2
    found = np.hstack([dataset.behavior.values, dataset.pupil_center.values])
    assert np.abs(found - behavior(form, trial_idx)).max() < tolerance
    repeated = shown.groupby("image_id").image_id.transform("size") > 1
    assert ((dataset.tier.values == "test") == repeated.to_numpy()).all()
    return trial_idx


def kept_right(folder, form, tolerance=1e-2):
    """The trials that were kept, each as it should be; none if no image is repeated any more."""
    try:
        return set(assert_right(build(folder), form, folder, tolerance))
    except InputError as error:
        assert re.search("images has 2 or more valid trials", str(error))
        return set()


def take(path, rows, axis=0):
    """Keep rows of a table, or entries of an array along an axis, in the order given."""
    if path.suffix == ".npy":
        np.save(path, np.take(np.load(path), rows, axis))
        return
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(lines[row] for row in rows)]) + "\n")


def take_together(folder, form, table, rows):
    """The same rows of a table and of all that goes with it."""
    take(folder / table, rows)
    for name, axis in TOGETHER[form][table].items():
        take(folder / name, rows, axis)


def length(path, axis=0):
    return np.load(path).shape[axis] if path.suffix == ".npy" else len(pd.read_csv(path))


def several(number):
    """Examples that share a folder, which each of them writes anew."""
    return settings(examples(number), suppress_health_check=[HealthCheck.function_scoped_fixture])


@FORMS
def test_every_number_is_its_own(coded, form):
    assert assert_right(build(coded[form]), form, coded[form]).tolist() == [i for i in range(14) if i != EXCLUDED]


@FORMS
@several(25)
@given(st.data())
def test_order_does_not_matter(coded, spoil, form, data):
    """Trials, units and images in another order, each in all files: the same data set."""
    folder = spoil(form)
    for table in data.draw(st.sets(st.sampled_from([TRIAL, UNIT, IMAGE]), min_size=1)):
        take_together(folder, form, table, data.draw(st.permutations(range(length(folder / table)))))
    take(folder / "fields.csv", data.draw(st.permutations(range(2))))
    assert build(folder).identical(build(coded[form]))


def spoil_trials(draw, folder, form, trial_idx):
    """Exclude trials, or lose their flips, responses or eye, or the last volume (of no trial); which, of all."""
    way = draw(st.sampled_from(["excluded", "flip", "eye", *(["volume"] if form == "traces" else [])]))
    bad = [] if way == "volume" else sorted(draw(st.sets(st.integers(0, len(trial_idx) - 1), max_size=4)))
    if way == "volume":
        name = draw(st.sampled_from(["traces.npy", "frame_times_stim.npy", "frame_times_behavior.npy"]))
        take(folder / name, range(length(folder / name, -1) - 1), -1)
    elif way == "excluded" or (form, way) == ("traces", "flip"):
        trials = pd.read_csv(folder / TRIAL)
        flip = draw(st.sampled_from(["flip_blank_s", "flip_onset_s", "flip_end_s"]))
        trials.loc[bad, "excluded" if way == "excluded" else flip] = True if way == "excluded" else np.nan
        trials.to_csv(folder / TRIAL, index=False)
    elif way == "flip":
        responses = np.load(folder / "responses.npy")
        responses[bad] = np.nan
        np.save(folder / "responses.npy", responses)
    elif form == "responses":
        table = pd.read_csv(folder / "behavior.csv")
        table.loc[bad, draw(st.sampled_from(BEHAVIOR))] = np.nan
        table.to_csv(folder / "behavior.csv", index=False)
    else:
        eye = pd.read_csv(folder / "eye.csv")
        for trial in bad:  # so few samples that the neighboring trials keep theirs
            near = (eye.time_s - CLOCK_OFFSET_S - sample_s(trial_idx[trial])).abs() < 0.1
            eye.loc[near, draw(st.sampled_from(["radius_px", "center_x_px", "time_s"]))] = np.nan
        eye.to_csv(folder / "eye.csv", index=False)
    return {trial_idx[trial] for trial in bad}


@FORMS
@several(25)
@given(st.data())
def test_what_is_left_is_right(spoil, form, data):
    """Trials and units left out of all files, and trials in which something is missing."""
    folder = spoil(form)
    for name in ("stack_coordinates.csv", "structure_matches.csv"):  # of units that are then left out
        (folder / name).unlink()
    take_together(folder, form, UNIT, sorted(data.draw(st.sets(st.integers(0, 4), min_size=2)) | {1}))
    left = sorted(data.draw(st.sets(st.integers(0, 13), min_size=8)))
    take_together(folder, form, TRIAL, left)
    expected = set(left) - spoil_trials(data.draw, folder, form, left) - {EXCLUDED}
    assert kept_right(folder, form) in (expected, set())


ALONE = [
    (form, name, axis)
    for form, tables in TOGETHER.items()
    for table, files in tables.items()
    for name, axis in {table: 0, **files}.items()
]


@pytest.mark.parametrize(("form", "name", "axis"), ALONE)
@several(12)
@given(st.data())
def test_one_file_alone_is_refused(spoil, form, name, axis, data):
    """Rows lost or repeated in one file of those that belong together."""
    folder = spoil(form)
    rows = list(range(length(folder / name, axis)))
    first = data.draw(st.integers(0, len(rows) - 1))
    stop = data.draw(st.integers(first + 1, len(rows)))
    take(folder / name, rows[:first] + rows[stop:] if data.draw(st.booleans()) else rows[:stop] + rows[first:], axis)
    try:
        dataset = build(folder)
    except InputError:
        return
    # A row of trials.csv says all of its trial in the traces form: the others are as they were.
    assert (form, name) == ("traces", TRIAL)
    assert_right(dataset, form, folder)


@several(25)
@given(st.data())
def test_flips_of_other_trials_are_refused(spoil, data):
    folder = spoil("traces")
    trials = pd.read_csv(folder / TRIAL)
    flips = ["flip_blank_s", "flip_onset_s", "flip_end_s"]
    order = data.draw(st.permutations(range(len(trials))).filter(lambda order: order != sorted(order)))
    columns = data.draw(st.sampled_from([flips, flips[1:], flips[1:2]]))
    trials[columns] = trials[columns].to_numpy()[order]
    trials.to_csv(folder / TRIAL, index=False)
    with pytest.raises(InputError, match=r"trials\.csv, columns"):
        read_scan(folder)


@several(25)
@given(st.data())
def test_slices_lost_by_one_clock_are_refused(spoil, data):
    """At most the last volume may be missing."""
    folder = spoil("traces")
    path = folder / data.draw(st.sampled_from(["frame_times_stim.npy", "frame_times_behavior.npy"]))
    n_slices = length(path)
    first = data.draw(st.integers(1, n_slices - 2))
    stop = data.draw(st.integers(first + 1, min(first + 5, n_slices - 1)))
    take(path, [*range(first), *range(stop, n_slices)])
    with pytest.raises(InputError, match=r"frame_times_stim\.npy"):
        read_scan(folder)


@pytest.mark.parametrize("name", ["eye.csv", "treadmill.csv"])
@several(20)
@given(st.data())
def test_rows_lost_repeated_or_turned_on_the_behavior_clock(spoil, name, data):
    """Over less than half a second what was not recorded is interpolated, beyond that trials are dropped."""
    folder = spoil("traces")
    rows = list(range(length(folder / name)))
    first = data.draw(st.integers(0, len(rows) - 2))
    stop = data.draw(st.integers(first + 2, min(first + 100, len(rows))))
    way = data.draw(st.sampled_from(["lost", "repeated", "turned"]))
    between = {"lost": [], "repeated": rows[first:stop] * 2, "turned": rows[first:stop][::-1]}[way]
    take(folder / name, rows[:first] + between + rows[stop:])
    if way != "lost":
        with pytest.raises(InputError, match=rf"{name}, column time_s, rows? .*: time is decreasing"):
            read_scan(folder)
        return
    # Where rows are missing dpupil is that of a pupil that changes faster; all else is off by a part of the gap.
    kept = kept_right(folder, "traces", tolerance=0.7)
    if stop - first > 11:
        assert not any(first * 0.05 < sample_s(trial_idx) < stop * 0.05 for trial_idx in kept)


def test_no_response_comes_out_of_a_pause_of_the_scan(spoil):
    """Nothing is recorded from 6.2 to 9.4 s while trials go on: these are dropped, the others keep their values."""
    folder = spoil("traces")
    for name in ("frame_times_stim.npy", "frame_times_behavior.npy"):
        take(folder / name, [*range(100), *range(150, length(folder / name))])
    take(folder / "traces.npy", [*range(50), *range(75, length(folder / "traces.npy", 1))], 1)
    dataset = build(folder)
    kept = assert_right(dataset, "traces", folder)
    assert set(kept) == {i for i in range(14) if not 6.2 - 0.8 < sample_s(i) < 9.4 + 0.8} - {EXCLUDED}
    assert dataset.attrs["dropped_response"] == 13 - len(kept)


def assert_same_trials(dataset, expected):
    """The images may be in another order, the image of each trial is the same."""
    of_images = ["images", "images_class", "images_id", "images_picture", "image_index"]
    assert dataset.drop_vars(of_images).identical(expected.drop_vars(of_images))
    for name in of_images[:3]:
        assert np.array_equal(*(data[name].values[data.image_index.values] for data in (dataset, expected)))


@several(20)
@given(st.data())
def test_trees_in_another_order(tmp_path, data):
    """Files of the trials numbered anew, together with meta, and units in another order: the same data set."""
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    tree = make_tree(tmp_path / "a", 9, 16)
    expected = read_sensorium(tree, SIZE).load()
    trials, units = data.draw(st.permutations(range(12))), data.draw(st.permutations(range(4)))
    other = shutil.copytree(tree, tmp_path / "b")
    for folder in ("images", "responses", "behavior", "pupil_center"):
        for new, old in enumerate(trials):
            array = np.load(tree / f"data/{folder}/{old}.npy")
            np.save(other / f"data/{folder}/{new}.npy", array[units] if folder == "responses" else array)
    for path in (other / "meta/trials").iterdir():
        take(path, trials)
    for path in (other / "meta/neurons").iterdir():
        take(path, units)
    assert_same_trials(read_sensorium(other, SIZE).load(), expected)
    lost = data.draw(st.integers(0, 11))
    for path in (other / "meta/trials").iterdir():
        take(path, [trial for trial in range(12) if trial != lost])
    with pytest.raises(InputError, match=r"data/responses: 11\.npy belongs to none of the 11 trials of meta/trials"):
        read_sensorium(other, SIZE)
