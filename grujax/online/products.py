"""A step whose old state does not reach matrix products: the same values, other derivatives.

Every value of the program of a step is computed twice, from the state and from a copy of it that
has no gradient. A product reads the copies; everything else reads what belongs to its side. So all
derivatives with respect to the parameters stay, those through products included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax import Array
from jax.extend.core import Literal, jaxprs_in_params

from grujax.online.rows import RowStep

_PRODUCTS = ("dot_general", "conv_general_dilated")
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "custom_jvp_call")


class _Pair(NamedTuple):
    kept: Any  # with the gradient of the old state, except through products
    cut: Any  # without any


def cut_products(step: RowStep) -> RowStep:
    """The step of one row, without the derivatives of the state through matrix products."""

    def kept_step(params: Any, s: Array, x: Any) -> Array:
        program = jax.make_jaxpr(step)(params, s, x)
        others = [_Pair(leaf, leaf) for leaf in jax.tree.leaves((params, x))]
        number = len(jax.tree.leaves(params))
        inputs = [*others[:number], _Pair(s, jax.lax.stop_gradient(s)), *others[number:]]
        (new_s,) = _evaluate(program.jaxpr, program.consts, inputs)
        return new_s.kept

    return kept_step


def _evaluate(jaxpr: Any, consts: Any, inputs: list[_Pair]) -> list[_Pair]:
    constants = [_Pair(value, value) for value in consts]
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

    def read(atom: Any) -> _Pair:
        return _Pair(atom.val, atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        known.update(zip(equation.outvars, _apply(equation, operands), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, operands: list[_Pair]) -> list[_Pair]:
    name = equation.primitive.name
    inner = [body for body in jaxprs_in_params(equation.params) if _has_product(body)]
    if inner and name not in _CALLS:
        raise ValueError(
            f"`cell` has a matrix product inside of `{name}`, where e-prop cannot tell recurrent "
            "connections from what a unit keeps. Write it without, or use `snap` or `rtrl`."
        )
    if inner:
        return _evaluate(inner[0], _consts_of(equation), operands)
    cut = _bind(equation, [pair.cut for pair in operands])
    if name in _PRODUCTS or all(pair.kept is pair.cut for pair in operands):
        return [_Pair(value, value) for value in cut]
    return list(map(_Pair, _bind(equation, [pair.kept for pair in operands]), cut))


def _bind(equation: Any, operands: list[Any]) -> list[Any]:
    bound = equation.primitive.get_bind_params(equation.params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # by version of JAX
    result = equation.primitive.bind(*functions, *operands, **params)
    return result if equation.primitive.multiple_results else [result]


def _consts_of(equation: Any) -> Any:
    body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return getattr(body, "consts", ())


def _has_product(jaxpr: Any) -> bool:
    return any(
        equation.primitive.name in _PRODUCTS
        or any(map(_has_product, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )
