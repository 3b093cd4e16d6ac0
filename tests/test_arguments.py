"""The door: every public function refuses every bad value of every argument, and names it.

The functions, their arguments and the kinds of these come from the signatures. `CALLS` adds one
right call of each: a new public function fails here until it has one.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import grujax
from grujax import analysis, attention, baselines, convert, linen, online, sweep
from tests.test_docstrings import FUNCTIONS, NAMES

T, B, I, H = 3, 2, 3, 4  # noqa: E741
KEY = jax.random.key(0)
PARAMS = grujax.init_gru(KEY, I, H)
UPPER = grujax.init_gru(KEY, H, H)
BEFORE = grujax.init_gru(KEY, I, H, reset_after=False)
XS, H0, X = jnp.ones((T, B, I)), jnp.zeros((B, H)), jnp.ones((B, I))


class Nothing:
    """A value that no argument takes."""


def function(*_args: Any, **_options: Any) -> None:
    """A function, where none is expected."""


CYCLE: dict[str, Any] = {}
CYCLE["cycle"] = CYCLE
ENDLESS: list[Any] = []
ENDLESS.extend([ENDLESS, ENDLESS])

# Of each kind of argument: a pattern of its name or annotation, and values that are not of it. The
# first pattern that matches counts.
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "key",
        "key: Array",
        {
            "text": "nonsense",
            "3": 3,
            "[]": [],
            "floats": np.ones(2),
            "two keys": jax.random.split(KEY),
            "a function": function,
        },
    ),
    (
        "rate",
        "zoneout|recurrent_dropout|dropout",
        {
            "text": "0.1",
            "-0.1": -0.1,
            "1": 1,
            "nan": np.nan,
            "inf": np.inf,
            "True": True,
            "complex": 0.1j,
            "[]": [],
            "two rates": np.full(2, 0.1),
            "a function": function,
        },
    ),
    (
        "choice",
        r"mode|strategy|method|merge|implementation",
        {"text": "nonsense", "bytes": b"min", "3": 3, "True": True, "[]": [], "an array": X},
    ),
    (
        "bool",
        ": bool",
        {
            "text": "no",
            "2": 2,
            "1.0": 1.0,
            "nan": np.nan,
            "[]": [],
            "two": np.ones(2, bool),
            "a function": function,
        },
    ),
    (
        "integer",
        ": int",
        {
            "text": "3",
            "1.5": 1.5,
            "nan": np.nan,
            "True": True,
            "-1": -1,
            "complex": 1j,
            "[]": [],
            "an array": np.ones(2, int),
            "a function": function,
        },
    ),
    (
        "number",
        ": float",
        {
            "text": "0.1",
            "nan": np.nan,
            "True": True,
            "complex": 0.1j,
            "[]": [],
            "an array": np.full(2, 0.5),
            "a function": function,
        },
    ),
    ("path", ": str.*(Path|PathLike)", {"3": 3, "1.5": 1.5, "[]": [], "a function": function}),
    (
        "string",
        ": str",
        {"bytes": b"min", "3": 3, "True": True, "[]": [], "a function": function},
    ),
    (
        "dtype",
        ": DTypeLike",
        {"text": "nonsense", "integers": "int32", "complex": "complex64", "3": 3, "[]": []},
    ),
    (
        "function",
        ": (Callable|Cell|Initializer|Distribution|Explore|Exploit|Train)",
        {"text": "nonsense", "3": 3, "True": True, "[]": [], "an array": X},
    ),
    (
        "mapping",
        ": (Mapping|dict|Trials)",
        {"text": "nonsense", "3": 3, "[]": [], "other keys": {1: 2}, "a function": function},
    ),
    (
        "array",
        ": (Array|ArrayLike|np.ndarray)",
        {
            "text": "nonsense",
            "strings": np.array(["a", "b"]),
            "ragged": [[1.0], [1.0, 2.0]],
            "complex": np.ones((T, B, I), complex),
            "another shape": np.ones((1, 2, 3, 1, 2, 7), np.float32),
            "a function": function,
            "a class": Nothing,
        },
    ),
    (
        "sequence",
        ": (Sequence|Iterable|tuple|list)",
        {"3": 3, "1.5": 1.5, "True": True, "a function": function},
    ),
    (
        "another object",
        "",
        {"text": "nonsense", "3": 3, "True": True, "[]": [], "a function": function},
    ),
]
EVERY_KIND = {"an object": Nothing(), "a cyclic dict": CYCLE, "a cyclic list": ENDLESS}


def train(key: Any, rate: Any) -> dict[str, Any]:
    return {"loss": rate}


TRACE = analysis.trace_gates(PARAMS, XS)
FLOW = analysis.gradient_flow(PARAMS, XS, lambda h_last, hs: hs.sum())
RESULT = sweep.SweepResult(
    {"rate": np.array([0.1, 0.2])}, {"loss": np.array([3.0, 2.0])}, np.zeros(2, bool)
)
FAMILY = sweep.SweepResult({}, {"parent_by_round": np.array([[0, 1], [1, 1]])}, np.zeros(2, bool))
EXPLORE = {"rate": sweep.resample(sweep.uniform(0, 1))}
POPULATION = {
    "init": lambda key, rate: 1.0 * rate,
    "step": lambda key, state, rate: state,
    "evaluate": lambda key, state, rate: {"loss": state},
    "trials": {"rate": np.array([0.1, 0.2])},
    "key": KEY,
    "metric": "loss",
    "rounds": 1,
    "progress": False,
}
ATTENTION = attention.init_additive_attention(KEY, H, I, 5)
ONLINE = {
    "cell": grujax.gru_cell,
    "params": PARAMS,
    "xs": XS,
    "loss": lambda hs: hs.sum(),
}
SIZES = {"key": KEY, "input_size": I, "hidden_size": H}
TWO = (PARAMS, PARAMS)

# The required arguments of a right call of every public function.
CALLS: dict[str, dict[str, Any]] = {
    "bidirectional_gru": {"params": TWO, "xs": XS},
    "gru": {"params": PARAMS, "xs": XS},
    "gru_cell": {"params": PARAMS, "h": H0, "x": X},
    "gru_gates": {"params": PARAMS, "h": H0, "x": X},
    "init_gru": SIZES,
    "newton_report": {"params": PARAMS, "xs": XS},
    "scan_cell": {"cell": grujax.gru_cell, "params": PARAMS, "xs": XS, "state0": H0},
    "stacked_gru": {"layers": [PARAMS, UPPER], "xs": XS},
    "analysis.cell_gradient_flow": {
        "cell": grujax.gru_cell,
        "params": PARAMS,
        "xs": XS,
        "state0": H0,
        "loss": lambda state, states: states.sum(),
    },
    "analysis.find_fixed_points": {"params": PARAMS, "x": X[0], "starts": H0, "steps": 2},
    "analysis.gate_relevance": {"trace": TRACE},
    "analysis.gate_saturation": {"trace": TRACE},
    "analysis.gradient_flow": {
        "layers": PARAMS,
        "xs": XS,
        "loss": lambda h_last, hs: hs.sum(),
    },
    "analysis.integrated_gradients": {"score": jnp.sum, "inputs": X, "steps": 2},
    "analysis.jacobian_product": {"jacobians": jnp.ones((T, H, H))},
    "analysis.kaplan_yorke_dimension": {"exponents": jnp.array([0.1, -0.2])},
    "analysis.layer_inputs": {"layers": [PARAMS, UPPER], "xs": XS},
    "analysis.log_singular_values": {"product": analysis.jacobian_product(jnp.ones((T, H, H)))},
    "analysis.lyapunov_exponents": {"params": PARAMS, "xs": XS, "num_exponents": 1},
    "analysis.memory_time_scale": {"trace": TRACE},
    "analysis.occlusion": {"score": jnp.sum, "inputs": X},
    "analysis.plot_eigenvalues": {"eigenvalues": jnp.ones(3, complex)},
    "analysis.plot_gates": {"gate": jnp.ones((T, H))},
    "analysis.plot_gradient_flow": {"flow": FLOW},
    "analysis.plot_image_saliency": {"image": jnp.ones((4, 4)), "relevance": jnp.ones((4, 4))},
    "analysis.plot_series_saliency": {"xs": jnp.ones((T, I)), "relevance": jnp.ones(T)},
    "analysis.plot_state_space": {"hs": jnp.ones((T, B, H))},
    "analysis.plot_text_saliency": {"tokens": ["a", "b"], "relevance": jnp.ones(2)},
    "analysis.sample_states": {"key": KEY, "hs": jnp.ones((T, B, H)), "num": 2},
    "analysis.singular_values": {"jacobian": jnp.ones((H, H))},
    "analysis.spectral_radius": {"jacobian": jnp.ones((H, H))},
    "analysis.step_jacobian": {"params": PARAMS, "h": H0, "x": X},
    "analysis.step_jacobians": {"params": PARAMS, "xs": XS},
    "analysis.trace_gates": {"params": PARAMS, "xs": XS},
    "attention.additive_attention": {
        "params": ATTENTION,
        "queries": jnp.ones((B, H)),
        "projected_keys": jnp.ones((T, B, 5)),
        "values": XS,
    },
    "attention.init_additive_attention": {
        "key": KEY,
        "query_size": H,
        "key_size": I,
        "attention_size": 5,
    },
    "attention.project_keys": {"params": ATTENTION, "keys": XS},
    "baselines.block_gru": {"params": baselines.init_block_gru(**SIZES, blocks=2), "xs": XS},
    "baselines.block_gru_cell": {
        "params": baselines.init_block_gru_cell(**SIZES, blocks=2),
        "h": H0,
        "x": X,
    },
    "baselines.count_parameters": {"params": PARAMS},
    "baselines.init_block_gru": {**SIZES, "blocks": 2},
    "baselines.init_block_gru_cell": {**SIZES, "blocks": 2},
    "baselines.init_layer_norm_gru": SIZES,
    "baselines.init_lstm": SIZES,
    "baselines.init_min_gru": SIZES,
    "baselines.init_rnn": SIZES,
    "baselines.layer_norm_gru_cell": {
        "params": baselines.init_layer_norm_gru(**SIZES),
        "h": H0,
        "x": X,
    },
    "baselines.lstm_cell": {
        "params": baselines.init_lstm(**SIZES),
        "state": baselines.LSTMState(H0, H0),
        "x": X,
    },
    "baselines.min_gru": {"params": baselines.init_min_gru(**SIZES), "xs": XS},
    "baselines.min_gru_cell": {"params": baselines.init_min_gru(**SIZES), "h": H0, "x": X},
    "baselines.rnn_cell": {"params": baselines.init_rnn(**SIZES), "h": H0, "x": X},
    "convert.from_equinox": {"cell": convert.to_equinox(PARAMS)},
    "convert.from_haiku": {"module_params": convert.to_haiku(BEFORE)},
    "convert.from_keras": {"weights": convert.to_keras(PARAMS)},
    "convert.from_linen": {"variables": convert.to_linen(PARAMS)},
    "convert.from_nnx": {"cell_or_state": convert.to_nnx(PARAMS)},
    "convert.from_onnx": {
        "W": np.ones((1, 3 * H, I), np.float32),
        "R": np.ones((1, 3 * H, H), np.float32),
        "linear_before_reset": 1,
    },
    "convert.from_textbook": {
        **{f"w_{gate}": np.ones((H, H + I), np.float32) for gate in "zrh"},
    },
    "convert.from_torch": {"state_dict": convert.to_torch([PARAMS])},
    "convert.load_onnx": {"path": "model.onnx"},
    "convert.to_equinox": {"params": PARAMS},
    "convert.to_haiku": {"params": BEFORE},
    "convert.to_keras": {"params": PARAMS},
    "convert.to_linen": {"params": PARAMS},
    "convert.to_nnx": {"params": PARAMS},
    "convert.to_onnx": {"layers": [PARAMS]},
    "convert.to_textbook": {"params": BEFORE},
    "convert.to_torch": {"layers": [PARAMS]},
    "initializers.chrono": {"t_max": 10.0},
    "initializers.identity": {},
    "online.eprop": {"cell": grujax.gru_cell},
    "online.gradient": ONLINE,
    "online.reset": {
        "carry": online.rtrl(grujax.gru_cell).init(PARAMS, H0),
        "reset": jnp.zeros(B, bool),
    },
    "online.rtrl": {"cell": grujax.gru_cell},
    "online.snap": {"cell": grujax.gru_cell},
    "online.uoro": {"cell": grujax.gru_cell},
    "online.value_and_gradient": ONLINE,
    "rollouts.join_sequences": {"xs": XS, "steps": T},
    "rollouts.resets_from_dones": {"dones": jnp.zeros((T, B), bool), "first": jnp.ones(B, bool)},
    "rollouts.split_sequences": {"xs": XS, "length": T},
    "sweep.choice": {"values": [1, 2]},
    "sweep.grid": {"rate": [0.1, 0.2]},
    "sweep.integer": {"lo": 1, "hi": 3},
    "sweep.lineage": {"result": FAMILY, "member": 0},
    "sweep.log_uniform": {"lo": 0.1, "hi": 1.0},
    "sweep.perturb": {"lo": 0.1, "hi": 1.0},
    "sweep.plot_marginals": {"result": RESULT, "metric": "loss"},
    "sweep.plot_parallel": {"result": RESULT, "metric": "loss"},
    "sweep.population": POPULATION | {"explore": EXPLORE},
    "sweep.resample": {"distribution": sweep.uniform(0, 1)},
    "sweep.run": {
        "train": train,
        "trials": {"rate": np.array([0.1, 0.2])},
        "key": KEY,
        "progress": False,
    },
    "sweep.sample": {"key": KEY, "n": 2, "rate": sweep.uniform(0, 1)},
    "sweep.search": {
        "train": train,
        "space": {"rate": sweep.uniform(0, 1)},
        "trials": 2,
        "batch": 2,
        "key": KEY,
        "metric": "loss",
        "progress": False,
    },
    "sweep.successive_halving": POPULATION,
    "sweep.trial_key": {"key": KEY, "index": 0},
    "sweep.truncation": {},
    "sweep.uniform": {"lo": 0.1, "hi": 1.0},
    "testing.check_replay": {
        "step": lambda x, state, reset: (x, x + jnp.where(reset[:, None], 0, state)),
        "replay": lambda rollout: (
            rollout.xs + jnp.where(rollout.resets[..., None], 0, rollout.states)
        ),
        "initial_state": jnp.zeros((4, I)),
        "x": jnp.zeros((4, I)),
        "steps": 4,
    },
}


# Of the classes with options: a right construction, and the required arguments of their methods.
SIZE = {"features": H}
LINEN = {
    "GRUCell": {"__call__": {"carry": H0, "inputs": X}},
    "GRU": {"__call__": {"xs": XS}},
    "BidirectionalGRU": {"__call__": {"xs": XS}},
    "StackedGRU": {"__call__": {"xs": XS}},
}


class Door(NamedTuple):
    """A function, the annotation of each of its arguments, and a right call."""

    call: Callable[..., Any]
    annotations: dict[str, str]
    arguments: dict[str, Any]


def annotations_of(thing: Callable[..., Any]) -> dict[str, str]:
    """The annotation of each argument that is given by name."""
    return {
        name: str(parameter.annotation)
        for name, parameter in inspect.signature(thing).parameters.items()
        if name not in NOT_OURS
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


NEED_A_FILE = (
    "grujax.convert.load_onnx",
    "grujax.sweep.SweepResult.load",
    "grujax.sweep.SweepResult.save",
)
NOT_OURS = ("self", "parent", "name", "rngs")  # the last three are Flax's


def function_door(name: str) -> Door:
    thing = NAMES[name]
    return Door(thing, annotations_of(thing), CALLS[name.removeprefix("grujax.")])


def linen_doors(name: str) -> dict[str, Door]:
    """The construction of a Linen module, and its call."""
    module = getattr(linen, name)
    fields = annotations_of(module)

    def construct(**options: Any) -> Any:
        return module(**options).init(KEY, **LINEN[name]["__call__"])

    def call(**arguments: Any) -> Any:
        return module(**SIZE).init(KEY, **arguments)

    return {
        f"grujax.linen.{name}": Door(construct, fields, SIZE),
        f"grujax.linen.{name}.__call__": Door(
            call, annotations_of(module.__call__), LINEN[name]["__call__"]
        ),
    }


def nnx_doors(name: str) -> dict[str, Door]:
    """The construction of an NNX module, and its call."""
    module = getattr(grujax.nnx, name)
    options = {} if name == "GRUCell" else get_type_hints(grujax.nnx.Options)
    fields = annotations_of(module.__init__) | {
        option: grujax.nnx.Options.__annotations__[option].__forward_arg__ for option in options
    }
    sizes = {"in_features": I, "features": H}

    def construct(**arguments: Any) -> Any:
        return module(**arguments, rngs=nnx.Rngs(0))

    def call(**arguments: Any) -> Any:
        return construct(**sizes)(**arguments)

    return {
        f"grujax.nnx.{name}": Door(construct, fields, sizes),
        f"grujax.nnx.{name}.__call__": Door(
            call, annotations_of(module.__call__), LINEN[name]["__call__"]
        ),
    }


def method_doors() -> dict[str, Door]:
    """The methods of the other public classes."""
    calls = {
        "best": (RESULT.best, {"metric": "loss"}),
        "log": (RESULT.log, {"log_to": []}),
        "scalar": (RESULT.scalar, {"metric": "loss"}),
        "plot": (RESULT.plot, {"metric": "loss"}),
        "save": (RESULT.save, {"path": "result.npz"}),
        "load": (RESULT.load, {"path": "result.npz"}),
    }
    return {
        f"grujax.sweep.SweepResult.{name}": Door(method, annotations_of(method), arguments)
        for name, (method, arguments) in calls.items()
    }


def bad_values(name: str, annotation: str) -> dict[str, Any]:
    """Values that an argument of this name and annotation must refuse."""
    text = f"{name}: {annotation}"
    values = next(values for _, pattern, values in KINDS if re.match(rf".*{pattern}", text))
    nothing = {} if "None" in annotation or annotation == "Any" else {"None": None}
    return {**values, **EVERY_KIND, **nothing}


# Values of a kind that this argument takes all the same.
ALLOWED = {
    # Any pytree of numbers is an input or a state; the cell refuses what it cannot use.
    ("grujax.scan_cell", "state0"): {"3", "True", "[]"},
    ("grujax.scan_cell", "reset_state"): {"3", "True"},
    # One number for every state.
    ("grujax.online.gradient", "reset_state"): {"3", "True"},
    ("grujax.online.reset", "reset_state"): {"3", "True"},
    ("grujax.online.value_and_gradient", "reset_state"): {"3", "True"},
    ("grujax.bidirectional_gru", "reset_state"): {"3"},
    ("grujax.stacked_gru", "reset_state"): {"3"},
    ("grujax.linen.BidirectionalGRU.__call__", "reset_state"): {"3"},
    ("grujax.linen.StackedGRU.__call__", "reset_state"): {"3"},
    ("grujax.nnx.BidirectionalGRU.__call__", "reset_state"): {"3"},
    ("grujax.nnx.StackedGRU.__call__", "reset_state"): {"3"},
    ("grujax.analysis.cell_gradient_flow", "xs"): {"complex"},
    # Any number of axes.
    ("grujax.analysis.kaplan_yorke_dimension", "exponents"): {"another shape"},
    ("grujax.analysis.sample_states", "hs"): {"another shape"},
    # The call that initializes a module of Linen tells it the input size.
    ("grujax.linen.GRUCell.__call__", "inputs"): {"another shape"},
    ("grujax.linen.GRU.__call__", "xs"): {"another shape"},
    ("grujax.linen.BidirectionalGRU.__call__", "xs"): {"another shape"},
    ("grujax.linen.StackedGRU.__call__", "xs"): {"another shape"},
    ("grujax.sweep.integer", "lo"): {"-1"},
    # A list of two lists, where the error names the array that the first must be.
    ("grujax.convert.from_keras", "weights"): {"a cyclic list"},
    # A dict with a hyperparameter named "cycle", which the error names.
    ("grujax.sweep.run", "trials"): {"a cyclic dict"},
    ("grujax.sweep.population", "trials"): {"a cyclic dict"},
    ("grujax.sweep.successive_halving", "trials"): {"a cyclic dict"},
    # No logger.
    ("grujax.sweep.run", "log_to"): {"[]"},
    ("grujax.sweep.search", "log_to"): {"[]"},
    ("grujax.sweep.SweepResult.log", "log_to"): {"[]"},
}

DOORS: dict[str, Door] = {name: function_door(name) for name in FUNCTIONS}
for module_name in LINEN:
    DOORS |= linen_doors(module_name) | nnx_doors(module_name)
DOORS |= method_doors()


def refusal(door: Door, argument: str, value: Any) -> str:
    """What is wrong with how the function takes a bad value; "" if it refuses it by name."""
    try:
        door.call(**{**door.arguments, argument: value})
    except Exception as error:
        names_it = isinstance(error, ValueError) and re.search(rf"`{argument}\b", str(error))
        return "" if names_it else f"{type(error).__name__}: {error}"
    return "accepted"


@pytest.mark.parametrize("name", DOORS)
def test_every_bad_value_is_refused_by_name(name):
    door = DOORS[name]
    faults = {
        f"{argument}={label}": fault
        for argument, annotation in door.annotations.items()
        for label, value in bad_values(argument, annotation).items()
        if label not in ALLOWED.get((name, argument), ())
        and (fault := refusal(door, argument, value))
    }
    assert not faults, "\n".join(f"{where}: {fault[:200]}" for where, fault in faults.items())


@pytest.mark.parametrize("name", [name for name in DOORS if name not in NEED_A_FILE])
def test_the_right_call_is_right(name):
    DOORS[name].call(**DOORS[name].arguments)
