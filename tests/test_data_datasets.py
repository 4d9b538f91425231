import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from exports import CLOCK_OFFSET_S, make_export

from neurostatic.config import DataConfig, Preprocessing
from neurostatic.data import (
    Normalization,
    build_dataset,
    normalization,
    open_multi_dataset,
    read_scan,
)
from neurostatic.data.datasets import scaling_factors
from neurostatic.problems import InputError
from neurostatic.store import write_arrays

EVERY_UNIT = DataConfig(brain_area="all+unknown", layer="all")


@pytest.fixture
def export(exports, tmp_path):
    return shutil.copytree(exports["traces"], tmp_path / "scan")


@pytest.fixture(scope="module")
def dataset(exports):
    return build_dataset(read_scan(exports["traces"]))


def toy(images, image_index, tiers, responses, behavior=None, pupil_center=None):
    """A data set of given numbers, with what `normalization` reads."""
    n_trials = len(tiers)
    rng = np.random.default_rng(0)
    behavior = rng.normal(5, 1, (n_trials, 3)) if behavior is None else behavior
    pupil_center = rng.normal(100, 3, (n_trials, 2)) if pupil_center is None else pupil_center
    return xr.Dataset(
        {
            "images": (("image", "y", "x"), np.asarray(images, np.float32)),
            "responses": (("trial", "unit"), np.asarray(responses, np.float32)),
            "behavior": (("trial", "behavior_channel"), behavior),
            "pupil_center": (("trial", "eye_axis"), pupil_center),
        },
        {"image_index": ("trial", image_index), "tier": ("trial", np.array(tiers))},
    )


def test_layout(dataset, exports):
    assert dataset.sizes == {
        "image": 26, "y": 36, "x": 64, "trial": 35, "unit": 5, "behavior_channel": 3, "eye_axis": 2,
    }  # fmt: skip
    # Of 27 images, the one of the excluded trial was shown once.
    assert dataset.images.dims == ("image", "y", "x") and dataset.responses.dims == ("trial", "unit")
    assert {dataset[name].dtype for name in ("images", "responses", "behavior", "pupil_center")} == {np.dtype("f4")}
    assert dataset.behavior_channel.values.tolist() == ["pupil_radius", "dpupil", "treadmill"]
    assert dataset.eye_axis.values.tolist() == ["x", "y"]
    assert dataset.trial_idx.values.tolist() == [i for i in range(36) if i != 5]
    assert dataset.unit_id.values.tolist() == [101, 102, 103, 104, 105]  # 100 is the axon
    for name in ("image_class", "image_id"):
        shown = dataset[name.replace("image", "images")].values[dataset.image_index.values]
        assert (shown == dataset[name].values).all()
    raw = read_scan(exports["traces"])
    rows = [raw.image_table.image_id.tolist().index(image) for image in dataset.images_id.values]
    assert np.array_equal(dataset.images.values, raw.images[rows])
    assert not np.isnan(dataset.responses.values).any() and not dataset.dead.values.any()


def test_attributes(dataset):
    expected = {
        "dropped_excluded": 1, "dropped_response": 0, "dropped_eye": 0, "dropped_treadmill": 0, "filter_taps": 9,
        "sampling_period_s": 0.125, "n_depths": 2, "animal_id": 17, "session": 2, "scan_idx": 3,
        "stim_type": "imagenet", "loop_group": 1, "day": 1, "mei_source": 1, "offset_s": 0.05, "duration_s": 0.5,
        "tier_seed": 0, "validation_fraction": 0.1,
    }  # fmt: skip
    assert {name: dataset.attrs[name] for name in expected} == expected
    assert dataset.attrs["presentation_s"] == pytest.approx(0.5)
    assert dataset.attrs["support_start_s"] == pytest.approx(-0.2)
    assert dataset.attrs["support_stop_s"] == pytest.approx(0.8)


def test_tiers_follow_images(dataset):
    counts = dict(zip(*np.unique(dataset.tier.values, return_counts=True), strict=True))
    repeated = dataset.image_index.to_series().value_counts()
    assert counts["test"] == repeated[repeated > 1].sum()
    for image in range(26):
        assert len(set(dataset.tier.values[dataset.image_index.values == image])) == 1


