"""Registers `megn` in TensorFlow Datasets once that is imported: before this package, or later.

TensorFlow Datasets takes longer to import than all of this package, and most of its users only draw faces or read
photos; so that this package does not import it for them, a hook waits for the import.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_AWAITED, _BUILDER = "tensorflow_datasets", "tfds_megn.megn_dataset_builder"


def register() -> None:
    """Imports the builder, which registers it, now or right after the import of TensorFlow Datasets."""
    if _AWAITED in sys.modules:
        importlib.import_module(_BUILDER)
    elif not any(isinstance(finder, _Hook) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Hook())


class _Hook(MetaPathFinder):
    """Finds TensorFlow Datasets as the other finders do, and makes its import end with that of the builder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of TensorFlow Datasets, with another loader; None for other modules."""
        if fullname != _AWAITED:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            importlib.import_module(_BUILDER)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
