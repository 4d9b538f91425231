"""What neuralpredictors 0.3 expects of Python 3.9 and of torchvision: to be imported before it."""

import collections
import collections.abc
import sys
import types

for name in ("Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))
sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))  # for a core that is not used here
