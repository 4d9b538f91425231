import hashlib
import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from neurostatic.data.frames import picture_hashes
from neurostatic.data.tiers import (
    MEI_CLASSES,
    NOISE_TYPES,
    TEST_MEI_CLASSES,
    condition_tiers,
    leaking_trials,
    noise_tiers,
)
from neurostatic.problems import InputError

VARIANTS = list(itertools.product(("current", "2019"), ("count", "threshold")))


def image_table(n_images, n_repeated, image_class="imagenet", repeats=10, first=0):
    n_trials = np.where(np.arange(n_images) < n_repeated, repeats, 1)
    return pd.DataFrame({"image_class": image_class, "image_id": first + np.arange(n_images), "n_trials": n_trials})


def noise_table(n_images, n_repeated, noise_type, repeats=5):
    return image_table(n_images, n_repeated, noise_type.lower(), repeats).assign(stimulus_type=noise_type)


def everything(seed=0):
    """A table of every kind of image, with pictures under several names of the same and of different kinds."""
    parts = [image_table(150, 15).assign(stimulus_type="stimulus.Frame"), image_table(20, 3, "imagenet_v2_gray")]
    parts += [image_table(6, 3, name) for name in (*MEI_CLASSES, *TEST_MEI_CLASSES)]
    parts += [noise_table(40, n_repeated, name) for name, n_repeated in zip(NOISE_TYPES, (4, 0), strict=True)]
    table = pd.concat(parts, ignore_index=True).fillna({"stimulus_type": "stimulus.Frame"})
    rng = np.random.default_rng(seed)
    picture = np.arange(len(table))
    twins = rng.permutation(len(table))[:80].reshape(40, 2)
    picture[twins[:, 1]] = picture[twins[:, 0]]
    return table.assign(picture=[f"{number:03}" for number in picture])


def number(image_class, image_id, seed=0):
    return int(hashlib.sha256(f"{seed}|{image_class}|{image_id}".encode()).hexdigest()[:8], 16) / 2**32


@pytest.mark.parametrize("rule", ["current", "2019"])
@pytest.mark.parametrize(
    ("unique", "repeated", "counts"),
    [(5100, 100, (100, 500, 4500)), (23, 3, (3, 2, 18)), (24, 3, (3, 3, 18)), (11, 1, (1, 1, 9))],
)
def test_tier_counts(unique, repeated, counts, rule):  # G10
    table = image_table(unique, repeated)
    tiers = condition_tiers(table, seed=3, rule=rule)
    found = Counter(tiers)
    assert (found["test"], found["validation"], found["train"]) == counts
    assert (tiers[table.n_trials > 1] == "test").all()


def test_a_whole_number_of_validation_images_is_not_rounded_up():
    assert 0.07 * 100 > 7  # in floating point
    assert Counter(condition_tiers(image_table(101, 1), 0.07)) == {"test": 1, "validation": 7, "train": 93}


def test_no_repeated_image_is_an_error():  # G10
    with pytest.raises(InputError, match="none of 23 images has 2 or more valid trials: repeated images are needed"):
        condition_tiers(image_table(23, 0))
    with pytest.raises(InputError, match="none of 23 images has more valid trials than the median of 1: repeated"):
        condition_tiers(image_table(23, 0), rule="2019")
    with pytest.raises(InputError, match="than the median of 10"):  # every image shown alike
        condition_tiers(image_table(23, 23), rule="2019")
    for rule, split in VARIANTS:
        assert "test" not in condition_tiers(image_table(23, 0), repeats_needed=False, rule=rule, split=split)


def test_unknown_rules_are_refused():
    with pytest.raises(InputError, match="rule of the tiers: found '2018', allowed are current, 2019"):
        condition_tiers(image_table(11, 1), rule="2018")
    with pytest.raises(InputError, match="split of the tiers: found 'hash', allowed are count, threshold"):
        condition_tiers(image_table(11, 1), split="hash")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rule", "split"), VARIANTS)
def test_tiers_do_not_depend_on_the_order_of_rows(rule, split, seed):  # G10
    table = everything(seed)
    tiers = condition_tiers(table, seed=seed, rule=rule, split=split)
    assert set(tiers) == {"train", "validation", "test", "test_mei"}
    rng = np.random.default_rng(seed)
    for _ in range(5):
        order = rng.permutation(len(table))
        shuffled = table.iloc[order]
        assert (condition_tiers(shuffled, seed=seed, rule=rule, split=split) == tiers[order]).all()
        renamed = shuffled.assign(picture=shuffled.picture.map(lambda name: hashlib.sha256(name.encode()).hexdigest()))
        assert (condition_tiers(renamed, seed=seed, rule=rule, split=split) == tiers[order]).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rule", "split"), VARIANTS)
def test_no_picture_has_two_tiers(rule, split, seed):  # G10
    table = everything(seed)
    tiers = pd.Series(condition_tiers(table, seed=seed, rule=rule, split=split))
    assert (tiers.groupby(table.picture).nunique() == 1).all()
    assert not leaking_trials(tiers.to_numpy(), table.picture.to_numpy()).any()


