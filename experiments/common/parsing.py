"""Reads a command's flags, and refuses those that are wrong or would have no effect.

A flag on the command line comes before the file of `--config`, and the file before the defaults.
If `Command` has a method `presets`, it returns the defaults of the flags that are not given, as
those of `--quick`. If it has a method `check`, that gets the names of the flags that were given,
and raises InputError for values that do not fit together. What a method `expected` returns, see
`experiments.common.expectations`.
"""

import json
import sys
import tomllib
import types
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass, replace
from typing import (
    Annotated,
    Any,
    ClassVar,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro

from experiments.common.command import InputError
from experiments.common.flags import Always, Flat, Mode, Needs, Range, Unrecorded, With

Command = TypeVar("Command")
ROLES = (Mode, Always, Needs, With)


class Flag(NamedTuple):
    """A flag and its value."""

    name: str  # as in Python: learning_rate
    value: Any
    hint: Any  # its type
    marks: tuple[Any, ...]  # of `experiments.common.flags`, and tyro's

    def mark(self, *kinds: type) -> Any:
        """Its first mark of these kinds, or None."""
        return next((mark for mark in self.marks if isinstance(mark, kinds)), None)

    @property
    def is_recorded(self) -> bool:
        """Whether config.toml has it."""
        mode = self.mark(Mode)
        return self.mark(Unrecorded) is None and (mode is None or mode.trains)


def spell(name: str) -> str:
    """A flag as the user types it."""
    return "--" + name.replace("_", "-")


def has_no_effect(name: str, *modes: str) -> InputError:
    """The error that a flag was given which none of these modes uses."""
    with_modes = " or ".join(map(spell, modes))
    return InputError(f"{spell(name)} has no effect with {with_modes}: leave it out.")


def check_values(name: str, values: Sequence[Any]) -> None:
    """Raises InputError unless a flag has values, each of them once."""
    if not values:
        raise InputError(f"{spell(name)} needs at least one value.")
    if len(set(values)) < len(values):
        raise InputError(f"{spell(name)} names a value twice: {' '.join(map(str, values))}.")


def list_flags(command: Any) -> list[Flag]:
    """All flags of a command, and their values."""
    return list(_walk(command, "", ()))


def parse(
    kind: type[Command], program: str, description: str | None, args: Sequence[str] | None = None
) -> Command:
    """Reads the flags of `kind`, a dataclass, from the command line.

    Args:
      kind: its fields are the flags, see `experiments.common.flags`.
      program: the command, as the user types it.
      description: the text of `--help`.
      args: the words of the command line; by default this process's.

    Raises:
      InputError: a value is wrong, a flag has no effect, or the file of `--config` is unusable.
      SystemExit: with status 2, a flag is unknown or its value is of another type; with status 0,
        after `--help`.
    """
    typed = list(sys.argv[1:] if args is None else args)
    if "export" not in get_type_hints(kind) and "--export" in {x.split("=")[0] for x in typed}:
        raise InputError(
            f"{program} has no --export: only a network that is one stack of GRUs with layers "
            "before and after it, and no search, becomes an ONNX file."
        )
    options: dict[str, Any] = {"prog": program, "description": description}
    command = tyro.cli(kind, args=typed, **options)
    words = typed
    common: Any = getattr(command, "common", None)
    if common is not None and common.config is not None:
        words = [*_read_config(common.config, list_flags(command)), *typed]
        command = tyro.cli(kind, args=words, **options)
    if hasattr(command, "presets"):
        command = tyro.cli(kind, args=words, default=command.presets(), **options)
    flags = list_flags(command)
    for flag in flags:
        _check_value(spell(flag.name), flag.hint, flag.marks, flag.value)
    _check_roles(flags, _given(typed, flags))
    given = _given(words, flags)
    if hasattr(command, "check"):
        command.check(given)
    return replace(command, given=given) if hasattr(command, "given") else command


def recorded_flags(command: Any) -> list[Flag]:
    """The flags of a run that influence its results.

    If its settings differ from network to network, only those that were given, for all of them.
    """
    flags = [flag for flag in list_flags(command) if flag.is_recorded]
    given = getattr(command, "given", None)
    if given is None:
        return flags
    settings = {flag.name for flag in _walk(command.settings, "", (Flat,))}
    return [flag for flag in flags if flag.name in given or flag.name not in settings]


def format_config(command: Any, program: str) -> str:
    """The flags of a run as TOML, for `--config`."""
    lines = [f"{flag.name} = {_to_toml(flag.value)}" for flag in recorded_flags(command)]
    return "\n".join([f"# {program} --config THIS_FILE", *lines, ""])


def _walk(group: Any, prefix: str, marks: tuple[Any, ...]) -> Iterator[Flag]:
    hints = get_type_hints(type(group), include_extras=True)
    for name, hint in hints.items():
        bare, own = _without_marks(hint)
        if tyro.conf.Fixed in own or get_origin(bare) is ClassVar:
            continue
        value = getattr(group, name)
        role = () if any(isinstance(mark, ROLES) for mark in own) else marks
        if is_dataclass(value) or hasattr(value, "_fields"):
            is_flat = Flat in own or Flat in marks
            inherited = tuple(m for m in (*own, *role) if isinstance(m, ROLES) or m is Flat)
            yield from _walk(value, prefix if is_flat else f"{prefix}{name}.", inherited)
        else:
            yield Flag(prefix + name, value, bare, (*own, *role))


def _without_marks(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type without `Annotated`, and its marks."""
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _check_value(name: str, hint: Any, marks: tuple[Any, ...], value: Any) -> None:
    """Raises InputError unless the value is in the range of its type."""
    for mark in marks:
        if isinstance(mark, Range) and value not in mark:
            raise InputError(f"{name} must be {mark}, got {value}.")
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType) and value is not None:
        [part] = [part for part in parts if part is not type(None)]
        _check_value(name, *_without_marks(part), value)
    elif kind is tuple:
        repeated = parts[-1] is Ellipsis
        for i, element in enumerate(value):
            part = parts[0] if repeated else parts[i]
            place = f"each value of {name}" if repeated else name
            _check_value(place, *_without_marks(part), element)


def _check_roles(flags: list[Flag], given: frozenset[str]) -> None:
    """Raises InputError if a flag that was given has no effect."""
    active = {flag.name for flag in flags if flag.value not in (None, False, ())}
    modes = [flag for flag in flags if flag.mark(Mode) and flag.name in active]
    if len(modes) > 1:
        names = " and ".join(spell(flag.name) for flag in modes)
        raise InputError(f"{names} exclude each other: give one of them.")
    for flag in flags:
        if flag.name not in given:
            continue
        needs = flag.mark(Needs)
        if needs and not active & set(needs.names):
            names = " or ".join(map(spell, needs.names))
            raise InputError(
                f"{spell(flag.name)} has no effect without {names}: add it, or leave "
                f"{spell(flag.name)} out."
            )
        if not modes or flag.mark(Mode, Always, Needs):
            continue
        mode, allowed = modes[0], flag.mark(With)
        if mode.name not in allowed.modes if allowed else not mode.mark(Mode).trains:
            raise has_no_effect(flag.name, mode.name)


def _given(words: list[str], flags: list[Flag]) -> frozenset[str]:
    """The names of the flags among the words of a command line."""
    names = {flag.name: flag.name for flag in flags}
    for flag in flags:
        for mark in flag.marks:
            for alias in getattr(mark, "aliases", None) or ():
                names[alias.lstrip("-")] = flag.name
        names[f"no_{flag.name}"] = flag.name
    found = (word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return frozenset(names[name] for name in found if name in names)


def _read_config(path: Any, flags: list[Flag]) -> list[str]:
    """The flags in a TOML file, as words of a command line."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--config: {path} cannot be read as TOML ({reason}).") from error
    known = {flag.name: flag for flag in flags if not flag.mark(Unrecorded)}
    words: list[str] = []
    for name, value in _flatten(table, ""):
        if name not in known:
            raise InputError(
                f"--config: {path} has {name!r}, which is no flag that a file can set. "
                f"These are: {', '.join(known)}."
            )
        words += to_words(known[name], value)
    return words


def _flatten(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        name = prefix + key.replace("-", "_")
        if isinstance(value, dict):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


def to_words(flag: Flag, value: Any) -> list[str]:
    """A flag with a value, as words of a command line."""
    name = spell(flag.name)
    if isinstance(value, bool):
        return [name if value else spell(f"no_{flag.name}")]
    if isinstance(value, list | tuple):
        rows = (row if isinstance(row, list | tuple) else [row] for row in value)
        return [name, *(str(x) for row in rows for x in row)]
    return [name, str(value)]


def _to_toml(value: Any) -> str:
    """A value as TOML, which has no None: that is the string "None", as on the command line."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_to_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)