def test_units_belong_to_areas_and_layers(dataset, exports):
    units = read_scan(exports["traces"]).units.set_index("unit_id").loc[dataset.unit_id.values]
    x, y = np.floor(units.px_x + 0.5), np.floor(units.px_y + 0.5)
    expected = np.where(y < 2, "unknown", np.where(x < 15, "V1", "LM"))
    assert dataset.brain_area.values.tolist() == expected.tolist()
    assert dataset.layer.values.tolist() == np.where(units.field == 1, "L2/3", "L4").tolist()
    assert dataset.px_x.values.tolist() == units.px_x.tolist()
    assert (dataset.px_height.values == 20).all() and (dataset.um_width.values == 300).all()


def test_traces_eye_and_treadmill_are_read_300_ms_after_onset(export):
    """Everything recorded is a line in its own time: every sample tells when it was taken."""
    scan = read_scan(export)
    volumes_s = scan.frame_times_stim[::2]
    np.save(export / "traces.npy", (2 + 3 * (volumes_s + scan.delay_s()[:, None])).astype(np.float32))
    eye_s = scan.eye.time_s - CLOCK_OFFSET_S
    scan.eye.assign(radius_px=20 + eye_s, center_x_px=eye_s, center_y_px=-eye_s).to_csv(export / "eye.csv")
    scan.treadmill.assign(velocity_cm_s=-(scan.treadmill.time_s - CLOCK_OFFSET_S)).to_csv(export / "treadmill.csv")
    data = build_dataset(read_scan(export))
    trials = scan.trials[~scan.trials.excluded]
    sample_s = trials.flip_onset_s.to_numpy() + 0.3
    assert data.responses.values == pytest.approx(np.repeat(2 + 3 * sample_s[:, None], 5, 1), abs=1e-4)
    assert data.behavior.values[:, 0] == pytest.approx(20 + sample_s, abs=1e-4)
    assert data.behavior.values[:, 1] == pytest.approx(1, abs=1e-6)
    assert data.behavior.values[:, 2] == pytest.approx(sample_s, abs=1e-4)  # speed, not velocity
    assert data.pupil_center.values == pytest.approx(np.column_stack([sample_s, -sample_s]), abs=1e-4)


def test_dropped_trials_are_counted_by_their_first_reason(export):
    scan = read_scan(export)
    trials = scan.trials.copy()
    onset_s = trials.flip_onset_s.to_numpy()
    trials.loc[[5, 7], "flip_onset_s"] = np.nan  # 5 is excluded already
    trials.loc[9, "flip_end_s"] = 1e5
    trials.to_csv(export / "trials.csv", index=False)

    def near(table, trial):
        return np.abs(table.time_s - CLOCK_OFFSET_S - onset_s[trial] - 0.3) < 0.1

    eye, treadmill = scan.eye.copy(), scan.treadmill.copy()
    eye.loc[near(eye, 12) | near(eye, 7), "radius_px"] = np.nan
    eye.to_csv(export / "eye.csv", index=False)
    treadmill.loc[near(treadmill, 12) | near(treadmill, 20), "velocity_cm_s"] = np.nan
    treadmill.to_csv(export / "treadmill.csv", index=False)
    data = build_dataset(read_scan(export))
    assert [data.attrs[f"dropped_{reason}"] for reason in ("excluded", "response", "eye", "treadmill")] == [1, 2, 1, 1]
    assert data.trial_idx.values.tolist() == [i for i in range(36) if i not in (5, 7, 9, 12, 20)]


def test_nothing_left_is_an_error(export):
    pd.read_csv(export / "eye.csv").assign(radius_px=np.nan).to_csv(export / "eye.csv", index=False)
    with pytest.raises(InputError, match="no valid trial is left of 36; dropped for excluded 1, response 0, eye 35"):
        build_dataset(read_scan(export))


def test_presentation_shorter_than_the_window_is_an_error(exports):
    with pytest.raises(InputError, match=r"images were shown for 0\.500 s, less than the response window of 0\.9 s"):
        build_dataset(read_scan(exports["traces"]), Preprocessing(duration_s=0.9))


def test_no_repeated_image_is_an_error_for_imagenet_only(tmp_path):
    imagenet = make_export(tmp_path / "a", "responses", n_repeated=0)
    with pytest.raises(InputError, match="scan a: none of 23 images has 2 or more valid trials"):
        build_dataset(read_scan(imagenet))
    gabor = make_export(tmp_path / "b", "responses", n_repeated=0, stim_type="gabor")
    assert build_dataset(read_scan(gabor)).sizes["trial"] == 23
    meis = make_export(tmp_path / "c", "responses", stim_type="mei", image_class="multi_cnn_mei")
    assert (build_dataset(read_scan(meis)).tier.values == "train").all()


