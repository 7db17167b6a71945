"""The benchmarks, one file each; beside them what they are made of: `base`, `open_ended`, `multiple_choice`.

A file put here is found. So is a class that derives from `Benchmark` anywhere else, in a notebook's cell say.
"""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__, f"{__name__}."):
    import_module(module.name)
