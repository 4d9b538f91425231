"""The images of a raw export as they were shown."""

import numpy as np
import pandas as pd
import pytest

from neurostatic.data.frames import apply_aperture
from neurostatic.data.scans.shown import read_image_table, read_shown_images
from neurostatic.problems import InputError


def test_shown_images_are_found_by_class_and_id(tmp_path):
    """In the order asked for, reduced by area; other names, sizes and colors are refused."""
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 12), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    table = pd.DataFrame({"image_class": ["photo", "noise", "photo"], "image_id": [7, 7, 2]})
    table.to_csv(tmp_path / "images.csv", index=False)
    classes = np.array(["photo", "photo", "noise"], dtype=np.dtypes.StringDType())  # as a store gives them
    found = read_shown_images(tmp_path, classes, np.array([2, 7, 7]), 8, 12)
    np.testing.assert_array_equal(found, images[[2, 0, 1]])
    halved = read_shown_images(tmp_path, classes, np.array([2, 7, 7]), 4, 6, rows=[1])
    np.testing.assert_allclose(halved, images[:1].reshape(1, 4, 2, 6, 2).mean((2, 4)))
    with pytest.raises(InputError, match=r"image \('photo', 3\) is not in images.csv"):
        read_shown_images(tmp_path, classes, np.array([3, 7, 7]), 8, 12)
    larger = read_shown_images(tmp_path, classes, np.array([2, 7, 7]), 16, 24)
    np.testing.assert_allclose(larger[0, [0, -1]][:, [0, -1]], images[2, [0, -1]][:, [0, -1]], atol=1e-3)
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 12, 3), np.uint8))
    with pytest.raises(InputError, match="stimuli are made of gray images only"):
        read_shown_images(tmp_path, classes, np.array([2, 7, 7]), 8, 12)


def test_the_table_of_images_is_read_as_the_scan_is(tmp_path):
    """Spaces after commas, quotes, and classes that look like numbers."""
    (tmp_path / "images.csv").write_text('"image_class", image_id\n007, 4\n1e3, 4\n')
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 12), np.uint8))
    assert read_image_table(tmp_path).image_class.tolist() == ["007", "1e3"]
    assert read_shown_images(tmp_path, np.array(["1e3"]), np.array([4]), 8, 12).shape == (1, 8, 12)
    (tmp_path / "images.csv").write_text("image_class\nphoto\n")
    with pytest.raises(InputError, match="column 'image_id' is missing"):
        read_image_table(tmp_path)
    with pytest.raises(InputError, match=r"images\.csv: file is missing"):
        read_image_table(tmp_path / "nowhere")


def test_shown_images_stay_behind_their_aperture(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 36, 64), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    aperture = {"aperture_r": 0.2, "aperture_transition": 0.05, "aperture_x": 0.0, "aperture_y": 0.1}
    table = pd.DataFrame({"image_class": "photo", "image_id": [0, 1], **aperture, "background_px": [100, 150]})
    table.to_csv(tmp_path / "images.csv", index=False)
    found = read_shown_images(tmp_path, np.array(["photo", "photo"]), np.array([1, 0]), 36, 64)
    expected = apply_aperture(images[[1, 0]].astype(np.float32), 0.2, 0.05, 0.0, 0.1, np.array([150, 100]))
    np.testing.assert_allclose(found, expected)
    assert (found[0, 0] == 150).all() and (found[1, 0] == 100).all()