def test_images_are_reduced(tmp_path, exports):
    large = build_dataset(read_scan(make_export(tmp_path / "scan", "responses", height_px=144, width_px=256)))
    assert large.sizes["y"] == 36 and (large.images.values % 1 == 0).all()
    with pytest.raises(InputError, match="images of 36 x 64 px cannot be reduced to 72 x 128 px"):
        build_dataset(read_scan(exports["responses"]), Preprocessing(height_px=72, width_px=128))


def test_responses_form(exports, tmp_path):
    folder = shutil.copytree(exports["responses"], tmp_path / "scan")
    responses = np.load(folder / "responses.npy")
    responses[8] = np.nan
    responses[:, 1] = 0
    responses[8, 1] = np.nan
    np.save(folder / "responses.npy", responses)
    behavior = pd.read_csv(folder / "behavior.csv")
    behavior.loc[10, "pupil_x"] = np.nan
    behavior.loc[11, "treadmill"] = np.nan
    behavior.to_csv(folder / "behavior.csv", index=False)
    trials = pd.read_csv(folder / "trials.csv")
    trials["trial_idx"] = 100 - trials.trial_idx  # rows are put in order
    trials.to_csv(folder / "trials.csv", index=False)
    data = build_dataset(read_scan(folder))
    kept = [i for i in range(35, -1, -1) if i not in (5, 8, 10, 11)]
    assert data.trial_idx.values.tolist() == [100 - i for i in kept]
    assert np.array_equal(data.responses.values, responses[kept][:, [4, 3, 2, 1, 0]])
    assert data.dead.values.tolist() == [False, False, False, True, False]  # unit 104 is the second row
    assert data.behavior.values == pytest.approx(behavior.iloc[kept, :3].to_numpy())
    assert data.pupil_center.values == pytest.approx(behavior.iloc[kept, 3:].to_numpy())
    assert [data.attrs[f"dropped_{reason}"] for reason in ("excluded", "response", "eye", "treadmill")] == [1, 1, 1, 1]


def test_scaling_guard():  # G12
    assert scaling_factors([0.001, 1, 2, 3]) == pytest.approx([1, 1, 0.5, 1 / 3])
    assert scaling_factors([0.02, 1, 2, 3]) == pytest.approx([50, 1, 0.5, 1 / 3])
    assert scaling_factors([0, 1]).tolist() == [1, 1]
    assert scaling_factors([8, 0.04, 6]) == pytest.approx([0.125, 1, 1 / 6])
    assert scaling_factors([8, 0.06, 6]) == pytest.approx([0.125, 16.6666667, 1 / 6])
    with pytest.raises(InputError, match="standard deviation of 1 of 2 columns is NaN"):
        scaling_factors([np.nan, 1])


def test_image_statistics():  # G13
    images = [[[0, 2], [4, 6]], [[1, 1], [1, 1]], [[200, 200], [0, 255]]]
    data = toy(images, [0, 1, 2], ["train", "train", "test"], [[1.0], [2.0], [9.0]])
    norm = normalization(data)
    assert (norm.image_mean, norm.image_std) == pytest.approx((2.0, 2.0))
    assert norm.images(data.images.values)[0].tolist() == [[-1, 0], [1, 2]]
    again = toy(images, [0, 1, 1, 2], ["train", "train", "train", "test"], [[1.0], [2.0], [3.0], [9.0]])
    pixels = np.array([0, 2, 4, 6] + [1] * 8)  # a picture counts as often as it is shown
    assert normalization(again).image_mean == pytest.approx(pixels.mean())
    assert normalization(again).image_std == pytest.approx(pixels.std(ddof=1))


