"""How fast is it, beside others in the same run? Writes benchmarks/latest.json.

    python benchmarks/speed.py [training] [memory] [images] [windows] [startup] [rules]    by default all (`make bench`)

Every figure is a ratio to a peer in the same run, interleaved, the median of some rounds: machines are shared, and
times of two runs cannot be compared. Peers are the package neuralpredictors and, where there is none, plain code
(`speed_images`). Both sides are checked to give the same before they are timed.
"""

import ast
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import speed_images as images
import speed_training as training

ROOT = Path(__file__).parents[1]
LATEST = Path(__file__).parent / "latest.json"
PACKAGES = ("torch", "numpy", "neuralpredictors", "snakemake")
THREADS = os.cpu_count()
N_BATCHES = 20


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, one after the other in every round; the first round is not counted."""
    seconds = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            began_s = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began_s)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def of_training() -> dict:
    """A training step of the published network against that of neuralpredictors, of 1,000 and of 5,000 units."""
    found = {}
    for n_units, rounds in ((1000, 7), (5000, 5)):
        steps = {"ours": training.our_step(n_units), "peer": training.peer_step(n_units)}
        losses = {name: [step() for _ in range(2)] for name, step in steps.items()}
        np.testing.assert_allclose(losses["ours"], losses["peer"], rtol=1e-5)
        seconds = medians(steps | {"bf16": training.bf16_step(n_units)}, rounds)
        found[f"train_step_s_{n_units}"] = seconds["ours"]
        found[f"train_step_vs_neuralpredictors_{n_units}"] = seconds["peer"] / seconds["ours"]
        found[f"train_step_vs_neuralpredictors_{n_units}_bf16"] = seconds["peer"] / seconds["bf16"]
        print(f"training step, {n_units} units: {seconds}", flush=True)
    one_batch, convolutions = training.batch_of_data(1000), training.convolutions_alone()

    def batches() -> None:
        for _ in range(N_BATCHES):
            one_batch()

    seconds = medians({"batches": batches, "convolutions": convolutions, "step": training.our_step(1000)}, 7)
    found["batch_share_of_step"] = seconds["batches"] / N_BATCHES / seconds["step"]
    found["convolutions_share_of_step"] = seconds["convolutions"] / seconds["step"]
    found["convolutions_gflop_s"] = training.step_gflop() / seconds["convolutions"]
    found["step_gflop_s"] = training.step_gflop() / seconds["step"]
    return found


def of_memory() -> dict:
    """Peak resident memory of three steps, each in a process of its own: beside the peer's, that above the imports."""

    def peak(who: str, n_units: int) -> list[int]:
        command = [sys.executable, str(ROOT / "benchmarks/speed_training.py"), who, str(n_units)]
        return [int(n) for n in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]

    (ours, _), (peer, _), (_, of_80000) = peak("ours", 5000), peak("peer", 5000), peak("ours", 80000)
    print(f"memory of 5,000 units: ours {ours / 1e9:.2f} GB, peer {peer / 1e9:.2f} GB", flush=True)
    return {
        "peak_memory_gb_5000": ours / 1e9,
        "peak_memory_ratio_5000": ours / peer,
        "train_memory_80000_gb": of_80000 / 1e9,
    }


def of_images() -> dict:
    """MEIs, the Gabor search and contrast matching against the plain ways."""
    networks = images.networks()
    peers, ensemble = images.peers_of(networks), images.ensemble_of(networks)
    few = replace(images.PUBLISHED, iterations=20)
    plain = [images.one_at_a_time(peers, unit, few) for unit in range(2)]
    np.testing.assert_allclose(images.our_meis(ensemble, few)[:2], plain, atol=0.05)
    calls = {"plain": lambda: images.one_at_a_time(peers, 0, few), "ours": lambda: images.our_meis(ensemble, few)}
    seconds = medians(calls, 3)
    found = {"mei_vs_one_at_a_time": seconds["plain"] * images.N_MEIS / seconds["ours"]}
    print(
        f"20 steps of an MEI: plain {seconds['plain']:.2f} s, ours {seconds['ours'] / images.N_MEIS:.3f} s", flush=True
    )

    drive = {
        name: images.drive_at_contrast(ensemble, images.our_meis(ensemble, config), images.PROJECTED.contrast_px)
        for name, config in (("published", images.AT_CONTRAST), ("projected", images.PROJECTED))
    }
    projected_s = medians({"projected": lambda: images.our_meis(ensemble, images.PROJECTED)}, 3)["projected"]
    plain_s = seconds["plain"] * images.AT_CONTRAST.iterations / few.iterations  # of one image
    found["mei_same_activation_vs_one_at_a_time"] = plain_s * images.N_MEIS / projected_s
    found["mei_same_activation_least"] = float((drive["projected"] / drive["published"]).min())
    print(f"MEIs at one contrast: plain {plain_s:.0f} s each, ours {projected_s:.1f} s for {images.N_MEIS}", flush=True)

    np.testing.assert_array_equal(images.our_gabors(ensemble), images.gabors_in_batches(peers))
    calls = {"plain": lambda: images.gabors_in_batches(peers), "ours": lambda: images.our_gabors(ensemble)}
    seconds = medians(calls, 3)
    found["gabor_search_speedup"] = seconds["plain"] / seconds["ours"]
    found["gabor_search_s_72800"] = seconds["ours"] * images.N_GABORS / images.N_SOME_GABORS
    print(f"{images.N_SOME_GABORS} Gabors: {seconds}", flush=True)

    candidates = images.natural_like(1000)
    matched = images.our_matches(candidates, 111, 16)
    np.testing.assert_allclose(images.match_by_rendering(candidates[0], 111, 16), matched[0], atol=1e-8)
    calls = {
        "plain": lambda: images.match_by_rendering(candidates[0], 111, 16),
        "ours": lambda: images.our_matches(candidates, 111, 16),
    }
    seconds = medians(calls, 3)
    found["contrast_matching_speedup"] = seconds["plain"] * len(candidates) / seconds["ours"]
    print(f"contrast: plain {seconds['plain']:.2f} s an image, ours {seconds['ours']:.2f} s for 1,000", flush=True)
    return found


