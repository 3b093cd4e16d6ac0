"""TensorBoard's event files, read back by its protocol buffers."""

import numpy as np
import pytest

from grujax import sweep
from tests.fixtures.loggers.logged import read_events
from tests.fixtures.sweep_trainings import run

pytest.importorskip("tensorboardX")


def test_each_trial_has_a_folder_with_scalars_and_a_row_of_hparams(tmp_path):
    trials = sweep.grid(learning_rate=[0.1, float("inf")], steps=[3, 5])
    result = run(trials=trials, static=("steps",), directory=tmp_path, log_to="tensorboard")
    for number, rate in enumerate([0.1, 0.1, np.inf, np.inf]):
        scalars, table = read_events(tmp_path / "logs" / f"trial-{number:06d}")
        losses = result.metrics["losses"][number][: trials["steps"][number]]
        np.testing.assert_equal(scalars["losses"], list(enumerate(losses.tolist())))
        np.testing.assert_equal(scalars["loss"], [(0, result.metrics["loss"][number])])
        start = table["_hparams_/session_start_info"].session_start_info.hparams
        assert start["learning_rate"].number_value == rate
        assert start["steps"].number_value == trials["steps"][number]
        infos = table["_hparams_/experiment"].experiment.metric_infos
        assert [info.name.tag for info in infos] == ["loss"]
        status = table["_hparams_/session_end_info"].session_end_info.status
        assert status == (2 if number > 1 else 1)  # STATUS_FAILURE, STATUS_SUCCESS


def test_a_run_that_continues_replaces_later_steps(tmp_path):
    logger = sweep.TensorBoardLogger(tmp_path)
    logger.start("a", {"rate": 0.1})
    logger.log(0, {"loss": np.array([3.0, 2.0, 9.0])})
    logger = sweep.TensorBoardLogger(tmp_path)
    logger.start("a", {"rate": 0.1}, step=2)
    logger.log(2, {"loss": np.array([1.0])})
    logger.end({"loss": 1.0}, failed=False)
    scalars, _ = read_events(tmp_path / "a")
    assert scalars == {"loss": [(0, 3.0), (1, 2.0), (2, 1.0)]}
    logger.discard({"a", "unknown"})
    assert not (tmp_path / "a").exists()
