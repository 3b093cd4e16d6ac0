"""ONNX: the weights of GRU nodes, and models that onnxruntime runs.

`load_onnx` uses every input, attribute and tensor of the nodes that it reads, or raises a
ValueError that names it. In the order in which it works:

    model_file    bytes → a parsed model, and its tensors
    graph         a parsed model → nodes in the order in which they run
    shapes        the dtype and the axes of every tensor
    constants     the tensors that the file determines
    nodes         a GRU node → its layer
    lengths       whether lengths that the file computes are all T
    axes          what the nodes between two GRU nodes do with time, batch and features
    stack         several GRU nodes → the order of the layers
"""

from grujax.convert.onnx.export import to_onnx
from grujax.convert.onnx.load import load_onnx
from grujax.convert.onnx.weights import from_onnx

__all__ = ["from_onnx", "load_onnx", "to_onnx"]
