"""Models and their weights as trees of any kind: their leaves by path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from grujax.checks import check_string, describe
from grujax.convert.checks import quote

MAX_DEPTH = 64
MAX_ENTRIES = 100_000

Children = Callable[[Any], Mapping[Any, Any] | None]


class Tree(NamedTuple):
    """The leaves of a tree, and its inner nodes, by path."""

    leaves: dict[str, Any]
    nodes: dict[str, Any]


def mapping_children(node: Any) -> Mapping[Any, Any] | None:
    """The children of a mapping; None for anything else."""
    return node if isinstance(node, Mapping) else None


def flatten(name: str, tree: Any, separator: str, children: Children = mapping_children) -> Tree:
    """Lists the leaves of a tree.

    Args:
        name: the argument, in messages.
        tree: the tree.
        separator: what separates the parts of a path.
        children: returns the children of an inner node, and None for a leaf. A node in the tree
            without children is a leaf too.

    Raises:
        ValueError: if a key is not a string, a node cannot be read, or the tree contains itself, is
            too deep, or has too many entries.
    """
    found = Tree({}, {})
    seen = 0

    def visit(path: str, node: Any, above: tuple[int, ...]) -> None:
        nonlocal seen
        items = _items(name, path, node, children)
        if items is None or (path and not items):
            if path in found.leaves:
                raise ValueError(f"`{name}` must have one entry {quote([path])}, got two.")
            found.leaves[path] = node
            return
        if id(node) in above or len(above) >= MAX_DEPTH:
            problem = "contains itself" if id(node) in above else f"nests {MAX_DEPTH} levels"
            raise ValueError(f"`{name}` must be a tree with an end, {problem} at {quote([path])}.")
        seen += len(items)
        if seen > MAX_ENTRIES:
            raise ValueError(f"`{name}` must have at most {MAX_ENTRIES} entries, got more.")
        found.nodes[path] = node
        for key, child in items:
            if not isinstance(key, str):
                raise ValueError(
                    f"`{name}` must have strings as keys, got the key {describe(key)}."
                )
            visit(f"{path}{separator}{key}" if path else key, child, (*above, id(node)))

    visit("", tree, ())
    return found


def _items(name: str, path: str, node: Any, children: Children) -> list[tuple[Any, Any]] | None:
    """The children of a node with their keys; None for a leaf."""
    try:
        inner = children(node)
        return None if inner is None else list(islice(inner.items(), MAX_ENTRIES + 1))
    except Exception as error:  # a mapping may do anything
        raise ValueError(
            f"`{name}` must be a tree that can be read; {quote([path or name])} raises "
            f"{type(error).__name__}: {error}"
        ) from error


def flatten_arrays(name: str, tree: Any, separator: str) -> dict[str, Any]:
    """The arrays of a dict of dicts by path; raises ValueError as `flatten`, or if it is none."""
    if not isinstance(tree, Mapping):
        raise ValueError(
            f"`{name}` must be a dict of the parameters of a GRU, got {describe(tree)}."
        )
    return flatten(name, tree, separator).leaves


def check_prefix(prefix: Any, separator: str) -> str:
    """A prefix that is empty or ends with the separator; the caller may leave that out."""
    check_string("prefix", prefix)
    return f"{prefix.removesuffix(separator)}{separator}" if prefix else ""


def list_prefixes(prefixes: list[str]) -> str:
    """Says in a message where the GRUs of a tree are."""
    if not prefixes:
        return "it holds no GRU elsewhere."
    more = f" and {len(prefixes) - 8} more" if len(prefixes) > 8 else ""
    return f"GRUs are under `prefix` {', '.join(map(repr, sorted(prefixes)[:8]))}{more}."


def select(
    name: str, tree: Any, separator: str, prefix: str, children: Children, is_gru: Callable
) -> Any:
    """Finds the GRU that is an object at the path `prefix` of a model.

    Raises:
        ValueError: if there is none; the message lists where there are some.
    """
    prefix = check_prefix(prefix, separator).removesuffix(separator)
    leaves, nodes = flatten(name, tree, separator, children)
    if prefix in leaves and is_gru(leaves[prefix]):
        return leaves[prefix]
    parts = nodes | leaves
    got = describe(parts[prefix]) if prefix in parts else "nothing"
    where = list_prefixes([path for path, leaf in leaves.items() if is_gru(leaf)])
    raise ValueError(f"`{name}` must hold a GRU at `prefix` {prefix!r}, got {got}; {where}")