def test_responses_and_behavior_are_scaled_and_eye_is_centered():  # G14
    rng = np.random.default_rng(1)
    tiers = np.array(["train"] * 40 + ["test"] * 5)
    responses = rng.gamma(1, 1, (45, 4)) * [1, 5, 0.1, 1e-6]
    responses[0] = 0
    data = toy(rng.normal(0, 1, (45, 2, 2)), np.arange(45), tiers, responses)
    norm = normalization(data)
    scaled = norm.responses(data.responses.values)
    assert (scaled[0] == 0).all() and (scaled >= 0).all()
    assert scaled[:40, :3].std(0, ddof=1) == pytest.approx(1, rel=1e-5)
    assert norm.response_factor[3] == 1  # below the guard
    behavior = norm.behavior(data.behavior.values)
    assert behavior[:40].std(0, ddof=1) == pytest.approx(1, rel=1e-5)
    assert norm.mean_behavior == pytest.approx(behavior[:40].mean(0), rel=1e-5)
    eye = norm.eye(data.pupil_center.values)[:40]
    assert eye.mean(0) == pytest.approx(0, abs=1e-5) and eye.std(0, ddof=1) == pytest.approx(1, rel=1e-5)
    assert norm.mean_eye.tolist() == [0, 0]
    for name in ("images", "responses", "behavior", "pupil_center"):
        data[name].values[40:] = 1e6  # test trials are not looked at
    assert normalization(data).to_dict() == norm.to_dict()
    data.responses.values[3] = 7  # train trials are
    assert normalization(data).to_dict() != norm.to_dict()


def test_standard_deviation_has_one_degree_of_freedom_less():  # G14
    data = toy(np.arange(12.0).reshape(3, 2, 2), [0, 1, 2], ["train"] * 3, [[1.0], [2.0], [4.0]])
    assert 1 / normalization(data).response_factor == pytest.approx([1.5275252])


def test_statistics_that_cannot_be_had_are_errors():
    images = np.arange(8.0).reshape(2, 2, 2)
    with pytest.raises(InputError, match="tier 'train': 1 trials, at least 2 are needed"):
        normalization(toy(images, [0, 1], ["train", "test"], [[1.0], [2.0]]))
    with pytest.raises(InputError, match=r"responses: the standard deviation of 1 of 2 columns is NaN"):
        normalization(toy(images, [0, 1], ["train"] * 2, [[1.0, np.nan], [2.0, 1.0]]))
    with pytest.raises(InputError, match="images: standard deviation is 0"):
        normalization(toy(0 * images, [0, 1], ["train"] * 2, [[1.0], [2.0]]))
    constant = toy(images, [0, 1], ["train"] * 2, [[1.0], [2.0]], pupil_center=np.full((2, 2), 90.0))
    assert (normalization(constant).eye(constant.pupil_center.values) == 0).all()


def test_excluded_fields_pass_unchanged(dataset):
    norm = normalization(dataset, DataConfig(exclude=("images", "pupil_center")))
    assert (norm.image_mean, norm.image_std) == (0, 1)
    assert np.array_equal(norm.eye(dataset.pupil_center.values), dataset.pupil_center.values)
    train = dataset.tier.values == "train"
    assert norm.mean_eye == pytest.approx(dataset.pupil_center.values[train].mean(0))
    assert (norm.response_factor == normalization(dataset).response_factor).all()
    with pytest.raises(InputError, match="exclude: eye not known, allowed are images"):
        normalization(dataset, DataConfig(exclude=("eye",)))


def test_normalization_survives_a_file(dataset):
    norm = normalization(dataset)
    again = Normalization.from_dict(json.loads(json.dumps(norm.to_dict())))
    assert again.to_dict() == norm.to_dict()
    assert (again.responses(dataset.responses.values) == norm.responses(dataset.responses.values)).all()


