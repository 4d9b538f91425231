"""Floor 1, data: raw scan exports and public recordings become data sets that networks are fitted to."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
