"""What a compiled program depends on besides the user's functions: hyperparameters, key, devices.

Trials are spread over a mesh with the single axis `trials`. Each device runs its own share, and the
devices do not wait for one another inside a program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from grujax.checks import check_choice, check_integer, check_key, describe, is_traced

ROWS = PartitionSpec("trials")

Static = tuple[tuple[str, Any], ...]  # hyperparameters and their values


class KeyType(NamedTuple):
    """The type of a random key: shape and dtype of its data, and the implementation if typed."""

    shape: tuple[int, ...]
    dtype: str
    implementation: str | None

    @property
    def struct(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the key's data."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    def wrap(self, data: Array) -> Array:
        """The key with these data: the inverse of `key_data`."""
        if self.implementation is None:
            return data
        return jax.random.wrap_key_data(data, impl=self.implementation)


class Plan(NamedTuple):
    """What compiled programs depend on besides the user's functions and JAX's own settings."""

    trials: int  # at most per chunk; of a population: its members
    traced: tuple[tuple[str, str], ...]  # hyperparameters and their dtypes
    key: KeyType
    strategy: str
    devices: tuple[jax.Device, ...]
    static: Static = ()
    fit_memory: bool = False  # whether a chunk shrinks to the memory available

    @property
    def capacity(self) -> int:
        """Trials per device, rounded up."""
        return -(-self.trials // len(self.devices))

    @property
    def slots(self) -> int:
        """The number of trials, rounded up to a multiple of the devices."""
        return self.capacity * len(self.devices)

    @property
    def mesh(self) -> Mesh:
        """All devices on one axis."""
        return Mesh(np.array(self.devices), ("trials",))

    @property
    def values(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of each traced hyperparameter of one trial."""
        return {name: jax.ShapeDtypeStruct((), np.dtype(dtype)) for name, dtype in self.traced}

    def spread(self, run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """`run(common, rows)` on each device, with its share of the rows [slots, ...]."""
        return jax.shard_map(
            run,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), ROWS),
            out_specs=ROWS,
            check_vma=False,  # it refuses scans whose carry starts as a constant
        )


def trial_key(key: Array, index: int | Array) -> Array:
    """The random key of trial `index`, which is `jax.random.fold_in(key, index)`.

    Args:
        key: the key of the sweep.
        index: the number of the trial, an integer `[]` of at least 0; may be traced.

    Returns:
        One key, of the same kind as `key`.

    Raises:
        ValueError: for a key that is none, or an index that is no such integer.

    Example:
        >>> key = jax.random.key(0)
        >>> bool(trial_key(key, 3) == jax.random.fold_in(key, 3))
        True
    """
    check_key("key", key)
    is_known = not is_traced(index) or jnp.shape(index) != ()
    if is_known or not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        index = check_integer("index", index, 0, 2**32 - 1)
    return jax.random.fold_in(key, index)


def is_typed_key(array: Any) -> bool:
    """Whether an array, or its shape and dtype, holds keys of `jax.random.key`."""
    return jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)


def key_data(key: Array) -> np.ndarray:
    """The numbers that a random key of either kind consists of."""
    return np.asarray(jax.random.key_data(key) if is_typed_key(key) else key)


def key_type(key: Array) -> KeyType:
    """The type of a key. Raises ValueError unless it is one JAX random key, not traced."""
    check_key("key", key)
    if is_traced(key):
        raise ValueError("`key` must not be traced: call this outside of `jax.jit` and `jax.vmap`.")
    data = key_data(key)
    implementation = str(jax.random.key_impl(key)) if is_typed_key(key) else None
    return KeyType(data.shape, data.dtype.name, implementation)


def choose_devices(
    devices: Sequence[jax.Device] | int | None, strategy: str | None
) -> tuple[tuple[jax.Device, ...], str]:
    """The devices and the strategy, with defaults as in `grujax.sweep.run`.

    Raises:
        ValueError: no devices, the same one twice, more than there are, or something else; or an
            unknown strategy.
    """
    places: Any = jax.local_devices() if devices is None else devices
    if is_count(devices):
        places = first_devices(check_integer("devices", devices))
    is_list = isinstance(places, list | tuple)
    if not is_list or not all(isinstance(place, jax.Device) for place in places):
        raise ValueError(
            f"`devices` must be a list of JAX devices or their number, got {describe(devices)}."
        )
    if not places or len(set(places)) < len(places):
        raise ValueError(
            f"`devices` must name at least one device, and each once, got {len(places)}."
        )
    check_choice("strategy", strategy, ("map", "vmap"), optional=True)
    return tuple(places), strategy or ("map" if places[0].platform == "cpu" else "vmap")


def choose_workers(devices: Any, strategy: str | None, is_shared: bool) -> tuple[int | None, str]:
    """How many devices each worker of an executor uses, and the strategy, as in `choose_devices`.

    Args:
        devices: their number; None: all.
        strategy: None is chosen as for this process.
        is_shared: whether several processes share the sweep.

    Raises:
        ValueError: devices that are not a number, an unknown strategy, or a shared sweep.
    """
    if devices is not None and not is_count(devices):
        raise ValueError(
            "`devices` must be the number of devices that each worker of `executor` uses, got "
            f"{describe(devices)}."
        )
    if is_shared or jax.process_count() > 1:
        raise ValueError(
            "`executor` shares the trials among its own workers: it cannot be combined with "
            "`processes` and `process`, or with several processes of JAX."
        )
    count = None if devices is None else check_integer("devices", devices)
    return count, choose_devices(None, strategy)[1]


def is_count(devices: Any) -> bool:
    """Whether devices are given as a number."""
    return isinstance(devices, int | np.integer)


def first_devices(count: int) -> list[jax.Device]:
    """The first devices of this process. Raises ValueError if it has fewer."""
    places = jax.local_devices()
    if len(places) < count:
        raise ValueError(f"`devices` is {count}, but this process has {len(places)}.")
    return places[:count]


# JAX's own settings that decide what a function is traced and compiled to. Each is also the name of
# a context manager of JAX.
_SETTINGS = (
    "enable_x64",
    "default_matmul_precision",
    "default_prng_impl",
    "threefry_partitionable",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "debug_nans",
    "debug_infs",
)


def jax_settings() -> tuple[tuple[str, Any], ...]:
    """Names and values of JAX's own settings that a compiled program depends on."""
    return tuple((name, getattr(jax.config, f"jax_{name}")) for name in _SETTINGS)


@contextmanager
def with_settings(settings: tuple[tuple[str, Any], ...]) -> Iterator[None]:
    """JAX's settings as `jax_settings` returned them, perhaps in another process."""
    with ExitStack() as stack:
        for name, value in settings:
            stack.enter_context(getattr(jax, name)(value))
        yield


def add_axis(size: int, structs: Any) -> Any:
    """Shapes and dtypes [...] as [size, ...]."""
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype), structs)