@pytest.fixture(scope="module")
def store(dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "17-2-3.zarr.zip"
    write_arrays(dataset, path, {"who": "test"})
    return path


def test_multi_dataset(store, dataset):
    multi = open_multi_dataset({"first": store}, DataConfig(brain_area="all+unknown", layer="L2/3"))
    assert list(multi) == ["first"] and len(multi) == 1
    member = multi["first"]
    chosen = dataset.layer.values == "L2/3"
    assert member.unit_id.tolist() == dataset.unit_id.values[chosen].tolist()
    norm = normalization(dataset)
    assert (member.normalization.response_factor == norm.response_factor[chosen]).all()
    for tier in ("train", "validation", "test", None):
        rows = np.flatnonzero(dataset.tier.values == tier) if tier else np.arange(35)
        assert len(rows)
        assert np.array_equal(member.raw_responses(tier), dataset.responses.values[rows][:, chosen])
        assert np.array_equal(member.responses(tier), norm.responses(dataset.responses.values)[rows][:, chosen])
        assert np.array_equal(member.behavior(tier), norm.behavior(dataset.behavior.values)[rows])
        assert np.array_equal(member.eye(tier), norm.eye(dataset.pupil_center.values)[rows])
        assert np.array_equal(member.image_index(tier), dataset.image_index.values[rows])
        assert member.images(tier).shape == (len(rows), 1, 36, 64)
        arrays = (member.images(tier), member.behavior(tier), member.eye(tier), member.responses(tier))
        assert {array.dtype for array in arrays} == {np.dtype("f4")}
    assert member.images_normalized.shape == (26, 1, 36, 64)
    assert member.images(None).reshape(35, -1)[dataset.tier.values == "train"].mean() == pytest.approx(0, abs=1e-4)
    assert member.data.brain_area.dtype.kind == "U"


def test_no_unit_of_the_wanted_kind_is_an_error(store, dataset):
    layers = pd.Series(dataset.layer.values).value_counts()
    with pytest.raises(InputError) as error:
        open_multi_dataset({"first": store, "second": store}, DataConfig(brain_area="AL", layer="L5"))
    assert str(error.value).startswith("data set: no scan has a unit for the models\n")
    assert f"scan first: no unit in area 'AL' and layer 'L5'; areas: {'LM'}" in str(error.value)
    assert f"layers: L2/3 {layers['L2/3']}, L4 {layers['L4']}" in str(error.value)


def test_unreadable_stores_are_all_named(store, tmp_path):
    (tmp_path / "broken.zarr.zip").write_bytes(b"PK\x03\x04")
    write_arrays(xr.Dataset({"mei": ("unit", [1.0])}), tmp_path / "other.zarr.zip", {})
    paths = {name: tmp_path / f"{name}.zarr.zip" for name in ("broken", "missing", "other")}
    with pytest.raises(InputError) as error:
        open_multi_dataset(paths | {"good": store}, DataConfig(layer="all"))
    for words in ("not a readable Zarr zip store", "no such file", "not a data set, it lacks images, responses"):
        assert words in str(error.value)


def test_test_pictures_of_one_scan_are_not_trained_on_in_another(store, dataset, tmp_path):
    other = dataset.copy(deep=True)
    order = np.random.default_rng(0).permutation(26)  # other ids, same pictures
    other["images"] = ("image", "y", "x"), dataset.images.values[order]
    other["images_picture"] = "image", dataset.images_picture.values[order]
    write_arrays(other, tmp_path / "other.zarr.zip", {})
    with pytest.warns(UserWarning, match="trials left out, their images are test or validation in other scans"):
        multi = open_multi_dataset({"a": store, "b": tmp_path / "other.zarr.zip"}, EVERY_UNIT)
    pictures = {
        tier: {image.tobytes() for m in multi.values() for image in m.data.images.values[m.image_index(tier)]}
        for tier in ("train", "validation", "test")
    }
    assert pictures["train"] and pictures["test"]
    assert not pictures["train"] & (pictures["test"] | pictures["validation"])
    assert not pictures["validation"] & pictures["test"]
    alone = open_multi_dataset({"a": store}, EVERY_UNIT)["a"].data.sizes["trial"]
    assert multi["a"].data.sizes["trial"] + multi["b"].data.sizes["trial"] < 2 * alone
    same = open_multi_dataset({"a": store, "b": store}, EVERY_UNIT)  # the same tiers: nothing to drop
    assert same["a"].data.sizes["trial"] == same["b"].data.sizes["trial"] == alone


def test_an_image_of_the_same_name_is_the_same_image(store, exports, tmp_path):
    """Even if its pixels differ, as they do for another monitor; here nothing but the names tells."""
    options = Preprocessing(luminance=True, tier_seed=1)
    other = build_dataset(read_scan(exports["traces"]), options).assign_coords(
        images_picture=("image", np.array([f"other {image}" for image in range(26)]))
    )
    write_arrays(other, tmp_path / "other.zarr.zip", {})
    with pytest.warns(UserWarning, match="trials left out, their images are test or validation in other scans"):
        multi = open_multi_dataset({"a": store, "b": tmp_path / "other.zarr.zip"}, EVERY_UNIT)
    names = {
        tier: {name for m in multi.values() for name in m.data.image_id.values[m.trials(tier)].tolist()}
        for tier in ("train", "validation", "test")
    }
    assert names["train"] and names["validation"] and not names["train"] & (names["validation"] | names["test"])


def test_sizes_of_images_must_agree(store, dataset, tmp_path):
    write_arrays(dataset.isel(y=slice(0, 30)), tmp_path / "low.zarr.zip", {})
    with pytest.raises(InputError, match=r"images differ in size: \{'a': \{'y': 36, 'x': 64\}, 'b'"):
        open_multi_dataset({"a": store, "b": tmp_path / "low.zarr.zip"}, EVERY_UNIT)
