"""What the conversions refuse: wrong types, keys, sizes, and trees without an end."""

import copy
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from grujax import GRUParams, convert
from tests.helpers import ROOT, Draw

I, H = 3, 5  # noqa: E741
DRAW = Draw("arguments", "float32")
PARAMS, BEFORE = DRAW.params(I, H), DRAW.params(I, H, reset_after=False)
NOTHING_LIKE_IT = (None, 3, -1, 1.5, True, "x", b"x", [], (), {1, 2}, object(), 1j, sum, int, np)
NO_ARRAYS = (*NOTHING_LIKE_IT[:-1], {}, [[1.0], [1.0, 2.0]], np.array(["a"]), np.ones(3, int))
MATRIX = np.ones((H, H + I), "float32")


def endless(*names: str) -> dict:
    """A dict that holds itself under these names."""
    tree: dict = {}
    tree.update(dict.fromkeys(names, tree))
    return tree


ENDLESS = [
    endless("cell"),
    endless("params"),
    endless("forward_rnn", "backward_rnn"),
    endless("layers_0"),
    endless("layers_0", "layers_1"),
    endless("cell", "forward_rnn", "backward_rnn"),
    endless("dense_i", "dense_h"),
    endless("w_i", "w_h", "b"),
    endless("ir", "iz", "in", "hr", "hz", "hn"),
    endless("kernel"),
    endless("weight_ih_l0", "weight_hh_l0"),
]

