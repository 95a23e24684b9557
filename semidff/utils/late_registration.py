"""Registers the parts of this package if mmdetection is imported after it.

mmdetection's registries import the modules of their ``locations`` at the first lookup. Importing this module, which
imports neither mmdetection nor PyTorch, adds ``semidff.registry`` to them as soon as ``mmdet.registry`` exists.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType


class RegistryFinder:
    """A finder of modules that Python asks first; it adds to the import of ``mmdet.registry`` and to no other."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != 'mmdet.registry':
            return None
        others = (finder for finder in sys.meta_path if finder is not cls)
        spec = next(filter(None, (other.find_spec(name, path, target) for other in others)), None)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                for registry in vars(module).values():
                    if getattr(registry, 'scope', None) == 'mmdet':
                        registry._locations = [*registry._locations, 'semidff.registry']

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, RegistryFinder)
