"""Cells in a tree of arrays: which directions and layers they are, and whether one is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from grujax.convert.checks import measure, quote
from grujax.convert.layouts import Layout, read_cell
from grujax.convert.trees import check_prefix, list_prefixes
from grujax.layers import Layer
from grujax.params import GRUParams


class _Cell(NamedTuple):
    """The arrays of one cell."""

    match: re.Match  # of the path of one of them
    arrays: dict[str, Any]  # by the names of the leaves

    def path_of(self, leaf: str) -> str:
        """The path of one of its arrays."""
        return _rename(self.match, leaf=leaf)


# The cells by layer and direction; None where the paths name none.
_Stack = dict[int | None, dict[str | None, _Cell]]


def read_layers(
    name: str,
    leaves: Mapping[str, Any],
    layout: Layout,
    prefix: str = "",
    form_of: Callable[[str], bool] | None = None,
) -> Layer | list[Layer]:
    """Converts the arrays of a cell, of two directions, or of a stack of layers.

    Args:
        name: the argument that holds them, in messages.
        leaves: all arrays of the tree, by path.
        layout: how the framework stores a cell.
        prefix: where the GRU is.
        form_of: returns `reset_after` of the cell at a path; None means the layout's form.

    Raises:
        ValueError: if the names under `prefix` are not those of one GRU, or an array has the wrong
            shape or dtype.
    """
    cells = _find_cells(name, leaves, layout, check_prefix(prefix, layout.naming.separator))
    stack = _arrange(name, cells)
    _check_complete(name, layout, stack)
    layers: list[Layer] = []
    sizes: dict[str, int] = {}
    for index in sorted(stack, key=lambda index: index or 0):
        directions = _read_directions(layout, stack[index], sizes, form_of)
        layers.append(directions[0] if len(directions) == 1 else (directions[0], directions[1]))
        sizes = {}
        if len(directions) == 1 or layout.naming.as_one:  # else the directions may be merged
            sizes["I"] = sum(params.hidden_size for params in directions)
        if layout.naming.as_one:
            sizes["H"] = directions[0].hidden_size
    return layers[0] if None in stack else layers


def _read_directions(
    layout: Layout,
    cells: Mapping[str | None, _Cell],
    sizes: Mapping[str, int],
    form_of: Callable[[str], bool] | None,
) -> list[GRUParams]:
    """The one or two directions of a layer."""
    known, directions = dict(sizes), []
    for _, cell in sorted(cells.items(), key=lambda item: _rank(layout, item[0])):
        form = layout
        if form_of is not None:
            form = layout._replace(reset_after=form_of(cell.path_of("")))
        params = read_cell(form, cell.arrays, cell.path_of, **known)
        known["I"] = params.input_size
        if layout.naming.as_one:
            known["H"] = params.hidden_size
        directions.append(params)
    if list(cells) == [layout.naming.alone]:  # it serves as both
        directions *= 2
    return directions


def _rank(layout: Layout, direction: str | None) -> int:
    """The place of a direction: 0 for forward and for the only one, 1 for backward."""
    return int(direction is not None and direction == layout.naming.directions[1])


def _find_cells(name: str, leaves: Mapping[str, Any], layout: Layout, prefix: str) -> list[_Cell]:
    """The cells under `prefix`; raises ValueError if there is none, or something else."""
    pattern = _pattern_of(layout)
    below = [path for path in leaves if path.startswith(prefix)]
    unknown = [path for path in below if not pattern.fullmatch(path, len(prefix))]
    if unknown or not below:
        problem = f"names that are not of a GRU: {quote(unknown)}" if unknown else "nothing"
        where = list_prefixes([path for path in _prefixes_of(leaves, layout) if path != prefix])
        if any(path.endswith(f"{layout.naming.separator}h0") or path == "h0" for path in unknown):
            where = (
                "a learned initial state `h0` is not part of `GRUParams`: convert the rest alone, "
                "by `prefix`, and pass `h0` to the function that runs it."
            )
        raise ValueError(f"`{name}` has {problem} under `prefix` {prefix!r}; {where}")
    return _group([pattern.fullmatch(path, len(prefix)) for path in below], leaves)


def _pattern_of(layout: Layout) -> re.Pattern:
    """The pattern of the path of an array, without the prefix."""
    names = "|".join(map(re.escape, layout.names()))
    return re.compile(layout.naming.pattern.replace("{leaf}", f"(?P<leaf>{names})"))


def _rename(match: re.Match, **parts: str) -> str:
    """The path of another array, named like the one of `match` except for these groups."""
    path = match.string
    spans = {match.span(group): text for group, text in parts.items()}
    for (start, end), text in sorted(spans.items(), reverse=True):
        path = path[:start] + text + path[end:]
    return path


def _group(matches: Iterable[Any], leaves: Mapping[str, Any]) -> list[_Cell]:
    """The cells whose arrays have these paths."""
    cells: dict[str, _Cell] = {}
    for match in matches:
        cell = cells.setdefault(_rename(match, leaf=""), _Cell(match, {}))
        cell.arrays[match["leaf"]] = leaves[match.string]
    return list(cells.values())


def _prefixes_of(leaves: Mapping[str, Any], layout: Layout) -> list[str]:
    """The prefixes under which there are whole cells of the right shape, for a message."""
    separator = re.escape(layout.naming.separator)
    pattern = re.compile(f"(?:^|(?<={separator})){_pattern_of(layout).pattern}$")
    [recurrent, *_] = [leaf for leaf in layout.leaves if "w_h" in leaf.holds]
    found = []
    for cell in _group(filter(None, map(pattern.search, leaves)), leaves):
        shape = getattr(cell.arrays.get(recurrent.name), "shape", None)
        whole = all(leaf.name in cell.arrays for leaf in layout.leaves)
        if whole and shape is not None and measure(recurrent.axes, shape, {}):
            found.append(cell.match.string[: cell.match.start()])
    return list(dict.fromkeys(found))


def _arrange(name: str, cells: list[_Cell]) -> _Stack:
    """Orders cells by layer and direction; raises ValueError if two are in one place."""
    stack: _Stack = {}
    for cell in cells:
        parts = cell.match.groupdict()
        layer = None if parts.get("layer") is None else int(parts["layer"])
        stack.setdefault(layer, {}).setdefault(parts.get("direction"), cell)
    mixed = None in stack and len(stack) > 1
    mixed |= any(None in directions and len(directions) > 1 for directions in stack.values())
    if mixed or len(cells) > sum(map(len, stack.values())):
        paths = [cell.path_of("") for cell in cells]
        raise ValueError(
            f"`{name}` must hold one GRU under `prefix`, got cells at {quote(paths)}, which are "
            "not the layers or directions of one."
        )
    return stack


def _check_complete(name: str, layout: Layout, stack: _Stack) -> None:
    """Raises ValueError if a layer, a direction or an array is missing."""
    missing = list(islice(_missing(layout, stack), 9))
    if missing:
        layers = "" if None in stack else f" of {1 + max(layer or 0 for layer in stack)} layers"
        others = " and others" if len(missing) > 8 else ""
        raise ValueError(f"`{name}` misses {quote(missing[:8])}{others} of a GRU{layers}.")


def _missing(layout: Layout, stack: _Stack) -> Iterator[str]:
    """The paths of the arrays that are missing, layer by layer."""
    all_names = {
        leaf for layer in stack.values() for cell in layer.values() for leaf in cell.arrays
    }
    wanted = {layer: _wanted_directions(layout, cells) for layer, cells in stack.items()}
    union = list(dict.fromkeys(direction for layer in wanted.values() for direction in layer))
    first = next(iter(stack))
    for layer in stack if None in stack else range(1 + max(layer or 0 for layer in stack)):
        cells = stack.get(layer, {})
        others = union if layout.naming.as_one else wanted.get(layer, wanted[first])
        for direction in others:
            names = set(cells[direction].arrays) if direction in cells else all_names
            for leaf in layout.leaves_of(all_names if layout.naming.as_one else names):
                if leaf.name not in (cells[direction].arrays if direction in cells else ()):
                    like = next(iter((cells or stack[first]).values()))
                    yield _path_like(like, leaf.name, layer, direction)


def _wanted_directions(layout: Layout, cells: Mapping[str | None, _Cell]) -> list[str | None]:
    """The directions that a layer with these cells must have."""
    if list(cells) in ([None], [""], [layout.naming.alone]):
        return list(cells)
    return list(layout.naming.directions)


def _path_like(cell: _Cell, leaf: str, layer: int | None, direction: str | None) -> str:
    """The path of an array that is named like those of `cell`."""
    parts = {"leaf": leaf}
    if layer is not None:
        parts["layer"] = str(layer)
    if direction is not None:
        parts["direction"] = direction
    return _rename(cell.match, **parts)
