"""How should responses lie in a store? Chunks, compression, zip file, folder or shards, measured in one run.

    python benchmarks/layout.py [trials] [units]

Writes responses (trial, unit) in each layout, reads random batches of 60 trials (what training does) and everything
in order (what statistics do), interleaved, three rounds; prints medians as ratios to the layout that was chosen. Once
for dense responses (no zeros, as of fluorescence), once for sparse ones (80 % zeros, as of deconvolved traces of the
virtual mouse).
"""

import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from neurostatic.store import CHUNK_BYTES

BATCH, N_BATCHES, ROUNDS = 60, 5, 3
ZSTD = ZstdCodec(level=0)
BLOSC = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=4)


def layouts(row_bytes: int) -> dict[str, dict]:
    """Name -> rows of a chunk, compressor, container, rows of a shard."""
    rows = {megabytes: max(1, round(megabytes * 2**20 / row_bytes)) for megabytes in (0.25, 1, 4, 16, 64)}
    found = {f"zip, {mb:g} MB, zstd": {"rows": n, "codec": ZSTD, "zip": True} for mb, n in rows.items()}
    found["zip, 1 MB, none"] = {"rows": rows[1], "codec": None, "zip": True}
    found["zip, 1 MB, blosc shuffle"] = {"rows": rows[1], "codec": BLOSC, "zip": True}
    found["folder, 1 MB, zstd"] = {"rows": rows[1], "codec": ZSTD, "zip": False}
    shard = rows[1] * max(1, rows[64] // rows[1])
    found["zip, 1 MB in 64 MB shards, zstd"] = {"rows": rows[1], "codec": ZSTD, "zip": True, "shard": shard}
    return found


def write(responses: np.ndarray, path: Path, layout: dict) -> None:
    folder = path.with_suffix(".folder") if layout["zip"] else path
    array = zarr.create_array(
        folder,
        shape=responses.shape,
        dtype=responses.dtype,
        chunks=(layout["rows"], responses.shape[1]),
        shards=(layout["shard"], responses.shape[1]) if "shard" in layout else None,
        compressors=layout["codec"],
    )
    step = layout.get("shard", layout["rows"])
    step *= max(1, 2**28 // (step * responses.shape[1] * responses.itemsize))
    for start in range(0, len(responses), step):
        array[start : start + step] = responses[start : start + step]
    if layout["zip"]:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder))
        shutil.rmtree(folder)


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def main(n_trials: int, n_units: int) -> None:
    rng = np.random.default_rng(0)
    responses = rng.gamma(0.5, 1.0, (n_trials, n_units)).astype(np.float32)
    measure("dense", responses, rng)
    responses[rng.random(responses.shape) < 0.8] = 0
    measure("sparse", responses, rng)


def measure(kind: str, responses: np.ndarray, rng: np.random.Generator) -> None:
    n_trials, n_units = responses.shape
    timings: dict[str, dict[str, list[float]]] = {}
    named = layouts(n_units * 4)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        sizes = {}
        for _ in range(ROUNDS):
            for number, (name, layout) in enumerate(named.items()):
                path = Path(folder) / f"{number}"
                if path.is_dir():
                    shutil.rmtree(path)
                took = timings.setdefault(name, {"write": [], "batch": [], "all": []})
                start = time.perf_counter()
                write(responses, path, layout)
                took["write"].append(time.perf_counter() - start)
                sizes[name] = size_of(path)
                array = zarr.open_array(zarr.storage.ZipStore(path, mode="r") if layout["zip"] else path, mode="r")
                for _ in range(N_BATCHES):
                    trials = rng.choice(n_trials, BATCH, replace=False)
                    start = time.perf_counter()
                    batch = array.oindex[trials]
                    took["batch"].append(time.perf_counter() - start)
                    assert np.array_equal(batch, responses[trials])
                start = time.perf_counter()
                for first in range(0, n_trials, 512):
                    array[first : first + 512]
                took["all"].append(time.perf_counter() - start)
    chosen = f"zip, {CHUNK_BYTES / 2**20:g} MB, zstd"
    median = {
        name: {what: statistics.median(seconds) for what, seconds in took.items()} for name, took in timings.items()
    }
    print(f"{kind}: {n_trials} trials x {n_units} units, {responses.nbytes / 2**20:.0f} MB; chosen: {chosen}")
    print("| layout | write | random batch of 60 | all in order | size |\n|---|---|---|---|---|")
    for name, took in median.items():
        cells = [f"{took[what] / median[chosen][what]:.2f} ({took[what] * 1000:.0f} ms)" for what in took]
        print(f"| {name} | {' | '.join(cells)} | {sizes[name] / responses.nbytes:.2f} |")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or (2000, 20000)))
