"""Ways to spoil an export: each gives a function of its folder."""

import numpy as np
import pandas as pd
import yaml

FLIPS = ["flip_blank_s", "flip_onset_s", "flip_end_s"]


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


def change_text(name, change):
    """Spoil a file of text as a whole."""

    def spoil(folder):
        (folder / name).write_text(change((folder / name).read_text()))

    return spoil


def change_line(name, line, change):
    def spoil(folder):
        lines = (folder / name).read_text().splitlines()
        lines[line - 1] = change(lines[line - 1])
        (folder / name).write_text("\n".join(lines) + "\n")

    return spoil


def change_array(name, change):
    def spoil(folder):
        np.save(folder / name, change(np.load(folder / name)))

    return spoil


def set_entry(index, value):
    def change(array):
        array[index] = value
        return array

    return change


def change_info(**values):
    def spoil(folder):
        info = yaml.safe_load((folder / "scan.yaml").read_text())
        (folder / "scan.yaml").write_text(yaml.safe_dump(info | values))

    return spoil


def change_masks(**changes):
    def spoil(folder):
        arrays = dict(np.load(folder / "area_masks.npz")) | changes
        np.savez(folder / "area_masks.npz", **{k: v for k, v in arrays.items() if v is not None})

    return spoil


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def append(name, content):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + content)


def pickled_array(folder):
    np.save(folder / "images.npy", np.array([{"not": "pixels"}], dtype=object), allow_pickle=True)


def swap_flips(first, second):
    """The flips of two trials, by line of the file."""

    def spoil(folder):
        table = pd.read_csv(folder / "trials.csv", dtype=str, keep_default_na=False)
        table.loc[[first - 2, second - 2], FLIPS] = table.loc[[second - 2, first - 2], FLIPS].to_numpy()
        table.to_csv(folder / "trials.csv", index=False)

    return spoil


def all_of(*spoils):
    def spoil(folder):
        for one in spoils:
            one(folder)

    return spoil
