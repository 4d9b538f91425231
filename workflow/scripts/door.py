"""What every script does around its library call: log, threads, device, provenance, and one clear error message."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The library beside this workflow is used even where it is not installed, as in an environment made by --sdm conda.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from neurostatic.provenance import checksum, commit, provenance, versions
from neurostatic.store import InputError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


class Tee:
    """Write to several streams."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()


@contextmanager
def door(job, device: str = "cpu") -> Iterator[None]:
    """Run the body of a script: its output goes to the terminal and to the job's log, which opens with what runs.

    An InputError ends the job with its message alone.
    """
    Path(job.log[0]).parent.mkdir(parents=True, exist_ok=True)
    with open(job.log[0], "w") as log:
        state = commit()
        print(
            f"{job.rule}: commit {state['commit']}{' (changed)' if state['dirty'] else ''}, device {device}, "
            + ", ".join(f"{name} {version}" for name, version in versions().items()),
            file=log,
        )
        sys.stdout = Tee(sys.__stdout__, log)
        sys.stderr = Tee(sys.__stderr__, log)
        try:
            yield
        except InputError as error:
            print(f"\n{job.rule}: {error}\n(log: {job.log[0]})\n", file=sys.stderr)
            sys.exit(1)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def origin(job, seed: int | None = None, device: str = "cpu") -> dict:
    """Provenance of what the job makes."""
    parameters = {name: value for name, value in job.params.items() if name != "code"}
    inputs = {str(path): checksum(path) for path in job.input if Path(path).is_file()}
    return provenance({"rule": job.rule, **parameters}, inputs, seed, device)


def compute_device(threads: int) -> str:
    """The GPU if there is one, else the CPU with this many threads; always deterministic algorithms."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a fifth of a training step, to find what we do not do
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc hands large blocks back, and fetching them anew is a quarter of a step
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return "cuda" if torch.cuda.is_available() else "cpu"
