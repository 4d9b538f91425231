"""The virtual mouse: cells whose truth is known, and raw exports of their recordings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
