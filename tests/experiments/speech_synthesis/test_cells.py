"""The synthesizer with another cell than a GRU: `--cell`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.common.execution import output_folder
from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.common.training.models import save_model
from experiments.speech_synthesis import train as speech_synthesis
from experiments.speech_synthesis.model import Synthesizer
from experiments.speech_synthesis.settings import Command, Settings

LETTERS = np.array([[1, 2, 3, 4], [5, 6, 0, 0]])
FRAMES = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("cell", [name for name in RIVALS if name != "gru"])
def test_teacher_forcing_matches_single_steps_and_padding_changes_nothing(cell):
    model = Synthesizer(7, 3, 2, 6, 5, 8, 7, 6, cell=cell)
    params = jax.jit(partial(model.init, train=False))(jax.random.key(0), LETTERS.T, FRAMES)
    whole = model.apply(params, LETTERS.T, FRAMES, False)
    assert np.ptp(whole.frames, 0).mean() > 1e-2
    alone = model.apply(params, LETTERS[1:, :2].T, FRAMES[:, 1:], False)
    np.testing.assert_allclose(whole.frames[:, 1:], alone.frames, atol=1e-5)
    memory = model.apply(params, LETTERS.T, method="encode")
    carry = model.apply(params, 2, len(FRAMES), method="start")
    decode = jax.jit(partial(model.apply, params, memory, method="decode"))
    heard = np.zeros((1, 2, 3))
    for t in range(len(FRAMES)):
        carry, made = decode(carry, heard, memory.valid)
        for one, other in zip(made, whole, strict=True):
            np.testing.assert_allclose(one[0], other[t], atol=1e-5)
        heard = FRAMES[t : t + 1, :, -1]


def test_the_flag_chooses_the_cell_and_the_folder():
    command = parse(Command, "speech_synthesis", None, ["--quick", "--cell", "lstm"])
    assert speech_synthesis.make_model(command.settings, 5).cell == "lstm"
    assert output_folder(command) == Path("runs/speech_synthesis/quick/lstm")


@pytest.mark.parametrize("cell", [None, "lstm"])
def test_a_network_that_was_saved_before_there_were_cells_is_a_gru(tmp_path, cell):
    settings = {name: value for name, value in asdict(Settings()).items() if name != "cell"}
    settings |= {} if cell is None else {"cell": cell}
    record = {"settings": settings, "scale": [[0.0], [1.0]]}
    save_model(tmp_path / speech_synthesis.MODEL, {}, record, ["a"])
    assert speech_synthesis.load_synthesizer(tmp_path).model.cell == (cell or "gru")
