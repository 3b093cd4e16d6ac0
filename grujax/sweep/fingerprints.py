"""What computed a result: digests of the user's functions, and the versions that ran them.

A fingerprint is the sha256 of a function's StableHLO, as `jax.export` lowers it for a CPU, and one
of the arrays that it closes over. It depends on neither the machine nor its devices: exported
programs contain no kernel of grujax, so a sweep that began with a kernel resumes where there is
none. It does not depend on source lines or the names of functions either. Two versions of JAX may
lower one function differently, so the versions stand beside it. Programs with Python callbacks
cannot be exported: theirs is the sha256 of the jaxpr, and what the callbacks do is not seen.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np
from jax import export
from jax.extend import core

from grujax.sweep.contract import constants_of
from grujax.sweep.plan import is_typed_key, jax_settings, key_data
from grujax.sweep.progress import warn

_DEFINED = re.compile(r'func\.func (?:public |private )?(@"[^"]*"|@[\w.$-]+)')
_SYMBOL = re.compile(r'@"[^"]*"|@[\w.$-]+')
_LARGE = re.compile(r'dense<"0x[0-9A-Fa-f]*">')
_ADDRESS = re.compile(r"\b0x[0-9A-Fa-fX]+")


class Fingerprint(NamedTuple):
    """What a function computes."""

    name: str  # of the function, for messages; not compared
    program: str
    constants: str


class Origin(NamedTuple):
    """What a result belongs to, and what computed it."""

    sweep: str  # see `grujax.sweep.storage.identify`
    functions: dict[str, Fingerprint]  # by the argument that they are given as
    versions: dict[str, str]

    def to_json(self) -> str:
        """A text for `from_json`."""
        functions = {name: one._asdict() for name, one in self.functions.items()}
        return json.dumps(self._asdict() | {"functions": functions})

    @classmethod
    def from_json(cls, text: str) -> Origin:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        functions = {name: Fingerprint(**one) for name, one in fields["functions"].items()}
        return cls(fields["sweep"], functions, fields["versions"])


def versions() -> dict[str, str]:
    """Versions and settings that may change what a function is compiled to."""
    settings = dict(jax_settings())
    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "grujax": import_module("grujax").__version__,
        "platform": jax.default_backend(),
        "default float": jax.dtypes.canonicalize_dtype(np.float64).name,
        "matmul precision": str(settings["default_matmul_precision"]),
    }


def fingerprint(function: Callable, call: Callable, *arguments: Any) -> Fingerprint:
    """The fingerprint of a user's function.

    Args:
        function: the function.
        call: calls it with `arguments`, arrays or their shapes and dtypes.
        *arguments: see there.
    """
    closed, shapes = jax.make_jaxpr(lambda *a: call(*a), return_shape=True)(*arguments)
    program = _program_text(closed, jax.tree.structure(shapes), arguments)
    constants = hashlib.sha256()
    for constant in constants_of(closed):
        constants.update(_constant_bytes(constant))
    digest = hashlib.sha256(program.encode()).hexdigest()
    return Fingerprint(describe_function(function), digest, constants.hexdigest())


def describe_function(function: Callable) -> str:
    """A name that is the same in the next process; that of a `partial` has its arguments."""
    if not isinstance(function, partial):
        return getattr(function, "__qualname__", type(function).__name__)
    arguments = [_describe(value) for value in function.args]
    arguments += [f"{name}={_describe(value)}" for name, value in function.keywords.items()]
    return f"{describe_function(function.func)}({', '.join(arguments)})"


def difference(there: Origin, here: Origin) -> str | None:
    """How two results of one sweep came about differently, as a sentence; None if they did not."""
    changes = [
        _change(name, there.functions.get(name), here.functions.get(name))
        for name in sorted(there.functions.keys() | here.functions.keys())
    ]
    texts = [text for text in changes if text is not None]
    if not texts:
        return None
    what = "; ".join(texts)
    other = [
        f"{name} is {there.versions.get(name)} there and {here.versions.get(name)} here"
        for name in sorted(there.versions.keys() | here.versions.keys())
        if there.versions.get(name) != here.versions.get(name)
    ]
    if not other:
        return f"{what}. All versions are the same: the code has changed."
    return f"{what}. {'; '.join(other)}: that, or changed code, is the reason."


def check_origins(
    directory: Path, origins: Iterable[Origin | None], here: Callable[[], Origin]
) -> None:
    """Compares what computed the results in a directory with what would compute them now.

    Args:
        directory: for messages.
        origins: of the results; None for those that do not say it.
        here: what would compute them now; not called if there is nothing to compare.

    Raises:
        ValueError: they differ.
    """
    different = {origin.to_json(): origin for origin in origins if origin is not None}
    for there in different.values():
        reason = difference(there, here())
        if reason is not None:
            raise ValueError(
                f"`directory` {directory} has results that were computed differently: {reason} "
                'Choose another directory, delete this one to start over, or pass resume="anyway" '
                "to keep them and go on."
            )


def warn_of_unknown(directory: Path, origins: Iterable[Origin | None]) -> None:
    """Warns of results from earlier versions, which did not note what computed them."""
    if any(origin is None for origin in origins):
        warn(
            f"{directory} has results of an earlier grujax, which did not note what computed them. "
            "They are kept: make sure that the code is still the same."
        )


def _change(name: str, there: Fingerprint | None, here: Fingerprint | None) -> str | None:
    if there is None or here is None:
        return f"`{name}` is {'new' if there is None else 'missing'} here"
    named = f" (it is `{there.name}` there and `{here.name}` here)"
    named = named if there.name != here.name else ""
    if there.program != here.program:
        return f"`{name}` computes something else here{named}"
    if there.constants != here.constants:
        return f"`{name}` closes over arrays with other values here{named}"
    return None


def _program_text(closed: core.ClosedJaxpr, results: Any, arguments: tuple) -> str:
    """A program without its constants and without the names of functions."""

    def call(constants: list, *arguments: Any) -> Any:
        program = core.jaxpr_as_fun(core.ClosedJaxpr(closed.jaxpr, constants))
        return jax.tree.unflatten(results, program(*jax.tree.leaves(arguments)))

    operands = (list(closed.consts), *arguments)
    try:
        exported = export.export(jax.jit(call), platforms=("cpu",))(*operands)
        # `exported.mlir_module()` has the source lines of the code, and this text does not.
        traced = jax.jit(exported.call).trace(*operands)
        text = traced.lower(lowering_platforms=("cpu",)).as_text()
    except MemoryError:
        raise
    except Exception:  # callbacks, and kernels for other platforms: they cannot be exported
        return f"jaxpr {_ADDRESS.sub('', str(closed.jaxpr))}"
    text = _LARGE.sub("dense<>", text)
    symbols = {symbol: f"@{index}" for index, symbol in enumerate(_DEFINED.findall(text))}
    return _SYMBOL.sub(lambda match: symbols.get(match[0], match[0]), text)


def _constant_bytes(constant: Any) -> bytes:
    """Shape, dtype and content; of an array that other processes have parts of, no content."""
    if is_typed_key(constant):
        constant = key_data(constant)
    head = f"{constant.dtype} {list(constant.shape)} ".encode()
    is_whole = getattr(constant, "is_fully_addressable", True)
    return head + (np.asarray(constant).tobytes() if is_whole else b"")


def _describe(value: Any) -> str:
    if callable(value):
        return describe_function(value)
    plain = isinstance(value, bool | int | float | str | tuple)
    return repr(value) if plain else type(value).__name__
