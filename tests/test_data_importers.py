import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurostatic.config import Preprocessing
from neurostatic.data import is_sensorium, normalization, read_sensorium, sensorium_verdict
from neurostatic.problems import InputError

TWIN = Path(__file__).parents[2] / "shared" / "data" / "static90101-1-1-twin.zip"
TIERS = ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
IMAGE_ID = [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10]


def make_tree(root, height=36, width=64, channel=True, seed=0):
    """A Sensorium tree of 12 trials and 4 units, in no particular order of trial_idx and unit_ids."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (11, 1, height, width), dtype=np.uint8)
    for trial, image in enumerate(IMAGE_ID):
        arrays = {
            "images": pixels[image] if channel else pixels[image, 0],
            "responses": rng.gamma(1, 1, 4).astype(np.float32),
            "behavior": rng.normal(5, 1, 3),
            "pupil_center": rng.normal(100, 5, 2),
        }
        for name, array in arrays.items():
            save(root / "data" / name / f"{trial}.npy", array)
    trials = {
        "tiers": np.array(TIERS), "trial_idx": np.arange(12)[::-1], "frame_image_id": np.array(IMAGE_ID),
        "frame_image_class": np.array(["imagenet"] * 12),
    }  # fmt: skip
    neurons = {
        "unit_ids": np.array([7, 3, 9, 1]), "area": np.array(["V1", "V1", "LM", "V1"]),
        "layer": np.array(["L2/3"] * 4), "cell_motor_coordinates": rng.normal(0, 100, (4, 3)),
    }  # fmt: skip
    for folder, arrays in (("trials", trials), ("neurons", neurons)):
        for name, array in arrays.items():
            save(root / "meta" / folder / f"{name}.npy", array)
    return root


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def zipped(root, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.npy")):
            archive.write(file, f"{root.name}/{file.relative_to(root)}")
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("trees") / "static5-6-7-GrayImageNet-1")


@pytest.fixture
def spoiled(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / tree.name)


def test_tree_is_read_in_order(tree):
    data = read_sensorium(tree)
    assert data.sizes["trial"] == 12 and data.sizes["unit"] == 4 and data.sizes["image"] == 10
    assert data.trial_idx.values.tolist() == list(range(12))
    assert data.tier.values.tolist() == TIERS[::-1] and data.image_id.values.tolist() == IMAGE_ID[::-1]
    assert data.unit_id.values.tolist() == [1, 3, 7, 9]
    assert data.brain_area.values.tolist() == ["V1", "V1", "V1", "LM"]
    for trial, file in enumerate(range(11, -1, -1)):
        image = np.load(tree / f"data/images/{file}.npy")[0]
        assert np.array_equal(data.images.values[data.image_index.values[trial]], image)
        assert np.array_equal(data.responses.values[trial], np.load(tree / f"data/responses/{file}.npy")[[3, 1, 0, 2]])
        assert data.behavior.values[trial] == pytest.approx(np.load(tree / f"data/behavior/{file}.npy"))
        assert data.pupil_center.values[trial] == pytest.approx(np.load(tree / f"data/pupil_center/{file}.npy"))
    coordinates = np.load(tree / "meta/neurons/cell_motor_coordinates.npy")[[3, 1, 0, 2]]
    assert np.column_stack([data.um_x, data.um_y, data.um_z]) == pytest.approx(coordinates)
    assert np.isnan(data.px_x.values).all() and np.isnan(data.px_height.values).all()
    assert (data.attrs["animal_id"], data.attrs["session"], data.attrs["scan_idx"]) == (5, 6, 7)
    assert data.condition_hash.values[0] == "imagenet-10"
    assert normalization(data).image_std > 0


def test_zip_and_folder_are_the_same(tree, tmp_path):
    archive = zipped(tree, tmp_path / "static5-6-7.zip")
    assert read_sensorium(archive).identical(read_sensorium(tree))
    assert list(tmp_path.iterdir()) == [archive]  # nothing was unpacked


def test_is_sensorium(tree, tmp_path):
    assert is_sensorium(tree) and is_sensorium(tree.parent)
    assert is_sensorium(zipped(tree, tmp_path / "a.zip"))
    (tmp_path / "scan.yaml").write_text("animal_id: 1")
    assert not is_sensorium(tmp_path) and not is_sensorium(tmp_path / "nothing")


def test_large_images_are_reduced_and_a_channel_is_optional(tmp_path):
    data = read_sensorium(make_tree(tmp_path / "tree", 144, 256, channel=False))
    pixels = np.load(tmp_path / "tree/data/images/11.npy").reshape(36, 4, 64, 4).mean((1, 3))
    assert np.array_equal(data.images.values[data.image_index.values[0]], np.rint(pixels))


def test_trials_with_nan_are_dropped(spoiled):
    save(spoiled / "data/behavior/0.npy", np.array([np.nan, 0, 0]))
    save(spoiled / "data/behavior/1.npy", np.array([1, 0, np.nan]))
    data = read_sensorium(spoiled)
    assert data.sizes["trial"] == 10 and data.sizes["image"] == 8
    assert (data.attrs["dropped_eye"], data.attrs["dropped_treadmill"]) == (1, 1)


def test_test_pictures_are_not_trained_on(spoiled):
    test_image = np.load(spoiled / "data/images/8.npy")
    save(spoiled / "data/images/2.npy", test_image)  # under another id
    data = read_sensorium(spoiled)
    assert data.attrs["dropped_leaking"] == 1
    assert 3 not in data.image_id.values and 9 in data.image_id.values


def test_verdict(tree, tmp_path):
    verdict = sensorium_verdict(tree)
    counts = verdict["counts"]
    assert (counts["trials"], counts["trials_test"], counts["units"], counts["images_repeated"]) == (12, 4, 4, 2)
    assert verdict["files"] == sensorium_verdict(tree)["files"]
    changed = shutil.copytree(tree, tmp_path / tree.name)
    save(changed / "data/behavior/3.npy", np.zeros(3))
    assert sensorium_verdict(changed)["files"] != verdict["files"]


def put(name, array):
    return lambda root: save(root / name, array)


DEFECTS = {
    "file missing": (lambda root: (root / "data/responses/4.npy").unlink(), "data/responses: 4.npy is missing"),
    "meta missing": (lambda root: (root / "meta/neurons/area.npy").unlink(), "meta/neurons/area.npy: is missing"),
    "units": (put("data/responses/3.npy", np.zeros(5)), r"data/responses: 3.npy has shape \(5,\) .* 4 numbers"),
    "channels": (put("data/images/3.npy", np.zeros((3, 36, 64))), r"data/images: 3.npy has shape \(3, 36, 64\)"),
    "small": (put("data/images/3.npy", np.zeros((18, 32))), "images of 18 x 32 px cannot be reduced"),
    "pixels": (put("data/images/3.npy", np.full((36, 64), -1.0)), "3.npy has pixels that are NaN or outside"),
    "picture": (put("data/images/9.npy", np.zeros((1, 36, 64))), "9.npy differs from another image of its class"),
    "infinite": (put("data/behavior/3.npy", np.full(3, np.inf)), "data/behavior: 3.npy has an infinite value"),
    "tier": (put("meta/trials/tiers.npy", np.array(["holdout"] * 12)), "found holdout, allowed are train"),
    "lengths": (put("meta/trials/trial_idx.npy", np.arange(5)), "meta/trials: lengths differ"),
    "trial twice": (put("meta/trials/trial_idx.npy", np.zeros(12, int)), "trial_idx.npy: 0 is there twice"),
    "unit twice": (put("meta/neurons/unit_ids.npy", np.array([1, 1, 2, 3])), "unit_ids.npy: 1 is there twice"),
    "places": (put("meta/neurons/cell_motor_coordinates.npy", np.zeros((4, 2))), r"needed is \(unit, 3\)"),
    "text": (put("meta/neurons/unit_ids.npy", np.array(["a"] * 4)), "unit_ids.npy: dtype is <U1, allowed is a num"),
    "no array": (lambda root: (root / "data/images/3.npy").write_bytes(b"PNG"), "3.npy is not a readable .npy"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_named(spoiled, name):
    spoil, message = DEFECTS[name]
    spoil(spoiled)
    with pytest.raises(InputError, match=message):
        read_sensorium(spoiled)


def test_pickle_is_refused(spoiled):
    path = spoiled / "meta/neurons/area.npy"
    np.save(path, np.array(["V1"] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"area\.npy: is not a readable \.npy array \(Object arrays cannot be loaded"):
        read_sensorium(spoiled)


def test_all_problems_at_once_and_one_line_each(spoiled):
    for name in ("file missing", "units", "channels", "unit twice"):
        DEFECTS[name][0](spoiled)
    for trial in range(6, 12):
        (spoiled / f"data/responses/{trial}.npy").unlink()
    with pytest.raises(InputError) as error:
        read_sensorium(spoiled)
    lines = str(error.value).splitlines()
    assert lines[0].endswith(": 4 problems") and len(lines) == 5
    assert any("4.npy is missing (7 such files)" in line for line in lines)


@pytest.mark.parametrize("member", ["../../etc/x.npy", "/etc/x.npy", "a/../../x.npy", "C:\\x.npy", "..\\x.npy"])
def test_escaping_members_are_refused(tree, tmp_path, member):
    archive = zipped(tree, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(member, b"")
    with pytest.raises(InputError, match="points out of the archive"):
        read_sensorium(archive)


def test_exploding_members_are_refused(tree, tmp_path):
    archive = zipped(tree, tmp_path / "a.zip")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data/responses/bomb.npy", bytes(2**27))
    with pytest.raises(InputError, match=r"bomb\.npy' would unpack to 0\.134 GB"):
        read_sensorium(archive)


def test_what_is_no_tree(tree, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="neither a folder nor a readable zip file"):
        read_sensorium(tmp_path / "broken.zip")
    with pytest.raises(InputError, match="neither a folder nor a readable zip file"):
        read_sensorium(tmp_path / "missing.zip")
    with pytest.raises(InputError, match=r"one tree with meta/trials/tiers\.npy is needed, found none"):
        read_sensorium(tmp_path)
    shutil.copytree(tree, tmp_path / "a")
    shutil.copytree(tree, tmp_path / "b")
    with pytest.raises(InputError, match="found a/, b/"):
        read_sensorium(tmp_path)


def test_damaged_member(tree, tmp_path):
    archive = zipped(tree, tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    start = content.find(b"\x93NUMPY")
    content[start + 200 : start + 210] = b"damaged!!!"
    archive.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"is not a readable \.npy array"):
        read_sensorium(archive)


@pytest.mark.skipif(not TWIN.is_file(), reason="the twin recording is not beside the repository")
def test_twin_recording():
    data = read_sensorium(TWIN)
    assert dict(data.sizes) == {
        "image": 2460, "y": 36, "x": 64, "trial": 3000, "unit": 200, "behavior_channel": 3, "eye_axis": 2,
    }  # fmt: skip
    counts = dict(zip(*np.unique(data.tier.values, return_counts=True), strict=True))
    assert counts == {"test": 600, "train": 2160, "validation": 240}
    norm = normalization(data)
    assert (norm.image_mean, norm.image_std) == pytest.approx((111.07792, 55.964226), abs=1e-4)  # as in its own meta
    assert norm.eye_mean == pytest.approx([160.07883, 120.03428], abs=1e-3)
    assert data.attrs["dropped_leaking"] == 0


def test_a_tree_of_the_competition(spoiled):
    """trial_idx is a hash there, and responses of the test tier are withheld: such trials are dropped and counted."""
    save(spoiled / "meta/trials/trial_idx.npy", np.array([f"{i:x}f" for i in range(12)]))
    for trial in range(8, 12):
        save(spoiled / f"data/responses/{trial}.npy", np.zeros(4, np.float32))
    data = read_sensorium(spoiled)
    assert data.trial_idx.values.tolist() == list(range(8))  # the numbers of the files
    assert data.tier.values.tolist() == TIERS[:8] and data.image_id.values.tolist() == IMAGE_ID[:8]
    assert data.attrs["dropped_withheld"] == 4 and data.attrs["dropped_leaking"] == 0


def test_silent_trials_of_a_tier_with_responses_are_kept(spoiled):
    """Deconvolved responses of few cells are often all zero; only a whole tier of zeros is withheld."""
    for trial in (0, 5, *range(8, 12)):
        save(spoiled / f"data/responses/{trial}.npy", np.zeros(4, np.float32))
    data = read_sensorium(spoiled)
    assert data.sizes["trial"] == 8 and data.attrs["dropped_withheld"] == 4
    assert (data.responses.values == 0).all(1).sum() == 2


def test_the_verdict_does_not_depend_on_the_size_of_the_images(tmp_path):
    """Which size they are reduced to is a setting of the data set."""
    verdict = sensorium_verdict(make_tree(tmp_path / "tree", 18, 32))
    assert verdict["counts"]["images"] == 10
    assert any("no stack coordinates" in remark for remark in verdict["remarks"])
    small = Preprocessing(height_px=18, width_px=32)
    assert read_sensorium(tmp_path / "tree", small).images.shape == (10, 18, 32)
    rounded = [read_sensorium(tmp_path / "tree", replace(small, round_px=on)).attrs["round_px"] for on in (True, False)]
    assert rounded == [1, 0]


def test_repeated_meis_are_a_tier_of_the_tree(spoiled):
    tiers = np.array(TIERS)
    tiers[8:10] = "test_mei"
    save(spoiled / "meta/trials/tiers.npy", tiers)
    assert (read_sensorium(spoiled).tier.values == "test_mei").sum() == 2
