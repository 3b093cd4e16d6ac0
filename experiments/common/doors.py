"""The names that a command offers to other commands, without importing it before they are used."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def open_door(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Makes the function `__getattr__` of a package, which imports a name when it is used.

    Args:
      package: the package's `__name__`.
      names: the names that each of its modules offers; its own name means the module itself.
    """
    modules = {name: module for module, offered in names.items() for name in offered}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{modules[name]}")
        return module if modules[name] == name else getattr(module, name)

    return get
