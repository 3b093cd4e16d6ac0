"""The reference: the textbook's equations in NumPy, row by row and step by step.

    r  = σ(Wr·[h, x] + br)
    z  = σ(Wz·[h, x] + bz)
    h̃  = tanh(W·[r ∘ h, x] + b)                  reset before the product (Cho et al. 2014)
    h̃  = tanh(Wx·x + b + r ∘ (Wh·h + bh))        reset after it (cuDNN)
    h' = (1 − z) ∘ h + z ∘ h̃

Its z is 1 − z of the package, so the update gate's weights and bias change their sign.

Gradients are taken by the complex step, f'(x) = Im f(x + iε) / ε, which is exact to rounding: it
subtracts nothing (Squire & Trapp 1998, https://doi.org/10.1137/S003614459631241X). JAX computes
nothing here, and nothing is compiled. All directions of an array are evaluated at once, on an axis
D: params [3, D, I, H] and [3, D, H], xs [T, B, D, I], h0 [B, D, H].
"""

from typing import Any, NamedTuple

import jax
import numpy as np

EPSILON = 1e-100


class Inputs(NamedTuple):
    """The arguments of `gru`, and a cotangent for each of its results."""

    params: Any
    xs: Any
    h0: Any
    lengths: Any
    resets: Any
    h_last_bar: Any
    hs_bar: Any
    mask: Any = None


def reference_outputs(inputs: Inputs, reverse: bool, **options: Any) -> Any:
    """`(h_last, hs)`; the options are those of `reference_gru`."""
    return reference_gru(*inputs[:5], reverse, mask=inputs.mask, **options)


def reference_gradients(inputs: Inputs, reverse: bool, **options: Any) -> Any:
    """The gradients of (params, xs, h0), contracted with the inputs' cotangents."""
    primals = inputs.params, inputs.xs, inputs.h0
    leaves, structure = jax.tree.flatten(primals)
    weights = {id(inputs.params.w_x), id(inputs.params.w_h)}
    axes = [-3 if id(leaf) in weights else -2 for leaf in leaves]  # of the directions

    def gradient(index: int) -> np.ndarray:
        """With respect to one of the arrays."""
        leaf, axis = leaves[index], axes[index]
        arrays = [np.expand_dims(array, axis) for array, axis in zip(leaves, axes, strict=True)]
        directions = np.eye(leaf.size).reshape(leaf.size, *leaf.shape)
        arrays[index] = arrays[index] + 1j * EPSILON * np.moveaxis(directions, 0, axis)
        params, xs, h0 = jax.tree.unflatten(structure, arrays)
        outputs = reference_outputs(
            inputs._replace(params=params, xs=xs, h0=h0), reverse, **options
        )
        slopes = np.zeros(leaf.size)
        for output, bar in zip(outputs, (inputs.h_last_bar, inputs.hs_bar), strict=True):
            output = np.broadcast_to(output, (*output.shape[:-2], leaf.size, output.shape[-1]))
            slope = np.moveaxis(output.imag / EPSILON, -2, 0)
            slopes += np.sum(slope * bar, axis=tuple(range(1, slope.ndim)))
        return slopes.reshape(leaf.shape)

    return jax.tree.unflatten(structure, [gradient(index) for index in range(len(leaves))])


def reference_gru(
    params: Any,
    xs: Any,
    h0: Any,
    lengths: Any,
    resets: Any,
    reverse: bool = False,
    *,
    mask: Any = None,  # [T, B] bool: where the step is taken
    stop_gradient_every: int | None = None,
    zoneout_mask: Any = None,  # [T, B, H] bool: where a unit keeps its state
    zoneout: float = 0.0,  # the expected share of that
    dropout_mask: Any = None,  # [B, H]: what the gates see of the state
) -> Any:
    """`(h_last, hs)` of a GRU. All arrays may have an axis of directions."""
    weights = textbook_weights(params)
    *directions, H = params.b_hn.shape
    steps, batch = len(xs), xs.shape[1 : xs.ndim - 1 - len(directions)]
    if h0 is None:
        h0 = np.zeros((*(1 for _ in directions), H), xs.dtype)
    h0 = np.broadcast_to(h0, (*batch, *h0.shape[h0.ndim - 1 - len(directions) :]))

    def step(t: int, row: tuple[int, ...], h: Any) -> Any:
        seen = h if dropout_mask is None else dropout_mask[row] * h
        updated = textbook_step(weights, h, xs[(t, *row)], params.reset_after, seen)
        updated = zoneout * h + (1 - zoneout) * updated
        return updated if zoneout_mask is None else np.where(zoneout_mask[(t, *row)], h, updated)

    last, rows = [], []
    for row in np.ndindex(*batch):
        length = steps if lengths is None else int(lengths[row])
        h, outputs = h0[row], {}
        for t in reversed(range(length)) if reverse else range(length):
            boundary = t + 1 if reverse else t
            is_reset = resets is not None and boundary < length and resets[(boundary, *row)]
            if is_reset:
                h = h0[row]
            elif stop_gradient_every and 0 < boundary < length:
                h = h if boundary % stop_gradient_every else h.real
            if mask is None or mask[(t, *row)]:
                h = step(t, row, h)
            outputs[t] = h
        last.append(h)
        rows.append([outputs.get(t, np.zeros(H)) for t in range(steps)])
    states = [h for outputs in (last, *rows) for h in outputs]
    shape = np.broadcast_shapes(h0.shape[len(batch) :], *map(np.shape, states))
    dtype = np.result_type(xs, h0, params.b_hn, *states)
    h_last, hs = np.zeros((*batch, *shape), dtype), np.zeros((steps, *batch, *shape), dtype)
    for row, h, outputs in zip(np.ndindex(*batch), last, rows, strict=True):
        h_last[row] = h
        for t, output in enumerate(outputs):
            hs[(t, *row)] = output
    return h_last, hs


