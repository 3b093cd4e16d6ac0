"""The encoder-decoder with each cell, and the flag that chooses it: `--cell`."""

from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.cells import parameter_shapes
from experiments.common.execution import output_folder
from experiments.common.expectations import expectations
from experiments.common.parsing import parse
from experiments.common.rivals.cells import RIVALS
from experiments.seq2seq.decoding import SearchOptions, search
from experiments.seq2seq.model import EncoderDecoder, PointerGenerator
from experiments.seq2seq.subwords import END, PADDING
from grujax.baselines import count_parameters
from tests.fixtures.random_params import random_params

SOURCE = jnp.array([[4, 5], [6, 7], [4, 0], [8, 0]])  # nothing to copy ends a sentence
TARGETS = jnp.array([[4, 8], [6, 9], [3, 7]])
every_cell = pytest.mark.parametrize("cell", list(RIVALS))


def make_model(cell: str, kind=EncoderDecoder):
    return kind(
        num_tokens=11, embedding_size=6, hidden_size=5, attention_size=4, dropout=0.3, cell=cell
    )


def score(model, params, source, targets):
    """The log-probability of each target [T, B]."""
    apply = jax.jit(lambda *args: model.apply(*args, False, method="score_targets")[0])
    return apply(params, source, targets)


@every_cell
@pytest.mark.parametrize("kind", [EncoderDecoder, PointerGenerator])
def test_a_sentence_that_is_found_has_the_rank_that_teacher_forcing_gives_it(cell, kind):
    model = make_model(cell, kind)
    params = random_params(model)
    params["params"]["output_bias"][END] = -3  # not the first word
    tokens, ranks = search(model, SearchOptions(3, 7, 1.0, None), params, SOURCE)
    lengths = (tokens != PADDING).sum(1)
    assert lengths.max() > 2
    scores = score(model, params, SOURCE, tokens.T).sum(0)
    np.testing.assert_allclose(ranks, scores / ((5 + lengths) / 6), rtol=1e-4)


@every_cell
def test_padding_and_other_rows_change_nothing(cell):
    model = make_model(cell)
    params = random_params(model)
    alone = score(model, params, SOURCE[:2, 1:], TARGETS[:2, 1:])
    together = score(model, params, SOURCE, TARGETS)
    np.testing.assert_allclose(together[:2, 1:], alone, atol=1e-5)


@pytest.mark.parametrize("cell", [name for name in RIVALS if name != "gru"])
def test_each_layer_has_about_as_many_parameters_as_the_gru(cell):
    def count(cell: str) -> dict[str, int]:
        model = EncoderDecoder(20, 32, 48, 16, 0.0, cell)
        tokens = jnp.ones((2, 1), int)
        params = parameter_shapes(lambda key: model.init(key, tokens, tokens, False))["params"]
        return {name: count_parameters(params[name]) for name in ("encoder", "lower", "upper")}

    found, wanted = count(cell), count("gru")
    assert all(abs(found[name] - wanted[name]) < 0.07 * wanted[name] for name in wanted)


@pytest.mark.parametrize("name", ["translation", "summarization"])
def test_the_flag_chooses_the_cell_and_the_folder(name):
    command_type = import_module(f"experiments.{name}.settings").Command
    make = import_module(f"experiments.{name}.train").make_model
    usual = parse(command_type, name, None, ["--quick"])
    assert expectations(usual).figures
    assert make(usual.settings).cell == "gru"
    command = parse(command_type, name, None, ["--quick", "--cell", "lstm"])
    assert make(command.settings).cell == "lstm"
    assert command.settings.hidden_size == usual.settings.hidden_size
    assert output_folder(command) == Path("runs") / name / "quick" / "lstm"
    assert not expectations(command).figures
