"""What goes wrong in the virtual mouse's experiment: it is in the files, the reader survives it, the truth knows it."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neurostatic import simulation
from neurostatic.config import Simulation
from neurostatic.data import build_dataset, read_scan
from neurostatic.simulation.mouse import virtual_cortex
from neurostatic.simulation.recording import record
from neurostatic.store import read_arrays, write_arrays

CONFIG = Simulation(n_cells=30, n_images=700, n_repeated=20, repeats=8)  # 840 trials
FLIPS = {"flip_blank_s": "blank flip dropped", "flip_onset_s": "onset flip dropped", "flip_end_s": "end flip dropped"}
N_DEPTHS = 6


@pytest.fixture(scope="module")
def session():
    return simulation.natural_session(CONFIG)


@pytest.fixture(scope="module")
def clean(session):
    """The recording before anything goes wrong."""
    rng = np.random.default_rng([CONFIG.seed, 2, session.day, 1])
    return record(virtual_cortex(CONFIG), session, CONFIG, rng)


@pytest.fixture(scope="module")
def truth(session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    return simulation.simulate_scan(CONFIG, session, folder).assign_attrs(folder=str(folder))


@pytest.fixture(scope="module")
def scan(truth):
    return read_scan(truth.folder)


@pytest.fixture(scope="module")
def data(scan):
    return build_dataset(scan)


def noted(truth, words):
    """(trial,) whether the truth says so."""
    return np.array([words in text.split("; ") for text in truth.blemish.values])


def true_s(times_s, truth):
    """Times of the behavior clock on the stimulus clock."""
    return (times_s - truth.clock_offset_s) / (1 + truth.clock_drift)


def runs(missing):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(missing, int), [0]])))
    return edges[1::2] - edges[::2]


def near(trials, times_s, reach_s):
    """(trial,) whether one of the times is that near to the middle of the response window."""
    middle_s = trials.flip_onset_s.to_numpy() + 0.3
    return (np.abs(middle_s[:, None] - np.asarray(times_s)) < reach_s).any(1)


def test_every_kind_of_flip_is_dropped_and_trials_are_thrown_out(scan, truth, clean):
    for flip, words in FLIPS.items():
        dropped = scan.trials[flip].isna()
        assert 1 <= dropped.sum() <= 5 and (dropped == noted(truth, words)).all()
        assert_allclose(scan.trials[flip][~dropped], clean.trials[flip][~dropped], atol=1e-6)
    assert 1 <= scan.trials.excluded.sum() <= 5
    assert (scan.trials.excluded == noted(truth, "excluded: monitor flicker")).all()
    assert (scan.trials.exclusion_comment[scan.trials.excluded] == "monitor flicker").all()


def test_the_scan_begins_late_and_ends_in_mid_volume(scan, truth, clean):
    n_slices, n_volumes = len(scan.frame_times_stim), scan.traces.shape[1]
    assert n_slices % N_DEPTHS >= 1 and n_volumes == n_slices // N_DEPTHS
    assert len(scan.frame_times_stim[::N_DEPTHS]) == n_volumes + 1
    assert len(scan.frame_times_behavior) == n_volumes * N_DEPTHS
    assert_array_equal(scan.frame_times_stim, clean.slices_s[:n_slices])
    assert_allclose(truth.scan_recorded_s, scan.frame_times_stim[[0, -1]])
    assert scan.trials.flip_blank_s[0] < scan.frame_times_stim[0]
    assert noted(truth, "outside the scan").tolist() == [True] + [False] * (truth.sizes["trial"] - 1)


def test_the_behavior_clock_is_offset_drifts_and_jitters(scan, truth):
    stim_s = scan.frame_times_stim[: len(scan.frame_times_behavior)]
    slope, offset_s = np.polyfit(stim_s, scan.frame_times_behavior, 1)
    assert offset_s == pytest.approx(truth.clock_offset_s, abs=1e-4) and offset_s > 30
    assert slope - 1 == pytest.approx(truth.clock_drift, rel=0.01) and slope > 1.00001
    assert np.std(true_s(scan.frame_times_behavior, truth) - stim_s) == pytest.approx(truth.clock_jitter_s, rel=0.02)


@pytest.mark.parametrize(("device", "words"), [("eye", "camera off"), ("treadmill", "treadmill off")])
def test_camera_and_treadmill_start_late_and_stop_early(scan, truth, device, words):
    start_s, stop_s = true_s(getattr(scan, device).time_s.dropna().iloc[[0, -1]], truth)
    assert_allclose(truth.attrs[f"{device}_recorded_s"], [start_s, stop_s], atol=1e-4)
    assert 2 <= start_s - truth.scan_recorded_s[0] <= 5.1 and 2 <= truth.scan_recorded_s[1] - stop_s <= 5.1
    assert truth.eye_recorded_s != truth.treadmill_recorded_s
    off = noted(truth, words)
    assert off[0] and 2 <= off.sum() <= 12
    assert off[scan.trials.flip_onset_s + 0.3 < start_s + 0.4].all() and not off[20:-20].any()


def test_blinks_a_lost_pupil_lost_time_stamps_and_dropped_video_frames(scan, truth, clean):
    eye = scan.eye.assign(stim_s=true_s(scan.eye.time_s, truth))
    lost = eye.radius_px.isna()
    assert lost.equals(eye.center_x_px.isna()) and lost.equals(eye.center_y_px.isna()) and lost.mean() < 0.05
    assert runs(lost).max() >= 190 and ((runs(lost) >= 1) & (runs(lost) <= 8)).sum() >= 5
    assert near(scan.trials, eye.stim_s[lost], 0.7)[~noted(truth, "pupil not tracked")].sum() == 0
    unstamped = eye.time_s.isna()
    assert 5 <= unstamped.sum() <= 80 and runs(unstamped).max() <= 20
    stamps_s = eye.stim_s[~unstamped]
    assert (stamps_s.diff().dropna() > 0).all() and stamps_s.diff().median() == pytest.approx(0.05, abs=1e-5)
    gaps = eye.stim_s.diff() > 0.075  # rows that are not there; a lost stamp makes the difference NaN
    assert 3 <= gaps.sum() <= 20 and len(eye) < np.ptp(stamps_s) / 0.05
    assert noted(truth, "video frame dropped")[near(scan.trials, eye.stim_s[gaps], 0.6)].all()
    assert noted(truth, "eye time stamp lost").sum() >= 5

    seen = eye[~lost & ~unstamped]
    frames = np.rint(seen.stim_s * 20).astype(int)
    error_px = seen[["center_x_px", "center_y_px"]].to_numpy() - clean.states.center_px[frames]
    jumps = np.linalg.norm(np.diff(clean.states.center_px, axis=0, prepend=np.nan), axis=1)[frames] > 1
    assert np.abs(error_px[~jumps]).max() < 1e-4 and 0.8 < error_px[jumps].std() < 1.2 and 0.005 < jumps.mean() < 0.05


def test_the_treadmill_has_gaps_with_and_without_time_stamps(scan, truth, clean):
    treadmill = scan.treadmill
    silent = treadmill.velocity_cm_s.isna()
    mistimed = treadmill.time_s.isna()
    assert mistimed.any() and silent[mistimed].all() and (silent & ~mistimed).any()
    assert 2 <= len(runs(silent)) <= 8 and 2 <= runs(silent).max() <= 40
    times_s = true_s(treadmill.time_s[silent & ~mistimed], truth)
    assert noted(truth, "treadmill missing")[near(scan.trials, times_s, 0.7)].all()
    good = ~silent
    frames = np.rint(true_s(treadmill.time_s[good], truth) * 20).astype(int)
    assert_allclose(treadmill.velocity_cm_s[good], clean.states.velocity_cm_s[frames], atol=1e-4)


def test_frames_of_a_field_are_bad_and_one_soma_is_no_cell(scan, truth, clean):
    """Whatever is not touched is the recording; the soma that is no cell has no truth."""
    traces, units = np.array(scan.traces), scan.units
    missing = np.isnan(traces)
    assert_array_equal(traces[~missing], clean.traces[:, : traces.shape[1]][~missing])
    dead = np.flatnonzero(missing.all(1))
    assert len(dead) == 1 and units.unit_id[dead[0]] == truth.dead_unit_id
    assert truth.dead_unit_id not in truth.unit_id and units.mask_type[dead[0]] == "soma"
    assert units[units.mask_type == "soma"].unit_id.tolist() == [*truth.unit_id.values, truth.dead_unit_id]
    assert set(units.mask_type) > {"soma"}
    changed = (units.drop(index=dead) != clean.units.round(3).drop(index=dead)).any(axis=1)
    assert not changed.any()

    missing = np.delete(missing, dead, 0)
    fields = units.field.drop(index=dead).to_numpy()
    bad_volumes = np.flatnonzero(missing.any(0))
    assert 2 <= len(bad_volumes) <= 20 and missing.mean() < 1e-3
    for volume in bad_volumes:
        field = set(fields[missing[:, volume]])
        assert len(field) == 1 and missing[fields == field.pop(), volume].all()
    times_s = scan.frame_times_stim[::N_DEPTHS][bad_volumes]
    bad = np.array(["bad frame of field" in text for text in truth.blemish.values])
    assert bad[near(scan.trials, times_s, 0.6)].all() and 2 <= bad.sum() <= 3 * len(bad_volumes)


def test_two_fields_have_one_depth_and_their_own_pixels(scan, data):
    """One depth is read twice, 0.4 um apart: there are still six slices in a volume."""
    assert len(scan.fields) == N_DEPTHS + 1 and scan.fields.z_um.nunique() == N_DEPTHS + 1
    assert data.attrs["n_depths"] == N_DEPTHS
    coarse = scan.fields.iloc[-1]
    assert (coarse.px_height, coarse.px_width) == (120, 130) and scan.area_labels[7].shape == (120, 130)
    dead = data.isel(unit=data.dead.values)
    assert dead.field.values.tolist() == [7] and dead.layer.values.tolist() == ["L2/3"]


def test_the_reader_survives_and_drops_few_trials_for_the_right_reasons(scan, data, truth):
    lost = {name: data.attrs[f"dropped_{name}"] for name in ("excluded", "response", "eye", "treadmill")}
    assert all(count > 0 for count in lost.values())
    kept = np.isin(truth.trial_idx, data.trial_idx)
    assert sum(lost.values()) == (~kept).sum() < 0.08 * len(kept)
    assert kept[truth.blemish == ""].all()
    excluded = noted(truth, "excluded: monitor flicker")
    no_flip = np.any([noted(truth, words) for words in (*FLIPS.values(), "outside the scan")], axis=0) & ~excluded
    assert lost["excluded"] == excluded.sum() and lost["response"] == no_flip.sum()
    assert not kept[excluded | no_flip].any()
    eye = ("pupil not tracked", "eye time stamp lost", "camera off")
    no_eye = np.any([noted(truth, words) for words in eye], axis=0) & ~excluded & ~no_flip
    no_speed = noted(truth, "treadmill missing") | noted(truth, "treadmill off")
    assert (~kept & ~excluded & ~no_flip & ~no_eye & ~no_speed).sum() == 0
    assert 0.5 * no_eye.sum() < lost["eye"] <= no_eye.sum() and lost["treadmill"] <= no_speed.sum()
    # Filled: bad frames, and gaps of one or two video frames.
    bad_frame = np.array(["bad frame" in text for text in truth.blemish.values])
    assert kept[bad_frame].any() and kept[noted(truth, "video frame dropped")].mean() > 0.7
    assert np.isfinite(data.responses.values).all()
    assert data.unit_id.values[data.dead.values].tolist() == [truth.dead_unit_id]


def test_a_soma_that_is_no_cell_has_no_truth(data, truth):
    ids = data.unit_id.values
    ceiling = simulation.noiseless_correlations(truth, data.responses.values, data.trial_idx.values, ids)
    dead = data.dead.values
    assert (ceiling.kind[dead] == "no cell").all() and ceiling.noiseless_correlation[dead].isna().all()
    assert ceiling.kind[~dead].tolist() == truth.kind.values.tolist()
    assert ceiling.noiseless_correlation[~dead].notna().all()
    images = np.concatenate([truth.true_mei.values, truth.true_mei.values[-1:]])
    assert_allclose(simulation.drive_ratio(truth, ids, images), np.where(dead, np.nan, 1), atol=1e-3)
    matches = pd.DataFrame({"src_unit_id": ids, "unit_id": ids})
    assert simulation.matches_correct(truth, truth, matches).tolist() == (~dead).tolist()


def test_registrations_are_position_and_errors_that_the_truth_knows(scan, truth, clean):
    axes = ["x_um", "y_um", "z_um"]
    true_um = np.stack([truth[axis] for axis in axes], 1)
    for name, table in scan.stack_coordinates.groupby("stack"):
        found_um = table.set_index("unit_id")[axes]
        assert set(found_um.index) == {*truth.unit_id.values, truth.dead_unit_id}
        of_stack = truth.sel(stack=name)
        placed_um = true_um + of_stack.stack_field_error_um.values + of_stack.stack_cell_error_um.values
        outside = of_stack.outside_stack.values
        assert outside.sum() == 1 and found_um.loc[truth.unit_id.values[outside]].isna().all(axis=None)
        assert_allclose(found_um.loc[truth.unit_id.values[~outside]], placed_um[~outside], atol=6e-4)
        mask = clean.units.set_index("unit_id").loc[truth.dead_unit_id]
        assert np.abs(found_um.loc[truth.dead_unit_id].iloc[:2].to_numpy() - mask[["um_x", "um_y"]]).max() < 10


def test_truth_is_complete_described_and_kept_by_its_store(data, truth, tmp_path):
    expected = {
        "kind", "rate", "true_mei", "true_mei_evoked", "gain", "cell_id", "ceiling", "brain_area", "layer", "blemish",
        "stack_field_error_um", "stack_cell_error_um",
    }  # fmt: skip
    assert expected <= set(truth.data_vars)
    for name in truth.variables:
        assert set(truth[name].attrs) == {"units", "long_name"} and truth[name].attrs["long_name"], name
    live = data.isel(unit=~data.dead.values)
    border_um = np.abs(truth.x_um.values[:, None] - (300, 316)).min(1)  # of V1, strip, LM; masks are found to a few um
    agree = truth.brain_area.values == live.brain_area.values
    assert agree[border_um > 10].all() and agree.mean() > 0.9 and {"V1", "LM"} <= set(truth.brain_area.values)
    assert_array_equal(truth.layer.values, live.layer.values)
    write_arrays(truth, tmp_path / "truth.zarr.zip", {})
    stored = read_arrays(tmp_path / "truth.zarr.zip")
    assert stored.attrs.pop("provenance") and stored.identical(truth)
