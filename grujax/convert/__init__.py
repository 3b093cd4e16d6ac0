"""Weights in and out of other frameworks.

Each pair `from_X`, `to_X` maps what framework X stores onto `GRUParams` and back. `layers` is what
`grujax.stacked_gru` takes: a list, each item a `GRUParams` or a pair (forward, backward).

Where X stores the same numbers, they are copied, so that there and back is exact to the bit. Where
it has two biases for one, they are added; where it writes 1 − z for z, the update gate's weights
change their sign. What X cannot hold is a ValueError that names the tensor.

Arrays come as JAX arrays: float64 becomes float32 unless `jax_enable_x64` is on. Importing this
package needs none of the frameworks; a function that does raises ImportError where it is missing.
"""

from grujax.convert.equinox import from_equinox, to_equinox
from grujax.convert.haiku import from_haiku, to_haiku
from grujax.convert.keras import from_keras, to_keras
from grujax.convert.linen import from_linen, to_linen
from grujax.convert.nnx import from_nnx, to_nnx
from grujax.convert.onnx import from_onnx, load_onnx
from grujax.convert.onnx_export import to_onnx
from grujax.convert.textbook import from_textbook, to_textbook
from grujax.convert.torch import from_torch, to_torch

__all__ = [
    "from_equinox",
    "from_haiku",
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_onnx",
    "from_textbook",
    "from_torch",
    "load_onnx",
    "to_equinox",
    "to_haiku",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_onnx",
    "to_textbook",
    "to_torch",
]