@pytest.mark.parametrize(("rule", "split"), VARIANTS)
def test_the_seed_draws_the_validation_images_only(rule, split):
    table = image_table(300, 20)
    a, b = (condition_tiers(table, seed=seed, rule=rule, split=split) for seed in (0, 1))
    assert ((a == "test") == (b == "test")).all()
    assert ((a == "validation") != (b == "validation")).any()
    assert (condition_tiers(table, seed=0, rule=rule, split=split) == a).all()


def test_an_identity_with_several_rows_is_an_error():  # G10: it could be repeated in one of them only
    table = image_table(20, 2)
    with pytest.raises(InputError, match=r"image \(imagenet, 0\) has several rows, of 10, 10 trials; one is allowed"):
        condition_tiers(pd.concat([table, table.iloc[:1]]))
    noise = noise_table(20, 5, NOISE_TYPES[0])
    with pytest.raises(InputError, match=r"image \(stimulus.monetframe, 4\) has several rows, of 1, 5 trials; one is"):
        condition_tiers(pd.concat([noise, noise.iloc[[4]].assign(n_trials=1)]))


def test_what_repeated_means():
    table = image_table(40, 0).assign(n_trials=[1] * 5 + [2] * 20 + [3] * 5 + [12] * 10)
    assert Counter(condition_tiers(table))["test"] == 35
    assert Counter(condition_tiers(table, min_repeats=3))["test"] == 15
    assert Counter(condition_tiers(table, rule="2019"))["test"] == 15  # the median is 2
    assert Counter(condition_tiers(table, min_repeats=12, rule="2019"))["test"] == 15
    table["n_trials"] = [1] * 20 + [2] * 20
    assert Counter(condition_tiers(table, rule="2019"))["test"] == 20  # the median is 1.5


def test_the_median_is_over_the_images_of_the_split():
    table = image_table(30, 5, repeats=2)
    others = pd.concat([image_table(100, 100, "cnn_mei", 20), image_table(100, 100, "mei2", 20)])
    noise = noise_table(100, 100, NOISE_TYPES[1], 20)
    tiers = condition_tiers(pd.concat([table, others, noise]), rule="2019")
    assert (tiers[:30] == condition_tiers(table, rule="2019")).all()
    assert Counter(tiers[:30])["test"] == 5


@pytest.mark.parametrize("fraction", [0.1, 0.25])
def test_threshold(fraction):
    table = image_table(4000, 100)
    tiers = condition_tiers(table, fraction, seed=7, split="threshold")
    u = np.array([number("imagenet", image_id, 7) for image_id in range(4000)])
    assert (tiers[:100] == "test").all()
    assert (tiers[100:] == np.where(u[100:] < fraction, "validation", "train")).all()
    expected = fraction * 3900
    assert abs((tiers == "validation").sum() - expected) < 4 * np.sqrt(expected * (1 - fraction))
    count = condition_tiers(table, fraction, seed=7)
    lower = (tiers == "validation") & (count == "validation")  # one split holds the other
    assert lower.sum() == min((tiers == "validation").sum(), (count == "validation").sum())


def test_by_the_threshold_an_image_keeps_its_tier():
    # Three scans of some of the images; in each, five others are test images.
    table = pd.concat([image_table(400, 0), noise_table(100, 20, NOISE_TYPES[0])], ignore_index=True)
    fixed = pd.Series(condition_tiers(table, repeats_needed=False, split="threshold"))
    rng = np.random.default_rng(0)
    moved_by_count = 0
    for n_images in (50, 200, 350):
        scan = table.iloc[np.sort(rng.permutation(400)[:n_images].tolist() + list(range(400, 500)))].copy()
        scan.iloc[:5, scan.columns.get_loc("n_trials")] = 10
        tiers = condition_tiers(scan, split="threshold")
        assert (tiers[:5] == "test").all()
        assert (tiers[5:] == fixed[scan.index[5:]]).all()
        by_count = condition_tiers(table, repeats_needed=False)[scan.index[5:]]
        moved_by_count += (condition_tiers(scan)[5:] != by_count).sum()
    assert moved_by_count


def test_mei_classes_are_train_though_repeated():
    meis = pd.concat([image_table(5, 5, name) for name in MEI_CLASSES])
    both = pd.concat([meis, image_table(11, 1)], ignore_index=True)
    for rule, split in VARIANTS:
        assert (condition_tiers(meis, rule=rule, split=split) == "train").all()
        assert (condition_tiers(both, rule=rule, split=split)[:20] == "train").all()
    assert Counter(condition_tiers(both)) == {"train": 29, "test": 1, "validation": 1}


