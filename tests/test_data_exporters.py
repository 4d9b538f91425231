import collections
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurostatic.config import Preprocessing
from neurostatic.data import normalization, read_sensorium, write_sensorium
from neurostatic.problems import InputError
from neurostatic.store import rows_on_demand

TWIN = Path(__file__).parents[2] / "shared" / "data" / "static90101-1-1-twin.zip"
NAME = "static5-6-7-GrayImageNet-1"
TIER = ["train", "test", "train", "validation", "train", "test", "train", "train", "train"]
IMAGE_INDEX = [3, 0, 1, 2, 4, 0, 4, 5, 3]  # an image of the train tier may be repeated, too
SCAN = {"animal_id": "animal_ids", "session": "sessions", "scan_idx": "scan_idx"}
STATISTICS = ("mean", "std", "min", "max", "median")
SIGNALS = ("images", "responses", "behavior", "pupil_center")


def make_dataset(height=36, width=64, n_units=5, whole=False, seed=0):
    """A data set of 9 trials and 6 images, the units in the order of their ids."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (6, height, width)).astype(np.float32)
    images = np.rint(images) if whole else images
    trial = {
        "trial_idx": np.arange(9) * 3 + 1, "tier": TIER, "image_class": ["imagenet"] * 9,
        "image_id": np.array([10, 20, 30, 40, 50, 60])[IMAGE_INDEX], "image_index": IMAGE_INDEX,
        "condition_hash": [f"hash{i}" for i in IMAGE_INDEX], "stimulus_type": ["stimulus.Frame"] * 9,
    }  # fmt: skip
    unit = {
        "unit_id": np.arange(n_units) * 7 + 2, "brain_area": ["V1", "LM", "V1", "RL", "V1"] * (n_units // 5),
        "layer": ["L2/3", "L4", "L2/3", "L4", "unset"] * (n_units // 5),
    }  # fmt: skip
    unit |= dict(zip(("um_x", "um_y", "um_z"), rng.normal(0, 100, (3, n_units)), strict=True))
    return xr.Dataset(
        {
            "images": (("image", "y", "x"), images),
            "responses": (("trial", "unit"), rng.gamma(1, 1, (9, n_units)).astype(np.float32)),
            "behavior": (("trial", "behavior_channel"), rng.normal(5, 1, (9, 3)).astype(np.float32)),
            "pupil_center": (("trial", "eye_axis"), rng.normal(100, 5, (9, 2)).astype(np.float32)),
        },
        {name: ("trial", values) for name, values in trial.items()} | {n: ("unit", v) for n, v in unit.items()},
        {"animal_id": 5, "session": 6, "scan_idx": np.int64(7), "offset_s": 0.05},
    )


def content(path):
    """All arrays of a written tree by their names."""
    if path.is_dir():
        return {file.relative_to(path).as_posix(): np.load(file) for file in sorted(path.rglob("*.npy"))}
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        assert all(name.startswith(f"{path.stem}/") for name in names)
        return {name.removeprefix(f"{path.stem}/"): np.load(io.BytesIO(archive.read(name))) for name in names}


def assert_same_recording(read, written):
    """Equal per trial and unit; the images may be in another order."""
    for name in ("responses", "behavior", "pupil_center"):
        assert read[name].dtype == np.float32 and np.array_equal(read[name].values, written[name].values), name
    shown = [data.images.values[data.image_index.values] for data in (read, written)]
    assert np.array_equal(*shown) and shown[0].dtype == np.float32
    for name in set(written.coords) - {"image_index", "images_class", "images_id", "picture"}:
        assert np.array_equal(read[name].values, written[name].values, equal_nan=read[name].dtype.kind == "f"), name


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_written_is_read_again(tmp_path, suffix):
    dataset = make_dataset()
    write_sensorium(dataset, tmp_path / "new" / f"{NAME}{suffix}")
    read = read_sensorium(tmp_path / "new" / f"{NAME}{suffix}")
    assert_same_recording(read, dataset)
    assert [read.attrs[name] for name in ("animal_id", "session", "scan_idx")] == [5, 6, 7]
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"{NAME}{suffix}"]
    write_sensorium(read, tmp_path / f"{NAME}.zip")
    assert read_sensorium(tmp_path / f"{NAME}.zip").equals(read)


def test_images_keep_their_size(tmp_path):
    dataset = make_dataset(18, 30)
    write_sensorium(dataset, tmp_path / NAME)
    assert_same_recording(read_sensorium(tmp_path / NAME, Preprocessing(height_px=18, width_px=30)), dataset)


def test_layout(tmp_path):
    dataset = make_dataset()
    write_sensorium(dataset, tmp_path / NAME)
    tree = content(tmp_path / NAME)
    shapes = {"images": (1, 36, 64), "responses": (5,), "behavior": (3,), "pupil_center": (2,)}
    names = {f"data/{name}/{trial}.npy" for name in shapes for trial in range(9)}
    for name, shape in shapes.items():
        files = [tree[f"data/{name}/{trial}.npy"] for trial in range(9)]
        assert all(file.shape == shape and file.dtype == np.float32 for file in files)
        for folder in ("all", "stimulus_Frame"):
            for statistic in STATISTICS:
                names.add(f"meta/statistics/{name}/{folder}/{statistic}.npy")
                array = tree[f"meta/statistics/{name}/{folder}/{statistic}.npy"]
                assert array.shape == (() if name == "images" else shape) and array.dtype == np.float32
    trials = ("tiers", "trial_idx", "frame_image_id", "frame_image_class", "condition_hash", *SCAN)
    neurons = ("unit_ids", "area", "layer", "cell_motor_coordinates", *SCAN.values())
    names |= {f"meta/trials/{name}.npy" for name in trials} | {f"meta/neurons/{name}.npy" for name in neurons}
    assert set(tree) == names
    assert all(len(tree[f"meta/trials/{name}.npy"]) == 9 for name in trials)
    assert all(len(tree[f"meta/neurons/{name}.npy"]) == 5 for name in neurons)
    assert tree["meta/neurons/cell_motor_coordinates.npy"].shape == (5, 3)
    assert tree["meta/trials/frame_image_id.npy"].tolist() == dataset.image_id.values.tolist()
    config = json.loads((tmp_path / NAME / "config.json").read_text())
    assert config == {"links": {}, "attributes": {"animal_id": 5, "session": 6, "scan_idx": 7, "offset_s": 0.05}}


# Of 6 train trials the two middle pixels differ, with seed 4 only in their lower bits; of 5 there is one in the middle.
@pytest.mark.parametrize(("n_train", "whole", "seed"), [(6, True, 1), (6, False, 1), (6, False, 4), (5, False, 1)])
def test_statistics_are_those_of_the_train_tier(tmp_path, n_train, whole, seed):
    dataset = make_dataset(5, 7, whole=whole, seed=seed).isel(trial=slice(0, n_train + 3))
    write_sensorium(dataset, tmp_path / NAME, block_bytes=100)
    tree = content(tmp_path / NAME)
    train = dataset.isel(trial=dataset.tier.values == "train")
    expected = {name: train[name].values.astype(float) for name in SIGNALS[1:]}
    expected["images"] = train.images.values[train.image_index.values].astype(float).reshape(-1, 1)
    for name, values in expected.items():
        found = {s: tree[f"meta/statistics/{name}/all/{s}.npy"].reshape(-1) for s in STATISTICS}
        assert found["mean"] == pytest.approx(values.mean(0), rel=1e-6)
        assert found["std"] == pytest.approx(values.std(0, ddof=1), rel=1e-6)
        assert np.array_equal(found["min"], values.min(0))
        assert np.array_equal(found["max"], values.max(0))
        assert np.array_equal(found["median"], np.median(values, 0).astype(np.float32))
    norm = normalization(dataset)
    assert tree["meta/statistics/images/all/mean.npy"] == pytest.approx(norm.image_mean, rel=1e-6)
    assert tree["meta/statistics/images/all/std.npy"] == pytest.approx(norm.image_std, rel=1e-6)


def test_negative_zeros_are_zeros(tmp_path):
    dataset = make_dataset(4, 4)
    dataset.images[:, 0] = -0.0
    write_sensorium(dataset, tmp_path / NAME)
    shown = dataset.images.values[dataset.image_index.values[dataset.tier.values == "train"]]
    median = np.load(tmp_path / NAME / "meta/statistics/images/all/median.npy")
    assert median == np.median(shown.astype(float)).astype(np.float32)


def test_large_arrays_are_read_in_blocks(tmp_path):
    dataset = make_dataset(n_units=500)
    n_rows = []

    def on_demand(name):
        values = dataset[name]

        def rows(positions):
            n_rows.append(len(positions) * values[0].nbytes)
            return values.values[positions]

        return rows_on_demand(values.dims, values.shape, values.dtype, rows)

    lazy = dataset.assign({name: on_demand(name) for name in ("images", "responses")})
    write_sensorium(lazy, tmp_path / f"{NAME}.zip", block_bytes=20_000)
    assert len(n_rows) > 6 and max(n_rows) <= 20_000
    write_sensorium(dataset, tmp_path / "whole" / f"{NAME}.zip")
    assert (tmp_path / "whole" / f"{NAME}.zip").read_bytes() == (tmp_path / f"{NAME}.zip").read_bytes()


def test_scan_that_is_not_known_is_left_out(tmp_path):
    dataset = make_dataset().drop_attrs()
    write_sensorium(dataset, tmp_path / "tree")
    tree = content(tmp_path / "tree")
    assert not [name for name in tree if "animal" in name or "session" in name]
    assert_same_recording(read_sensorium(tmp_path / "tree"), dataset)


def test_text_ids(tmp_path):
    dataset = make_dataset()
    ids = np.array([f"m{i}" for i in dataset.image_id.values], dtype=object)
    write_sensorium(dataset.assign_coords(image_id=("trial", ids)), tmp_path / NAME)
    assert read_sensorium(tmp_path / NAME).image_id.values.tolist() == ids.tolist()


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_existing_target_is_refused(tmp_path, suffix):
    target = tmp_path / f"{NAME}{suffix}"
    target.write_text("kept")
    with pytest.raises(InputError, match="exists already"):
        write_sensorium(make_dataset(), target)
    assert target.read_text() == "kept"
    target.unlink()
    target.symlink_to("nowhere")
    with pytest.raises(InputError, match="exists already"):
        write_sensorium(make_dataset(), target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch, suffix):
    save, calls = np.save, []

    def failing(*args, **options):
        calls.append(args)
        if len(calls) == 30:
            raise OSError("no space left on device")
        save(*args, **options)

    monkeypatch.setattr(np, "save", failing)
    with pytest.raises(OSError, match="no space left"):
        write_sensorium(make_dataset(), tmp_path / f"{NAME}{suffix}")
    assert len(calls) == 30 and list(tmp_path.iterdir()) == []


def put(name, where, value):
    def spoil(dataset):
        dataset[name].values[where] = value
        return dataset

    return spoil


DEFECTS = {
    "no variable": (lambda d: d.drop_vars("behavior"), "behavior is missing"),
    "color": (lambda d: d.assign(images=d.images.expand_dims("channel", 3)), r"images has dimensions .*'channel'\)"),
    "no coordinate": (lambda d: d.drop_vars(["layer", "tier"]), "2 problems\n.*tier is missing\n.*layer is missing"),
    "channels": (lambda d: d.isel(behavior_channel=[0, 1]), "behavior_channel has length 2, needed is 3"),
    "no train": (lambda d: d.isel(trial=d.tier.values != "train"), "0 trials of tier train, at least 2"),
    "noise": (put("stimulus_type", 3, "stimulus.Mo"), "holds trials of stimulus.Mo, the layout knows stimulus.Frame"),
    "luminance": (lambda d: d.assign(images=d.images.assign_attrs(units="cd/m2")), "images are in cd/m2, needed is px"),
    "no place": (put("um_y", 1, np.nan), "um_x, um_y, um_z hold NaN"),
    "response": (put("responses", (8, 2), np.nan), "responses hold NaN"),
    "pupil": (put("pupil_center", (1, 1), np.inf), "pupil_center hold NaN or infinite"),
    "pixel": (put("images", (5, 0, 0), -1), "images hold values outside 0 to 255"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_named_and_nothing_is_written(tmp_path, name):
    spoil, message = DEFECTS[name]
    with pytest.raises(InputError, match=message):
        write_sensorium(spoil(make_dataset()), tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not TWIN.is_file(), reason="the twin recording is not beside the repository")
def test_twin_recording(tmp_path):
    read = read_sensorium(TWIN).load()
    write_sensorium(read, tmp_path / TWIN.name)
    assert read_sensorium(tmp_path / TWIN.name).equals(read)
    ours, theirs = content(tmp_path / TWIN.name), content(TWIN)
    assert set(theirs) <= set(ours)
    for name, array in theirs.items():
        assert ours[name].shape == array.shape, name
        if name.startswith("meta/statistics"):
            assert ours[name] == pytest.approx(array, rel=1e-5), name
        else:
            assert np.array_equal(ours[name], array), name


@pytest.fixture
def loaders(monkeypatch):
    """Data sets and transforms of neuralpredictors, which other people train with."""
    pytest.importorskip("neuralpredictors", reason="neuralpredictors, the public loader, is not installed")
    for name in ("Iterable", "Mapping"):  # its release 0.3.0 looks for them where Python 3.9 had them
        monkeypatch.setattr(collections, name, getattr(collections.abc, name), raising=False)
    from neuralpredictors.data import datasets, transforms

    return datasets, transforms


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_public_loader_reads_the_same(tmp_path, loaders, suffix):
    dataset = make_dataset()
    write_sensorium(dataset, tmp_path / f"{NAME}{suffix}")
    before = {path.name for path in tmp_path.rglob("*")}
    loaded = loaders[0].FileTreeDataset(str(tmp_path / f"{NAME}{suffix}"), *SIGNALS)
    if not suffix:
        assert {path.name for path in tmp_path.rglob("*")} == before  # nothing was missing that it writes itself
    assert len(loaded) == 9 and loaded.n_neurons == 5 and set(loaded.trial_info.tiers) == set(TIER)
    for trial, point in enumerate(loaded):
        expected = dataset.isel(trial=trial)
        image = dataset.images.values[IMAGE_INDEX[trial]]
        assert point.images.dtype == np.float32 and np.array_equal(point.images, image[None])
        for name in SIGNALS[1:]:
            assert np.array_equal(getattr(point, name), expected[name].values)
    for name, source in {"tiers": "tier", "trial_idx": "trial_idx", "frame_image_id": "image_id"}.items():
        assert loaded.trial_info[name].tolist() == dataset[source].values.tolist()
    for name, source in {"unit_ids": "unit_id", "area": "brain_area", "layer": "layer"}.items():
        assert loaded.neurons[name].tolist() == dataset[source].values.tolist()
    key = [getattr(loaded.neurons, name)[0] for name in ("animal_ids", "sessions", "scan_idx")]
    assert key == [5, 6, 7]


@pytest.mark.parametrize("source", ["all", "stimulus_Frame"])
def test_public_loader_normalizes_the_same(tmp_path, loaders, source):
    datasets, transforms = loaders
    dataset = make_dataset()
    write_sensorium(dataset, tmp_path / NAME)
    loaded = datasets.FileTreeDataset(str(tmp_path / NAME), *SIGNALS)
    chosen = [3, 0]
    steps = [transforms.NeuroNormalizer(loaded, stats_source=source), transforms.Subsample(chosen)]
    loaded.transforms.extend([*steps, transforms.ToTensor(False)])
    assert loaded.neurons.unit_ids.tolist() == dataset.unit_id.values[chosen].tolist()
    norm = normalization(dataset)
    for trial, point in enumerate(loaded):
        expected = dataset.isel(trial=trial)
        image = dataset.images.values[IMAGE_INDEX[trial]]
        assert point.images.numpy()[0] == pytest.approx(norm.images(image), abs=1e-5)
        assert point.responses.numpy() == pytest.approx(norm.responses(expected.responses.values)[chosen], rel=1e-5)
        assert point.behavior.numpy() == pytest.approx(norm.behavior(expected.behavior.values), rel=1e-5)
        assert point.pupil_center.numpy() == pytest.approx(norm.eye(expected.pupil_center.values), abs=1e-4)
