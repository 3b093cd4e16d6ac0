"""Trees of every kind end in a sentence: cyclic, deep, shared, endless, or made to fail."""

from collections.abc import Mapping

import numpy as np
import pytest

from grujax import convert
from grujax.convert.trees import MAX_ENTRIES, flatten
from tests.helpers import Draw

PARAMS = Draw("trees", "float32").params(3, 5)
TREE = convert.to_linen(PARAMS)["params"]


class Endless(Mapping):
    """A mapping that never runs out of keys."""

    def __getitem__(self, key):
        return 1.0

    def __len__(self):
        return 3

    def __iter__(self):
        index = 0
        while True:
            yield f"key {index}"
            index += 1


class Broken(Mapping):
    """A mapping whose values cannot be read."""

    def __getitem__(self, key):
        raise RuntimeError("the file is closed")

    def __len__(self):
        return 1

    def __iter__(self):
        return iter(["ir"])


class Fresh(Mapping):
    """A mapping that makes another one of its kind whenever it is read."""

    def __getitem__(self, key):
        return Fresh()

    def __len__(self):
        return 1

    def __iter__(self):
        return iter(["cell"])


def nested(depth: int, width: int = 1, end=None):
    """Dicts in dicts, each of which occurs `width` times in the one around it."""
    tree = {"ir": np.ones(3)} if end is None else end
    for _ in range(depth):
        tree = {f"cell{index}" if index else "cell": tree for index in range(width)}
    return tree


STRANGE = {
    "deep": (nested(10_000), "nests 64 levels"),
    "shared": (nested(40, width=2), f"at most {MAX_ENTRIES} entries"),
    "endless": (Endless(), f"at most {MAX_ENTRIES} entries"),
    "endless inside": ({"cell": Endless()}, f"at most {MAX_ENTRIES} entries"),
    "broken": (Broken(), "raises RuntimeError: the file is closed"),
    "broken inside": ({"cell": Broken()}, "`cell` raises RuntimeError: the file is closed"),
    "fresh": (Fresh(), "nests 64 levels"),
    "numbers as keys": ({"cell": {1.5: TREE}}, "must have strings as keys, got the key 1.5"),
    "one name twice": ({"cell/ir": 1, "cell": {"ir": 2}}, "must have one entry `cell/ir`, got two"),
    "long names": ({"cell/" * 500 + "ir": 1}, "not of a GRU: `cell/cell/"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_tree_is_refused_in_a_sentence(name):
    tree, message = STRANGE[name]
    with pytest.raises(ValueError, match=r"^`variables` ") as error:
        convert.from_linen(tree)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["deep", "endless", "broken"])
@pytest.mark.parametrize("reader", ["from_haiku", "from_torch", "from_nnx"])
def test_every_reader_refuses_strange_trees(reader, name):
    tree, message = STRANGE[name]
    with pytest.raises(ValueError, match=message):
        getattr(convert, reader)(tree)


def test_from_nnx_takes_the_keys_of_lists():
    tree = {"layers": {0: {"cell": {}}}}
    with pytest.raises(ValueError, match=r"not of a GRU: `layers\.0\.cell`"):
        convert.from_nnx(tree)
    with pytest.raises(ValueError, match=r"strings as keys, got the key a tuple of 2"):
        convert.from_nnx({("a", 1): tree})


def test_a_deep_gru_is_found():
    tree = nested(60, end=TREE)
    assert convert.from_linen(tree) == convert.from_linen({"cell": TREE})
    other = {"a": {"b": [1, 2], "c": {}}}
    assert flatten("tree", other, "/").leaves == {"a/b": [1, 2], "a/c": {}}


def test_an_error_lists_eight_prefixes():
    model = {f"layer{index}": TREE for index in range(12)}
    with pytest.raises(ValueError, match=r"'layer0/', 'layer1/', 'layer10/', .* and 4 more\.$"):
        convert.from_linen(model)
