"""Hundreds of changed models: `load_onnx` refuses each, or agrees with onnxruntime."""

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
graphs = pytest.importorskip("tests.fixtures.onnx_models.graphs", exc_type=ImportError)
mutants = pytest.importorskip("tests.fixtures.onnx_models.mutants", exc_type=ImportError)
oracle = pytest.importorskip("tests.fixtures.onnx_models.oracle", exc_type=ImportError)

FEW, MANY = range(24), range(24, 224)


def judge(folder, seed: int) -> str:
    """Whether `load_onnx` refuses a changed model, or agrees with onnxruntime; else a problem."""
    what, model = mutants.mutant(seed)
    try:
        layers = graphs.load(folder, model)
    except ValueError:
        return "refused"
    try:
        worst = oracle.disagreement(layers, model, graphs.gru_nodes(model))
    except oracle.NotRunError as error:
        # Sizes that do not fit this run only, or an invalid node that computes a size.
        if "must have shape" in str(error) or "change the opset" in what:
            return "not run"
        return f"seed {seed}, {what}: {error}"
    return "equal" if worst <= 1e-5 else f"seed {seed}, {what}: {worst}"


def check(folder, seeds: range) -> None:
    verdicts = [judge(folder, seed) for seed in seeds]
    assert set(verdicts) <= {"refused", "equal", "not run"}
    assert verdicts.count("refused") > len(seeds) // 2
    assert verdicts.count("equal") > len(seeds) // 8
    assert verdicts.count("not run") < len(seeds) // 10


def test_few_changed_models(tmp_path):
    check(tmp_path, FEW)


@pytest.mark.slow
def test_many_changed_models(tmp_path):
    check(tmp_path, MANY)
