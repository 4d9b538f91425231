"""What a job computes on: one GPU that no other job of this machine has, else the CPU."""

import ctypes
import fcntl
import getpass
import os
import tempfile
from pathlib import Path
from typing import IO

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def compute_device(threads: int, gpu: bool = True) -> str:
    """The GPU if there is one and the job's rule asks for one, else the CPU; always deterministic algorithms."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a fifth of a training step, to find what we do not do
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc hands large blocks back, and fetching them anew is a quarter of a step
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    if not gpu:
        return "cpu"
    n_gpus = torch.cuda.device_count()  # does not touch any of them
    if n_gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(n_gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = free_gpu(visible.split(","))
    return "cuda" if torch.cuda.is_available() else "cpu"


_held: list[IO] = []  # a lock lasts as long as its open file: to the end of the process, however it ends


def free_gpu(names: list[str]) -> str:
    """The first GPU that no other job of this user holds; it is held from now on. If all are held, the first."""
    for name in names:
        lock = open(Path(tempfile.gettempdir()) / f"neurostatic-{getpass.getuser()}-gpu-{name}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            _held.append(lock)
            return name
    return names[0]
