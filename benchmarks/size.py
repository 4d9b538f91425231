"""How do time and memory grow with the size of data sets, and of closed loops? And does a large one train?

    python benchmarks/size.py build FORM TRIALS UNITS [DTYPE]   one raw export (traces or responses) -> data set
    python benchmarks/size.py train TRIALS UNITS                steps and scores of a small network from a store
    python benchmarks/size.py linear                            times over 4,000 to 64,000 units, 4,000 trials
    python benchmarks/size.py loops                             confusion matrices and tests of 5 closed loops

Each measurement runs in a process of its own, so that its peak memory is its own. Files are made in the folder
`benchmarks/scratch` and deleted afterwards. Recorded values are of one pool of random traces, each unit a different
stretch of it: their content does not change what is computed.
"""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

SCRATCH = Path(__file__).parent / "scratch"
VOLUME_S, N_DEPTHS, TRIAL_S = 0.125, 4, 0.9


def make_export(folder: Path, form: str, n_trials: int, n_units: int) -> None:
    """A raw export of 1 repeated image in 50 (10 repeats each), the others shown once, 36 x 64 px."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    info = {"animal_id": 1, "session": 1, "scan_idx": 1, "stim_type": "imagenet", "timestamp": "2026-01-01T10:00:00"}
    (folder / "scan.yaml").write_text(yaml.safe_dump(info))
    fields = pd.DataFrame({"field": np.arange(N_DEPTHS) + 1, "z_um": 150.0 + 40 * np.arange(N_DEPTHS)})
    fields.assign(px_height=500, px_width=500, um_height=1000.0, um_width=1000.0).to_csv(folder / "fields.csv")
    units = pd.DataFrame({"unit_id": np.arange(n_units) + 1, "field": np.arange(n_units) % N_DEPTHS + 1})
    units["mask_type"], units["brain_area"], units["layer"] = "soma", "V1", "L2/3"
    units["ms_delay"] = rng.uniform(0, 1000 * VOLUME_S, n_units).round(1)
    units["px_x"], units["px_y"] = rng.uniform(0, 499, (2, n_units)).round(1)
    units["um_x"], units["um_y"], units["um_z"] = 2 * units.px_x, 2 * units.px_y, 200.0
    units.to_csv(folder / "units.csv")
    n_repeated = n_trials // 100
    image = np.concatenate([np.repeat(np.arange(n_repeated), 10), np.arange(n_repeated, n_trials - 9 * n_repeated)])
    images = pd.DataFrame({"image_class": "imagenet", "image_id": np.arange(image.max() + 1)})
    images.to_csv(folder / "images.csv")
    np.save(folder / "images.npy", rng.integers(0, 256, (len(images), 36, 64), dtype=np.uint8))
    trials = images.iloc[rng.permutation(image)].reset_index(drop=True)
    trials["trial_idx"], trials["condition_hash"] = np.arange(n_trials), trials.image_id
    trials["stimulus_type"], trials["excluded"], trials["exclusion_comment"] = "stimulus.Frame", False, ""
    trials["flip_blank_s"] = 3 + TRIAL_S * np.arange(n_trials)
    trials["flip_onset_s"], trials["flip_end_s"] = trials.flip_blank_s + 0.4, trials.flip_blank_s + 0.9
    trials.to_csv(folder / "trials.csv")
    stop_s = 6 + TRIAL_S * n_trials
    if form == "traces":
        times_s = np.arange(0, stop_s, VOLUME_S / N_DEPTHS)
        np.save(folder / "frame_times_stim.npy", times_s)
        np.save(folder / "frame_times_behavior.npy", times_s + 100)
        write_rows(folder / "traces.npy", n_units, len(times_s[::N_DEPTHS]), rng)
        slow_s = np.arange(0, stop_s, 0.05) + 100
        eye = {"time_s": slow_s, "radius_px": 20 + np.sin(slow_s), "center_x_px": np.cos(slow_s), "center_y_px": 1.0}
        pd.DataFrame(eye).round(4).to_csv(folder / "eye.csv")
        wheel = {"time_s": slow_s, "velocity_cm_s": 5 * np.sin(slow_s / 3)}
        pd.DataFrame(wheel).round(4).to_csv(folder / "treadmill.csv")
    else:
        write_rows(folder / "responses.npy", n_trials, n_units, rng)
        names = ["pupil_radius", "dpupil", "treadmill", "pupil_x", "pupil_y"]
        pd.DataFrame(rng.gamma(4, 1, (n_trials, 5)), columns=names).to_csv(folder / "behavior.csv")


def write_rows(path: Path, n_rows: int, n_columns: int, rng: np.random.Generator) -> None:
    pool = rng.standard_gamma(0.5, n_columns + 4 * 10**6, dtype=np.float32)
    starts = rng.integers(0, 4 * 10**6, n_rows)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_columns)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in starts:
            file.write(pool[start : start + n_columns].data)


def build(export: Path, store: Path, dtype: str) -> dict:
    """Check the export and write the data set; what it took."""
    from neurostatic.config import Preprocessing
    from neurostatic.data import build_dataset, read_scan
    from neurostatic.store import write_arrays

    began_s = time.perf_counter()
    scan = read_scan(export)
    checked_s = time.perf_counter()
    dataset = build_dataset(scan, Preprocessing(response_dtype=dtype))
    write_arrays(dataset, store, {})
    return {
        "trials": dataset.sizes["trial"],
        "units": dataset.sizes["unit"],
        "check_s": checked_s - began_s,
        "build_s": time.perf_counter() - checked_s,
        "export_gb": sum(file.stat().st_size for file in export.iterdir()) / 1e9,
        "store_gb": store.stat().st_size / 1e9,
    }


def train(store: Path) -> dict:
    """Open the store, make some steps of a small network on all units, and score every unit."""
    import torch

    from neurostatic.config import DataConfig, Network
    from neurostatic.data import open_multi_dataset
    from neurostatic.fitting import TierTensors, score_tiers
    from neurostatic.fitting.training import poisson_loss
    from neurostatic.models import CorePlusReadout

    began_s = time.perf_counter()
    member = open_multi_dataset({"a": store}, DataConfig())["a"]
    tiers = {name: TierTensors.of(member, name, torch.device("cpu")) for name in ("train", "validation", "test")}
    tier = tiers["train"]
    opened_s = time.perf_counter()
    network = CorePlusReadout(Network(hidden_channels=4, input_kern=9, layers=1, scale_n=1), {"a": len(member.unit_id)})
    network.initialize({"a": tier.mean_responses()}, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters())
    waited_s, losses, steps_s = [], [], []
    for trials in torch.randperm(len(tier.responses), generator=torch.Generator().manual_seed(1)).split(60)[:20]:
        start_s = time.perf_counter()
        batch = tier.take(trials)
        waited_s.append(time.perf_counter() - start_s)
        loss = poisson_loss(network(batch.images, "a", batch.eye, batch.behavior), batch.responses)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        losses.append(loss.item())
        steps_s.append(time.perf_counter() - start_s)
    opened = peak_gb()
    start_s = time.perf_counter()
    scores = score_tiers(network, {"a": tiers}, {"a": member.unit_id})
    return {
        "in_memory": member.in_memory,
        "peak_before_scoring_gb": opened,
        "scores": len(scores),
        "scoring_s": time.perf_counter() - start_s,
        "statistics_s": opened_s - began_s,
        "batch_s": float(np.median(waited_s)),
        "step_s": float(np.median(steps_s)),
        "losses": [round(loss, 3) for loss in losses[::5]],
    }


def closed_loops() -> dict:
    """5 animals, 150 units, 3 stimulus sets on days of their own, 40 repeats: every table that the rules make."""
    from neurostatic.closed_loop.confusion import confusion_dataset, pool_confusions, set_confusion
    from neurostatic.closed_loop.diagonal import pair_of, scan_diagonal
    from neurostatic.closed_loop.hypotheses import loop_tests
    from neurostatic.config import STIMULUS_SETS

    rng, began_s, loops, tests, drawing_s = np.random.default_rng(0), time.perf_counter(), {}, [], 0.0
    unit_id = np.arange(150)
    unit_map = pd.DataFrame({"src_unit_id": unit_id, "unit_id": unit_id})
    for loop in ("a", "b", "c", "d", "e"):
        summaries = {}
        for kind, classes in STIMULUS_SETS.items():
            start_s = time.perf_counter()
            manifest = pd.DataFrame({"image_class": np.repeat(classes, 150), "image_id": np.tile(unit_id, 2)})
            manifest = manifest.assign(owner_scan="day1", owner_unit_id=manifest.image_id, x_shift=0, y_shift=0)
            shown = np.repeat(np.arange(300), 40)
            own = manifest.owner_unit_id.to_numpy()[shown, None] == unit_id
            responses = rng.gamma(1, 1 + 0.5 * own * np.where(shown < 150, 1.5, 1)[:, None]).astype(np.float32)
            images = pd.MultiIndex.from_frame(manifest[["image_class", "image_id"]].iloc[shown])
            drawing_s += time.perf_counter() - start_s
            table = set_confusion(responses, unit_id, images, manifest, "day1", unit_map, pair_of(kind))
            scan_diagonal(table, kind)
            for response in ("normalized", "zscore"):
                summaries[kind, response] = pool_confusions([table[table.response == response]])
                tests.append(loop_tests({loop: summaries[kind, response]}, response, 0, pair=pair_of(kind)))
        confusion_dataset(summaries, {"day2": unit_map})
        loops[loop] = summaries
    for kind in STIMULUS_SETS:
        for response in ("normalized", "zscore"):
            tables = {loop: summaries[kind, response] for loop, summaries in loops.items()}
            animals = {loop: loop for loop in tables}
            tests.append(loop_tests(tables, response, 0, animals, pair=pair_of(kind)))
    return {"tests": len(pd.concat(tests)), "seconds": time.perf_counter() - began_s - drawing_s}


def measured(*arguments: str) -> dict:
    """Run this script for one measurement in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run_build(form: str, n_trials: int, n_units: int, dtype: str = "float32") -> tuple[dict, Path]:
    export, store = SCRATCH / f"{form}-{n_trials}-{n_units}", SCRATCH / f"{form}-{n_trials}-{n_units}.zarr.zip"
    shutil.rmtree(export, ignore_errors=True)
    make_export(export, form, n_trials, n_units)
    found = measured("_build", export, store, dtype)
    shutil.rmtree(export)
    return found, store


