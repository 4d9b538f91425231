"""Stimuli: most exciting images, masks, controls, and the sets of images to show, in cd/m2."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
