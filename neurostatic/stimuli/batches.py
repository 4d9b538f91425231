"""Many images through a network at once: as many as memory holds, and fewer when a GPU says no; with progress."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from neurostatic.stimuli.ascent import Respond

Result = TypeVar("Result")

N_REPORTS = 10  # of the progress of one search
RESERVE = 2.5  # what runs beside the tensors kept for the gradient: gradients, temporary maps, fragments


def images_that_fit(respond: Respond, questions: torch.Tensor, images: torch.Tensor, free_bytes: float) -> int:
    """How many images can be followed through `respond` with their gradients, by what one more image was seen to keep.

    Args:
        questions, images: at least two, as `respond` takes them.
        free_bytes: memory to fill.
    """
    one, two = (_bytes_kept(respond, questions[:n], images[:n]) for n in (1, 2))
    per_image = max(two - one, 1) * RESERVE
    return max(1, int((free_bytes - one * RESERVE) // per_image))


def _bytes_kept(respond: Respond, questions: torch.Tensor, images: torch.Tensor) -> int:
    """Memory that the tensors kept for the gradient take, each storage once."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        respond(images.detach().requires_grad_(True), questions)
    return sum(storages.values())


def in_batches(
    work: Callable[[slice], Result], n_images: int, batch_size: int, report: Callable[[str], None]
) -> list[Result]:
    """Call `work` on slices of at most `batch_size` of the images; half as many when GPU memory does not do.

    Returns:
        What each call returned, in order.
    """
    results: list[Result] = []
    start = 0
    while start < n_images:
        part = slice(start, min(start + batch_size, n_images))
        if part.stop - part.start < n_images:
            report(f"images {part.start + 1} to {part.stop} of {n_images}")
        try:
            results.append(work(part))
            start = part.stop
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = min(batch_size, part.stop - part.start) // 2 or 1
            report(f"out of memory: going on with {batch_size} images at a time")
    return results


def timed_batches(n: int, size: int, what: str, report: Callable[[str], None]) -> Iterator[slice]:
    """Slices that cover 0..n; says about every tenth of them how far it is and how long it will take."""
    began_s, reported = time.monotonic(), 0
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
        done = min(start + size, n)
        if done * N_REPORTS // n > reported:
            reported = done * N_REPORTS // n
            left_s = (time.monotonic() - began_s) / done * (n - done)
            report(f"{done} of {n} {what} (about {left_s:.0f} s left)")
