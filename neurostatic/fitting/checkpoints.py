"""Checkpoints: a training that was stopped, at whatever moment, goes on as if it had not been."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurostatic.store import written_whole


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds the last state of a training.

    Attributes:
        path: of the file; it is gone when the training is done.
        training: what is trained, and on what, as text: a file of another training is not resumed.
        epochs: between two writes.
    """

    path: Path
    training: str
    epochs: int = 1

    def read(self) -> dict[str, Any] | None:
        """The state to resume from; None if there is none, it is of another training, or the file is damaged."""
        try:
            content = torch.load(self.path, weights_only=True)
            return content["state"] if content["training"] == self.training else None
        except Exception:  # whatever is wrong with the file, training from the beginning is right
            return None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file by a newer state, whole or not at all."""
        with written_whole(self.path) as temporary:
            torch.save({"training": self.training, "state": state}, temporary)

    def remove(self) -> None:
        """Remove the file, and what a killed run may have left of one."""
        for path in [self.path, *self.path.parent.glob(f".{self.path.name}.*.tmp")]:
            path.unlink(missing_ok=True)