def textbook_weights(params: Any) -> Any:
    """Weights over [h, x] and biases, gates r, z, h̃, and the bias of h̃'s recurrent product."""
    signs = (1, -1, 1)  # the textbook's z is 1 − z: σ(−a) = 1 − σ(a)
    weights = [
        sign * _join(params.w_h[gate], params.w_x[gate], axis=-2) for gate, sign in enumerate(signs)
    ]
    biases = [sign * params.b_x[gate] for gate, sign in enumerate(signs)]
    return weights, biases, params.b_hn


def textbook_step(weights: Any, h: Any, x: Any, reset_after: bool, seen: Any = None) -> Any:
    """The state after the step; the gates see `seen` in the place of `h` if it is given."""
    (w_r, w_z, w_n), (b_r, b_z, b_n), b_hn = weights
    seen = h if seen is None else seen
    hx = _join(seen, x, axis=-1)
    r = 1 / (1 + np.exp(-(_product(hx, w_r) + b_r)))
    z = 1 / (1 + np.exp(-(_product(hx, w_z) + b_z)))
    if reset_after:
        H = h.shape[-1]
        recurrent = _product(seen, w_n[..., :H, :]) + b_hn
        candidate = np.tanh(_product(x, w_n[..., H:, :]) + b_n + r * recurrent)
    else:
        candidate = np.tanh(_product(_join(r * seen, x, axis=-1), w_n) + b_n + b_hn)
    return (1 - z) * h + z * candidate


def reference_walk(step, xs, state0, lengths, resets, mask, reverse, numpy):
    """`(state_last, states)` of any cell: each row alone, a Python loop over its existing steps.

    `step(state, x)` takes and returns one row's state, a tree of [H] or anything else. Given
    `jax.numpy` as `numpy`, it can be differentiated.
    """
    steps, batch = xs.shape[0], xs.shape[1:-1]
    last, rows = [], []
    for row in np.ndindex(*batch):
        start = jax.tree.map(lambda leaf, row=row: leaf[row], state0)
        length = steps if lengths is None else int(lengths[row])
        outputs = [jax.tree.map(numpy.zeros_like, start)] * steps
        state = start
        for t in reversed(range(length)) if reverse else range(length):
            boundary = t + 1 if reverse else t
            if resets is not None and boundary < length and resets[(boundary, *row)]:
                state = start
            if mask is None or mask[(t, *row)]:
                state = step(state, xs[(t, *row)])
            outputs[t] = state
        last.append(state)
        if steps:
            rows.append(jax.tree.map(lambda *leaves: numpy.stack(leaves), *outputs))
        else:
            rows.append(jax.tree.map(lambda leaf: numpy.zeros((0, *leaf.shape), leaf.dtype), start))
    if not rows:
        return state0, jax.tree.map(
            lambda leaf: numpy.zeros((steps, *leaf.shape), leaf.dtype), state0
        )
    state_last = jax.tree.map(
        lambda leaf, *rows: numpy.stack(rows).reshape(leaf.shape), state0, *last
    )
    states = jax.tree.map(
        lambda leaf, *rows: numpy.moveaxis(numpy.stack(rows), 0, 1).reshape(steps, *leaf.shape),
        state0,
        *rows,
    )
    return state_last, states


def _join(a: Any, b: Any, axis: int) -> Any:
    """Concatenates after the axes before `axis` are broadcast."""
    lead = np.broadcast_shapes(a.shape[: a.ndim + axis], b.shape[: b.ndim + axis])
    parts = [np.broadcast_to(x, (*lead, *x.shape[x.ndim + axis :])) for x in (a, b)]
    return np.concatenate(parts, axis)


def _product(x: Any, w: Any) -> Any:
    """`[..., N]` by `[..., N, H]`."""
    return (x[..., None, :] @ w)[..., 0, :]