@pytest.mark.parametrize("image_class", TEST_MEI_CLASSES)
@pytest.mark.parametrize(("rule", "split"), VARIANTS)
def test_repeated_meis_inside_an_imagenet_scan_are_test_mei(image_class, rule, split):
    natural = image_table(110, 10)
    meis = image_table(6, 3, image_class, repeats=2)
    tiers = condition_tiers(pd.concat([meis, natural]), min_repeats=5, rule=rule, split=split)
    assert tiers[:6].tolist() == ["test_mei"] * 3 + ["train"] * 3
    assert (tiers[6:] == condition_tiers(natural, min_repeats=5, rule=rule, split=split)).all()  # no part of the split


def test_a_test_mei_picture_is_test_mei_under_every_name():
    table = pd.concat([image_table(3, 2, "mei2"), image_table(30, 5), image_table(3, 2, "cnn_mei")], ignore_index=True)
    pictures = np.arange(36)
    pictures[[3, 20, 33]] = [0, 1, 0]  # a test image, a train or validation image, an MEI
    pictures[21] = 2  # the MEI that is shown once
    tiers = condition_tiers(table.assign(picture=pictures))
    assert (tiers[[0, 1, 3, 20, 33]] == "test_mei").all()
    assert tiers[2] == tiers[21] and tiers[2] in ("train", "validation")


def test_one_picture_under_two_names_has_one_tier():
    table = image_table(60, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    pixels[30:40] = pixels[20:30]  # ten pictures under two ids
    pixels[50] = pixels[0]  # a test picture under a second id, shown once
    table["picture"] = picture_hashes(pixels)
    for split in ("count", "threshold"):
        leaks = 0
        for seed in range(5):
            tiers = condition_tiers(table, seed=seed, split=split)
            assert (tiers[30:40] == tiers[20:30]).all()
            assert tiers[50] == "test"
            blind = condition_tiers(table.drop(columns="picture"), seed=seed, split=split)
            leaks += int((blind[30:40] != blind[20:30]).sum())
        assert leaks  # without the pixels they do fall apart


def test_noise_conditions():  # G10
    n_trials = np.where(np.arange(100) % 10 == 3, 5, 1)
    assert Counter(noise_tiers(n_trials)) == {"test": 10, "validation": 10, "train": 80}
    assert (noise_tiers(n_trials)[n_trials == 5] == "test").all()
    assert Counter(noise_tiers(n_trials - 1)) == {"test": 8, "validation": 8, "train": 84}  # 4 are not repeated enough
    for noise_type in NOISE_TYPES:
        table = noise_table(100, 10, noise_type)
        assert Counter(condition_tiers(table)) == {"test": 10, "validation": 10, "train": 80}


@pytest.mark.parametrize(("n_conditions", "held_out"), [(100, 8), (60, 5), (40, 3), (20, 2), (14, 1), (4, 1), (2, 1)])
def test_noise_that_is_never_repeated(n_conditions, held_out):
    found = Counter(noise_tiers(np.ones(n_conditions)))
    assert found == Counter(test=held_out, validation=held_out, train=n_conditions - 2 * held_out)


def test_few_noise_conditions():
    assert noise_tiers(np.ones(1)).tolist() == ["test"]
    assert noise_tiers(np.ones(0)).tolist() == []
    assert noise_tiers(np.array([5, 1, 5, 5])).tolist() == ["test", "validation", "test", "test"]


def test_each_noise_type_is_split_for_itself():
    monet, trippy = noise_table(50, 5, NOISE_TYPES[0]), noise_table(40, 0, NOISE_TYPES[1])
    tiers = condition_tiers(pd.concat([monet, trippy]))
    assert Counter(tiers[:50]) == {"test": 5, "validation": 5, "train": 40}
    assert Counter(tiers[50:]) == {"test": 3, "validation": 3, "train": 34}
    assert (tiers[:50] == condition_tiers(monet)).all()


def test_noise_by_the_threshold():
    table = noise_table(400, 40, NOISE_TYPES[0])
    u = np.array([number(NOISE_TYPES[0].lower(), image_id) for image_id in range(400)])
    tiers = condition_tiers(table, 0.2, split="threshold")
    assert (tiers == np.where(table.n_trials == 5, "test", np.where(u < 0.2, "validation", "train"))).all()
    tiers = condition_tiers(table.assign(n_trials=1), 0.2, split="threshold")
    assert (tiers == np.select([u < 0.075, u < 0.15], ["test", "validation"], "train")).all()


def test_leaking_trials():
    tiers = np.array(["train", "train", "validation", "test", "validation", "final_test"])
    pictures = np.array(["a", "b", "b", "c", "c", "c"])
    assert leaking_trials(tiers, pictures).tolist() == [False, True, False, False, True, False]


def test_test_mei_pictures_are_kept_from_training():
    tiers = np.array(["test_mei", "train", "validation", "test", "train", "test_mei"])
    pictures = np.array(["a", "a", "a", "a", "b", "c"])
    assert leaking_trials(tiers, pictures).tolist() == [False, True, True, False, False, False]


def test_no_images():
    table = image_table(0, 0)
    assert condition_tiers(table).tolist() == []
    assert leaking_trials(np.array([], dtype=str), np.array([], dtype=str)).tolist() == []