def main(what: str, *arguments: str) -> None:
    if what == "_build":
        print(json.dumps(build(Path(arguments[0]), Path(arguments[1]), arguments[2]) | {"peak_gb": peak_gb()}))
    elif what == "_train":
        print(json.dumps(train(Path(arguments[0])) | {"peak_gb": peak_gb()}))
    elif what == "_loops":
        print(json.dumps(closed_loops() | {"peak_gb": peak_gb()}))
    elif what == "loops":
        print(json.dumps(measured("_loops"), indent=1))
    elif what == "build":
        print(json.dumps(run_build(arguments[0], *map(int, arguments[1:3]), *arguments[3:])[0], indent=1))
    elif what == "train":
        _, store = run_build("responses", *map(int, arguments[:2]))
        print(json.dumps(measured("_train", store), indent=1))
    elif what == "linear":
        sizes = (4000, 8000, 16000, 32000, 64000)
        taken_s = []
        for n_units in sizes:
            found, _ = run_build("traces", 4000, n_units)
            taken_s.append(found["check_s"] + found["build_s"])
            print(f"{n_units} units: {taken_s[-1]:.2f} s, peak {found['peak_gb']:.2f} GB", flush=True)
        slope, fixed_s = np.polyfit(sizes, taken_s, 1)
        print(f"{fixed_s:.2f} s + {1000 * slope:.3f} ms a unit, r = {np.corrcoef(sizes, taken_s)[0, 1]:.4f}")
    if not what.startswith("_"):
        shutil.rmtree(SCRATCH, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
