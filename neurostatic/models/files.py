"""The model file: everything a trained network needs, with nothing beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurostatic.config.networks import Network
from neurostatic.models.networks import CorePlusReadout
from neurostatic.problems import InputError, NoModelError
from neurostatic.store import written_whole

FORMAT = 2  # 1: without the shape of the images, pyramid readouts only


@dataclass(frozen=True)
class TrainedNetwork:
    """A model file in memory, in eval mode and with frozen weights.

    Attributes:
        network: the network.
        unit_ids: scan -> ids of its units, in the order of the output.
        normalization: scan -> normalization of its data, as plain numbers.
        image_shape: (channels, height, width) of the images; None in files of format 1, which do not say.
    """

    network: CorePlusReadout
    unit_ids: dict[str, list[int]]
    normalization: dict[str, dict[str, Any]]
    image_shape: tuple[int, int, int] | None = None


def save_network(
    network: CorePlusReadout,
    path: str | Path,
    unit_ids: dict[str, list[int]],
    normalization: dict[str, dict[str, Any]],
    provenance: dict[str, Any],
) -> None:
    """Write a model file that needs nothing beside it: weights, config, unit ids, normalization, provenance."""
    content = {
        "network": network.config.settings(),
        "image_shape": list(network.image_shape),
        "unit_ids": {scan: [int(unit_id) for unit_id in ids] for scan, ids in unit_ids.items()},
        "normalization": normalization,
        "weights": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
    }
    _write(content, path, provenance)


def save_bad(reason: str, path: str | Path, provenance: dict[str, Any]) -> None:
    """Write a model file that says why there is no model (NoModelError)."""
    _write({"bad": reason}, path, provenance)


def _write(content: dict[str, Any], path: str | Path, provenance: dict[str, Any]) -> None:
    content = {"format": FORMAT, **content, "provenance": json.dumps(provenance, default=str)}
    with written_whole(path) as temporary:
        torch.save(content, temporary)


def read_model_file(path: str | Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read the content of a model file of this or an older format: plain data and tensors.

    Raises InputError if it is missing, unreadable or of a newer format.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        written = content["format"]
    except Exception as error:
        raise InputError(f"{path}: not a readable model file ({error}); delete it and run again") from error
    if written not in range(1, FORMAT + 1):
        raise InputError(
            f"{path}: model file of format {written}; this version reads formats 1 to {FORMAT}. A newer neurostatic "
            "wrote it: update, or train again"
        )
    return content


def load_network(path: str | Path, device: str | torch.device = "cpu") -> TrainedNetwork:
    """Read a model file.

    Raises InputError if it is missing, unreadable, or of a newer format; NoModelError if it says that there is none.
    """
    content = read_model_file(path, device)
    if "bad" in content:
        raise NoModelError(f"{path}: no model, {content['bad']}")
    try:
        n_units = {scan: len(ids) for scan, ids in content["unit_ids"].items()}
        image_shape = content.get("image_shape")
        if image_shape is None:
            image_shape = (content["weights"]["core.convolutions.0.weight"].shape[1], 36, 64)
        network = CorePlusReadout(Network(**content["network"]), n_units, tuple(image_shape))
        network.load_state_dict(content["weights"])
        network.to(device).eval().requires_grad_(False)
        known = tuple(image_shape) if "image_shape" in content else None
        return TrainedNetwork(network, content["unit_ids"], content["normalization"], known)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a readable model file ({error}); delete it and run again") from error
