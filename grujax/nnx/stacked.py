"""A stack of GRU layers as an NNX module."""

from __future__ import annotations

from typing import Any, Unpack

from flax import nnx

from grujax.flax_common import StackedGRUCall, Steps, check_arguments
from grujax.layers import Layer, Merge, output_size
from grujax.nnx.bidirectional import BidirectionalGRU
from grujax.nnx.layer import GRU, LayerBase
from grujax.nnx.options import Options, check_options, fork_dropout, select_inner_options


def _option_of_layers(name: str) -> Any:
    """An attribute that reads the option of the first layer, and sets that of every layer."""

    def read(stack: StackedGRU) -> Any:
        return getattr(stack.layers[0], name)

    def write(stack: StackedGRU, value: Any) -> None:
        for layer in stack.layers:
            setattr(layer, name, value)

    doc = f"The option `{name}` of the layers: reads that of the first, sets that of every layer."
    return property(read, write, doc=doc)


class StackedGRU(LayerBase):
    """A stack of GRU layers, each of one or two directions; batch-major unless `time_major`.

    The layers are in the list `layers`, with options of their own: `stack.zoneout = 0.1` sets the
    rate of all layers, `stack.layers[1].zoneout = 0.1` that of one. `nnx.tabulate` lists them, and
    `nnx.capture` with `method_outputs` has their outputs.

    Args:
        in_features: I, the input size.
        features: H, the hidden size of each layer and direction.
        num_layers: the number of layers.
        bidirectional: whether each layer has two directions.
        merge: how to combine the two directions, see `BidirectionalGRU`.
        dropout: the rate of dropout on the inputs of every layer except the first, drawn anew at
            every step.
        residual: whether to add the input of every layer except the first to its output.
        return_all_layers: whether `hs` is a list with the `hs` of each layer, instead of that of
            the last layer alone.
        rngs: see `GRU`.
        options: see `GRU`.

    Raises:
        TypeError: as `GRU`.
        ValueError: as `GRU`.

    Example:
        >>> from flax import nnx
        >>> stack = StackedGRU(4, 3, num_layers=2, rngs=nnx.Rngs(0))
        >>> h_last, hs = stack(jnp.ones((2, 5, 4)))
        >>> [h.shape for h in h_last], hs.shape
        ([(2, 3), (2, 3)], (2, 5, 3))
    """

    dtype = _option_of_layers("dtype")
    carry_dtype = _option_of_layers("carry_dtype")
    zoneout = _option_of_layers("zoneout")
    recurrent_dropout = _option_of_layers("recurrent_dropout")
    input_dropout = _option_of_layers("input_dropout")
    stop_gradient_every = _option_of_layers("stop_gradient_every")
    implementation = _option_of_layers("implementation")
    time_major = _option_of_layers("time_major")

    def __init__(
        self,
        in_features: int,
        features: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        residual: bool = False,
        return_all_layers: bool = False,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        own = check_arguments(
            {
                "features": features,
                "num_layers": num_layers,
                "bidirectional": bidirectional,
                "merge": merge,
                "dropout": dropout,
                "residual": residual,
                "return_all_layers": return_all_layers,
            }
        )
        options = check_options(StackedGRU, rngs, options, dropout)
        self.dropout, self.residual = dropout, own["residual"]
        self.return_all_layers = own["return_all_layers"]
        inner = select_inner_options(options)
        layers: list[GRU | BidirectionalGRU] = []
        for index in range(own["num_layers"]):
            if index == 1:
                in_features = output_size(own["features"], own["bidirectional"], merge)
            if own["bidirectional"]:
                layers.append(
                    BidirectionalGRU(in_features, features, merge=merge, rngs=rngs, **inner)
                )
            else:
                layers.append(GRU(in_features, features, rngs=rngs, **inner))
        self.layers = nnx.List(layers)
        stream = fork_dropout(rngs, options, dropout)
        for layer in layers:
            layer._set_options(options, None if stream is None else stream.fork())
        self.deterministic = options.get("deterministic", False)
        self.rngs = nnx.data(stream)

    __call__ = StackedGRUCall.__call__
    step = Steps.step

    def _carry(self, *arguments: Any) -> list[Any]:
        return [layer.initialize_carry(*arguments) for layer in self.layers]

    def _runs_backward(self) -> bool:
        return any(layer._runs_backward() for layer in self.layers)

    def gru_params(self) -> list[Layer]:
        """Returns the functional parameters, a list of layers; see `GRUCell.gru_params`."""
        return [layer.gru_params() for layer in self.layers]

    def learned_h0(self) -> list[Any]:
        """Returns the learned state `[H]` of each layer, or None; a pair for two directions."""
        return [layer.learned_h0() for layer in self.layers]

    def _rates(self) -> dict[str, Any]:
        return {"dropout": self.dropout}