def of_windows() -> dict:
    """A unit that looks at one point, asked with the window around it and with the whole image."""
    window, whole = images.window_and_whole(128, 200)
    np.testing.assert_allclose(window(), whole(), atol=1e-5)
    seconds = medians({"window": window, "whole": whole}, 7)
    return {"window_vs_whole_image": seconds["whole"] / seconds["window"]}


def of_startup() -> dict:
    """Import of the package, and a dry run of a project of the paper's size."""

    code = "from time import perf_counter as now; began_s = now(); import neurostatic; print(now() - began_s)"
    command = [sys.executable, "-c", code]
    imports = [subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout for _ in range(7)]
    scans = {f"mouse{m}-day{d}": "simulate" for m in range(1, 3) for d in range(1, 6)}
    overlay = yaml.safe_load((ROOT / "workflow/config/paper.yaml").read_text()) | {"scans": scans}
    overlay["datasets"] = {"mouse1": ["mouse1-day1"], "mouse2": ["mouse2-day1"]}
    overlay["loops"] = {
        f"loop{m}": {
            "dataset": f"mouse{m}", "source": f"mouse{m}-day1", "oracle": [f"mouse{m}-day5"],
            "targets": dict(zip([f"mouse{m}-day{d}" for d in (2, 3, 4)],
                                ("mei_vs_rf", "mei_vs_gabor", "mei_vs_natural"), strict=True)),
        }
        for m in (1, 2)
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "paper.yaml"
        config.write_text(yaml.safe_dump(overlay))
        command = [sys.executable, "-m", "snakemake", "-n", "-q", "-s", str(ROOT / "Snakefile"), "-d", folder]
        command += ["--configfile", str(config)]
        dry = medians({"dry": lambda: subprocess.run(command, check=True, capture_output=True)}, 2)["dry"]
    return {"import_s": statistics.median(map(float, imports)), "dry_run_paper_s": dry}


def of_rules() -> dict:
    """What a job costs beside its work: starting Python and loading what its script imports, as Snakemake does."""

    def script(name: str) -> Callable[[], object]:
        tree = ast.parse((ROOT / f"workflow/scripts/{name}.py").read_text())
        imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        path = [str(ROOT), str(ROOT / "workflow/scripts")]
        code = "\n".join([f"import sys; sys.path[:0] = {path}", *imports])
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    def torch_alone() -> None:
        subprocess.run([sys.executable, "-c", "import torch"], check=True)

    names = ("import_scan", "summarize_confusion", "write_report", "train_model", "make_meis")
    seconds = medians({"torch": torch_alone} | {name: script(name) for name in names}, 3)
    return {f"start_s_{name}": value for name, value in seconds.items()}


SECTIONS = {
    "training": of_training,
    "memory": of_memory,
    "images": of_images,
    "windows": of_windows,
    "startup": of_startup,
    "rules": of_rules,
}


def main() -> None:
    torch.set_num_threads(THREADS)
    latest = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    for name in sys.argv[1:] or SECTIONS:
        latest |= SECTIONS[name]()
    latest |= {
        "threads": THREADS,
        "processor": platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }
    latest |= {f"version_{package}": importlib.metadata.version(package) for package in PACKAGES}
    rounded = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in latest.items()}
    LATEST.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
