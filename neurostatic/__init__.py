"""Inception loops as files: predict neurons, synthesise their most exciting images, show them, test the choice."""

__version__ = "0.1.0"
