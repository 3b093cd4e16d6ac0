"""ONNX files: their checksum, and the comparison with JAX before they are written."""

from contextlib import suppress

import numpy as np
import onnx
import pytest

from experiments.common.durable import DamagedFileError
from experiments.common.onnx.files import export_model, read_onnx, write_onnx


def shift_model() -> onnx.ModelProto:
    """x [2] -> y [2]: x + [1.5, 2.5]."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    shift = onnx.numpy_helper.from_array(np.float32([1.5, 2.5]), "shift")
    add = onnx.helper.make_node("Add", ["x", "shift"], ["y"])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([add], "add", [value], [output], [shift])
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_a_cut_or_flipped_file_is_named(tmp_path):
    model = shift_model()
    path = tmp_path / "model.onnx"
    write_onnx(path, model)
    content = path.read_bytes()

    def outputs() -> list[float]:
        return read_onnx(path).run(None, {"x": np.zeros(2, np.float32)})[0].tolist()

    assert outputs() == [1.5, 2.5]
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), content[:place]):
            path.write_bytes(damaged)
            with suppress(DamagedFileError):
                assert outputs() == [1.5, 2.5]  # the checksum itself is damaged
    path.write_bytes(model.SerializeToString())  # as version 0.1 wrote it
    assert outputs() == [1.5, 2.5]


def test_a_model_is_written_only_if_it_is_that_of_jax(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    inputs = [{"x": np.float32([0, 1])}, {"x": np.float32([5, -5])}]
    export_model(path, shift_model(), lambda x: [x + np.float32([1.5, 2.50001])], inputs)
    assert capsys.readouterr().out == f"{path}\nJAX and onnxruntime differ by at most 1.0e-05.\n"
    before = path.read_bytes()
    for wrong in (1.6, np.nan):
        with pytest.raises(RuntimeError, match=r"model.onnx is not written: .* differ by .* in y"):
            export_model(path, shift_model(), lambda x, y=wrong: [x + np.float32([y, 2.5])], inputs)
    assert path.read_bytes() == before
