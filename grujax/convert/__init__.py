"""Weights in and out of other frameworks, one file or folder per framework.

`from_X` converts what framework X stores to `GRUParams`, and `to_X` converts it back. A stack is
what `grujax.stacked_gru` takes: a list of layers, each a `GRUParams` or a pair (forward, backward).

If X stores the same numbers, they are copied, and a round trip is exact to the bit. If X has two
biases per gate, they are added. If X writes 1 − z for z, the update gate's weights change sign.
What X or `GRUParams` cannot represent raises a ValueError that names the tensor.

The results are JAX arrays: float64 becomes float32 unless `jax_enable_x64` is on. Importing this
package imports no framework; a function that needs one raises ImportError if it is missing.
"""

from grujax.convert.equinox import from_equinox, to_equinox
from grujax.convert.haiku import from_haiku, to_haiku
from grujax.convert.keras import from_keras, to_keras
from grujax.convert.linen import from_linen, to_linen
from grujax.convert.nnx import from_nnx, to_nnx
from grujax.convert.onnx import from_onnx, load_onnx, to_onnx
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