READERS = {
    "from_haiku": "module_params",
    "from_linen": "variables",
    "from_nnx": "cell_or_state",
    "from_torch": "state_dict",
    "from_keras": "weights",
    "from_equinox": "cell",
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_what_holds_no_gru(name):
    for bad in (*NOTHING_LIKE_IT, {}, {1: 2}, {None: 1, "cell": 1}, [[1.0]], [None] * 3):
        with pytest.raises(ValueError, match="`"):
            getattr(convert, name)(bad)
    for bad in NOTHING_LIKE_IT:
        with pytest.raises(ValueError, match=f"`{READERS[name]}"):
            getattr(convert, name)(bad)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_a_tree_without_an_end(name):
    for tree in ENDLESS:
        with pytest.raises(ValueError, match="`"):
            getattr(convert, name)(tree)
        with pytest.raises(ValueError, match="`"):
            getattr(convert, name)({"params": tree, "cell": tree})


def test_a_module_that_is_its_own_cell_is_refused():
    module = nnx.GRUCell(I, H, rngs=nnx.Rngs(0))
    object.__setattr__(module, "cell", module)
    with pytest.raises(
        ValueError, match=r"`cell_or_state` must be a tree .* contains itself at `cell`"
    ):
        convert.from_nnx(module)


@pytest.mark.parametrize("depth", [1, 3])
def test_modules_may_hold_a_cell_at_some_depth(depth):
    linen, state = convert.to_linen(PARAMS)["params"], {"dense_h": {}, "dense_i": {}}
    for layer, weights in (("dense_i", PARAMS.w_x), ("dense_h", PARAMS.w_h)):
        state[layer]["kernel"] = np.concatenate(weights, axis=-1)
    state["dense_i"]["bias"] = np.concatenate(PARAMS.b_x)
    for _ in range(depth):
        linen, state = {"cell": linen}, {"cell": state}
    pair = {"cell": {"forward_rnn": linen, "backward_rnn": linen}}
    for got in (convert.from_linen(linen), convert.from_nnx(state), *convert.from_linen(pair)):
        np.testing.assert_array_equal(got.w_h, PARAMS.w_h)


def test_a_direction_cannot_be_a_stack():
    tree = convert.to_linen([PARAMS])["params"]
    with pytest.raises(
        ValueError,
        match=r"not of a GRU: `forward_rnn/layers_0/cell/.* 'backward_rnn/', 'forward_rnn/'",
    ):
        convert.from_linen({"forward_rnn": tree, "backward_rnn": tree})


# The tensors of each framework, and where they are in what the reader takes.
TENSORS = [
    (convert.from_haiku, convert.to_haiku(BEFORE), ["w_h"], "w_h"),
    (convert.from_keras, convert.to_keras(PARAMS), [1], "recurrent_kernel"),
    (convert.from_keras, convert.to_keras(PARAMS), [2], "bias"),
    (convert.from_linen, convert.to_linen(PARAMS), ["params", "hr", "kernel"], "hr/kernel"),
    (convert.from_linen, convert.to_linen(PARAMS), ["params", "hn"], "hn"),
    (convert.from_linen, convert.to_linen(PARAMS), ["params"], "params"),
    (convert.from_torch, convert.to_torch([PARAMS]), ["weight_hh_l0"], "weight_hh_l0"),
    (convert.from_torch, convert.to_torch([PARAMS]), ["bias_ih_l0"], "bias_ih_l0"),
]


@pytest.mark.parametrize(
    ("reader", "stored", "path", "name"), TENSORS, ids=[case[-1] for case in TENSORS]
)
def test_a_tensor_that_is_none_is_named(reader, stored, path, name):
    for bad in (*NO_ARRAYS, np.ones((0, 0), "float32"), endless("cell")):
        broken = parent = copy.deepcopy(stored)
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = bad
        with pytest.raises(
            ValueError,
            match=f"^`{name}` (must|has shape)|not of a GRU: `{name}|itself at `.*{name}",
        ):
            reader(broken)


@pytest.mark.parametrize("argument", ["w_z", "w_r", "w_h", "b_z", "b_r", "b_h"])
def test_from_textbook_names_the_argument(argument):
    arguments = {"w_z": MATRIX, "w_r": MATRIX, "w_h": MATRIX}
    for bad in NO_ARRAYS[1:] if argument.startswith("b") else NO_ARRAYS:
        with pytest.raises(ValueError, match=f"^`{argument}` "):
            convert.from_textbook(**{**arguments, argument: bad})


@pytest.mark.parametrize("argument", ["W", "R", "B", "linear_before_reset"])
def test_from_onnx_names_the_argument(argument):
    arguments = {"W": np.ones((1, 3 * H, I), "f"), "R": np.ones((1, 3 * H, H), "f")}
    values = (2, 0.0, *NO_ARRAYS) if argument == "linear_before_reset" else NO_ARRAYS
    for bad in values[1:] if argument == "B" else values:
        with pytest.raises(ValueError, match=f"^`{argument}` "):
            convert.from_onnx(**{**arguments, argument: bad})


def test_sizes_of_zero_are_refused():
    empty = np.ones((0, I), "float32")
    with pytest.raises(ValueError, match=r"`weight_hh_l0` has shape \[0, 0\], .* without zeros"):
        convert.from_torch({"weight_ih_l0": empty, "weight_hh_l0": empty[:, :0]})
    with pytest.raises(ValueError, match=r"`weight_ih_l0` has shape \[15, 0\], .* without zeros"):
        convert.from_torch(convert.to_torch([PARAMS]) | {"weight_ih_l0": np.ones((15, 0), "f")})


# --- what writes ----------------------------------------------------------------------------------

WRITERS = ["to_equinox", "to_haiku", "to_keras", "to_linen", "to_nnx", "to_textbook"]
STACKS = ["to_torch", "to_onnx"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_names_its_argument(name):
    for bad in (*NOTHING_LIKE_IT, {}, {1: 2}, endless("cell"), [None], (PARAMS, None), [[PARAMS]]):
        with pytest.raises(ValueError, match="`params"):
            getattr(convert, name)(bad)


@pytest.mark.parametrize("name", STACKS)
def test_a_writer_of_stacks_names_the_layer(name):
    for bad in (*NOTHING_LIKE_IT, {}, {0: PARAMS}, PARAMS):
        with pytest.raises(ValueError, match=r"^`layers` must be a non-empty list"):
            getattr(convert, name)(bad)
    for bad in (*NOTHING_LIKE_IT, {}, [PARAMS]):
        with pytest.raises(ValueError, match=r"^`layers\[0\]` must be a GRUParams or a pair"):
            getattr(convert, name)([bad])
    for bad in NOTHING_LIKE_IT:
        with pytest.raises(ValueError, match=r"`layers\[0\]` must be"):
            getattr(convert, name)([(PARAMS, bad)])


def test_a_list_that_holds_itself_is_refused():
    layers: list = []
    layers += [layers, layers]
    for name in ("to_keras", "to_linen", *STACKS):
        with pytest.raises(ValueError, match="`"):
            getattr(convert, name)(layers)


def test_shapes_without_numbers_are_refused():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert isinstance(shapes, GRUParams)
    for name, layers in [("to_keras", shapes), ("to_linen", shapes), ("to_torch", [shapes])]:
        with pytest.raises(ValueError, match=r"`params\.w_x` must be an array"):
            getattr(convert, name)(layers)


@pytest.mark.parametrize("argument", ["with_lengths", "with_initial_state"])
def test_to_onnx_takes_bools(argument):
    for bad in (None, 0, 1, "no", 1.5, [], {}, np.ones(2, bool)):
        with pytest.raises(ValueError, match=f"`{argument}` must be True or False"):
            convert.to_onnx([PARAMS], **{argument: bad})


def test_from_keras_takes_a_bool():
    for name in ("reset_after", "bidirectional"):
        for bad in (0, 1, "no", 1.5, [], {}, np.ones(2, bool)):
            with pytest.raises(ValueError, match=f"`{name}` must be True or False"):
                convert.from_keras(convert.to_keras(PARAMS), **{name: bad})


# --- files ----------------------------------------------------------------------------------------


def test_load_onnx_names_what_is_wrong_with_its_arguments(tmp_path):
    for bad in (None, 3, 1.5, True, b"x", "", "a\0b", [], {}, object(), open):
        with pytest.raises(ValueError, match="`path` must be a path"):
            convert.load_onnx(bad)
    for bad in (3, 1.5, True, b"x", [], {}, object()):
        with pytest.raises(ValueError, match="`node` must be a string"):
            convert.load_onnx(tmp_path / "model.onnx", bad)


def test_load_onnx_names_a_missing_file_and_a_folder(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(FileNotFoundError, match=r"missing\.onnx"):
        convert.load_onnx(tmp_path / "missing.onnx")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        convert.load_onnx(str(tmp_path))


# --- PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("2", r"misses `weight_ih_l1`, .* of a GRU of 3 layers"),
        ("1000000000000", r"misses `weight_ih_l1`, .* and others of a GRU of 1000000000001 layers"),
        ("9" * 18, r"misses `weight_ih_l1`, "),
        ("9" * 19, r"names that are not of a GRU: `weight_ih_l99999"),
        ("9" * 5000, r"names that are not of a GRU: `weight_ih_l9{65} \.\.\.`"),
        ("01", r"names that are not of a GRU: `weight_ih_l01`"),
        ("٣", r"names that are not of a GRU: `weight_ih_l٣`"),
    ],
    ids=lambda value: value[:20],
)
def test_from_torch_lists_few_names_of_an_absurd_layer(layer, message):
    state = convert.to_torch([PARAMS])
    state[f"weight_ih_l{layer}"] = np.ones((3 * H, H), "float32")
    with pytest.raises(ValueError, match=message):
        convert.from_torch(state)


@pytest.mark.slow
def test_from_torch_needs_no_memory_for_an_absurd_layer():
    code = (
        "import resource, numpy as np, grujax.convert as convert;"
        "resource.setrlimit(resource.RLIMIT_AS, (6 << 30,) * 2);"
        "convert.from_torch({'weight_ih_l1000000000000': np.ones((15, 5), 'f')})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.stderr.splitlines()[-1].startswith("ValueError: `state_dict` misses")


def test_from_torch_takes_names_that_are_strings():
    state = convert.to_torch([PARAMS])
    for bad in ({0: 1}, {None: 1}, {("gru", "weight_ih_l0"): 1}, state | {3: 4}):
        with pytest.raises(ValueError, match="`state_dict` must have strings as keys, got the key"):
            convert.from_torch(bad)
    for bad in (None, 3, b"gru.", ["gru."], {}):
        with pytest.raises(ValueError, match="`prefix` must be a string"):
            convert.from_torch(state, prefix=bad)


@pytest.mark.slow
def test_from_torch_names_a_tensor_without_dense_data():
    torch = pytest.importorskip("torch")
    state = convert.to_torch([PARAMS])
    for bad in (torch.ones(15, 5, device="meta"), torch.eye(15, 5).to_sparse(), torch.Tensor):
        with pytest.raises(ValueError, match="`weight_hh_l0` must be a dense tensor with data"):
            convert.from_torch(state | {"weight_hh_l0": bad})
