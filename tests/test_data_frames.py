from collections import Counter

import numpy as np
import pandas as pd
import pytest

from neurostatic.data.frames import (
    area_resize,
    condition_tiers,
    leaking_trials,
    noise_tiers,
    picture_hashes,
)
from neurostatic.store import InputError


def image_table(n_images, n_repeated, image_class="imagenet", repeats=10):
    n_trials = np.where(np.arange(n_images) < n_repeated, repeats, 1)
    return pd.DataFrame({"image_class": image_class, "image_id": np.arange(n_images), "n_trials": n_trials})


@pytest.mark.parametrize(
    ("unique", "repeated", "counts"),
    [(5100, 100, (100, 500, 4500)), (23, 3, (3, 2, 18)), (24, 3, (3, 3, 18)), (11, 1, (1, 1, 9))],
)
def test_tier_counts(unique, repeated, counts):  # G10
    table = image_table(unique, repeated)
    tiers = condition_tiers(table, seed=3)
    found = Counter(tiers)
    assert (found["test"], found["validation"], found["train"]) == counts
    assert (tiers[table.n_trials > 1] == "test").all()


def test_no_repeated_image_is_an_error():  # G10
    with pytest.raises(InputError, match="none of 23 images has 2 or more valid trials"):
        condition_tiers(image_table(23, 0))
    assert "test" not in condition_tiers(image_table(23, 0), repeats_needed=False)


def test_tiers_do_not_depend_on_order_but_on_the_seed():  # G10
    table = image_table(200, 20)
    tiers = condition_tiers(table, seed=0)
    order = np.random.default_rng(1).permutation(200)
    assert (condition_tiers(table.iloc[order], seed=0) == tiers[order]).all()
    assert (condition_tiers(table, seed=1) != tiers).any()
    with pytest.raises(InputError, match="several rows"):
        condition_tiers(pd.concat([table, table.iloc[:1]]))


def test_mei_classes_are_train_though_repeated():
    meis = pd.concat([image_table(5, 5, name) for name in ("cnn_mei", "lin_rf", "multi_cnn_mei", "multi_lin_rf")])
    assert (condition_tiers(meis) == "train").all()
    both = pd.concat([meis, image_table(11, 1)], ignore_index=True)
    assert Counter(condition_tiers(both)) == {"train": 29, "test": 1, "validation": 1}


def test_one_picture_under_two_names_has_one_tier():
    table = image_table(60, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    pixels[30:40] = pixels[20:30]  # ten pictures under two ids
    pixels[50] = pixels[0]  # a test picture under a second id, shown once
    table["picture"] = picture_hashes(pixels)
    leaks = 0
    for seed in range(5):
        tiers = condition_tiers(table, seed=seed)
        assert (tiers[30:40] == tiers[20:30]).all()
        assert tiers[50] == "test"
        blind = condition_tiers(table.drop(columns="picture"), seed=seed)
        leaks += int((blind[30:40] != blind[20:30]).sum())
    assert leaks  # without the pixels they do fall apart


def test_noise_conditions():  # G10
    n_trials = np.where(np.arange(100) % 10 == 3, 5, 1)
    assert Counter(noise_tiers(n_trials)) == {"test": 10, "validation": 10, "train": 80}
    assert (noise_tiers(n_trials)[n_trials == 5] == "test").all()
    assert Counter(noise_tiers(np.ones(100))) == {"test": 8, "validation": 8, "train": 84}
    assert Counter(noise_tiers(np.ones(4))) == {"test": 1, "validation": 1, "train": 2}
    table = image_table(100, 10, "monet").assign(stimulus_type="stimulus.MonetFrame")
    assert Counter(condition_tiers(table)) == {"test": 10, "validation": 10, "train": 80}


def test_leaking_trials():
    tiers = np.array(["train", "train", "validation", "test", "validation", "final_test"])
    pictures = np.array(["a", "b", "b", "c", "c", "c"])
    assert leaking_trials(tiers, pictures).tolist() == [False, True, False, False, True, False]


def test_area_resize_of_bytes_rounds_half_to_even():  # G11
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 144, 256))
    resized = area_resize(ramp, 36, 64)[0]
    assert resized.dtype == np.float32
    assert (resized == np.arange(2, 255, 4)).all()
    assert (area_resize(ramp.astype(np.float32), 36, 64)[0] == np.arange(1.5, 255, 4)).all()
    blocks = np.zeros((4, 16), np.uint8)
    for block, extra in enumerate((8, 24, 40, 56)):  # means 0.5, 1.5, 2.5, 3.5
        blocks[:, 4 * block : 4 * block + 4] = extra // 16
        blocks[:2, 4 * block : 4 * block + 4] += 1
    assert area_resize(blocks[None], 1, 4)[0, 0].tolist() == [0, 2, 2, 4]


def test_area_resize_by_two_rounds_half_up():  # G11
    blocks = np.array([[1, 1, 2, 2, 3, 3, 4, 4], [0, 0, 1, 1, 2, 2, 3, 3]], np.uint8)
    assert area_resize(blocks[None], 1, 4)[0, 0].tolist() == [1, 2, 3, 4]


def test_area_resize_by_a_fraction():  # G11
    square = np.arange(25.0).reshape(1, 5, 5)
    assert area_resize(square, 2, 2)[0] == pytest.approx(np.array([[4.8, 7.2], [16.8, 19.2]]), abs=1e-6)
    row = np.array([[[0.0, 1, 2]]])
    assert area_resize(row, 1, 2)[0, 0] == pytest.approx([1 / 3, 5 / 3], abs=1e-6)
    image = np.random.default_rng(0).random((300, 100, 177))
    resized = area_resize(image, 36, 64)
    assert resized.mean((1, 2)) == pytest.approx(image.mean((1, 2)), abs=1e-5)  # light is kept
    assert area_resize(image[299:], 36, 64)[0] == pytest.approx(resized[299])  # block by block


def test_area_resize_does_not_enlarge():
    same = np.random.default_rng(0).integers(0, 256, (2, 36, 64), dtype=np.uint8)
    assert (area_resize(same, 36, 64) == same).all()
    with pytest.raises(InputError, match="images of 20 x 64 px cannot be reduced to 36 x 64 px"):
        area_resize(np.zeros((1, 20, 64)), 36, 64)
