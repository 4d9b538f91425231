"""Inception loops as files: predict neurons, synthesise their most exciting images, show them, test the choice."""

import importlib
from typing import Any

__version__ = "0.9.0"


def __getattr__(name: str) -> Any:
    """`neurostatic.load(path)` reads a model file as a function (see `neurostatic.fitting.Predictor`).

    It is imported when it is asked for: the command line does without torch, and rules that rest on the version alone
    do not rest on the models.
    """
    if name == "load":
        return importlib.import_module("neurostatic.fitting.predictor").load
    raise AttributeError(f"module 'neurostatic' has no attribute '{name}'")
