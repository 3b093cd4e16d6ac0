"""Recognizers of spoken digits, frame by frame: each cell at equal parameters."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments import speech_recognition
from experiments.common.cells import parameter_shapes
from experiments.common.onnx.models import read_stack
from experiments.common.rivals.cells import RIVALS
from experiments.common.training import loop
from experiments.common.training.models import from_arrays
from experiments.speech.digit_strings import draw_strings, make_pool
from experiments.speech.recognizer import Recognizer
from experiments.speech.spoken_digits import COEFFICIENTS, read_corpus
from experiments.speech_recognition import (
    DIGITS,
    WIDTH,
    Examples,
    make_recognizer,
    make_training,
    measure_errors,
    prepare,
)
from experiments.streaming.settings import CELLS, Settings
from experiments.streaming.steps import Network
from grujax.baselines import count_parameters

STRIDE = 2  # frames per step
STEP_SIZE = STRIDE * COEFFICIENTS  # I
POSITION = 100  # the step that is timed


class Recognized(NamedTuple):
    """A trained recognizer."""

    model: Recognizer
    params: dict[str, Any]
    results: dict[str, float]

    def network(self) -> Network:
        """What reads a stream, of which the log-softmax is left out."""
        parts = dict(self.params["params"])
        dense = parts.pop("Dense_0")
        [layers] = parts.values()
        if self.model.cell == "gru":
            [layer] = read_stack(layers)
        else:
            init = partial(
                RIVALS[self.model.cell].init,
                input_size=STEP_SIZE,
                hidden_size=self.model.state_size(COEFFICIENTS),
            )
            layer = from_arrays(parameter_shapes(init), layers["layer_0"])
        return Network(layer, dense["kernel"], dense["bias"])


def train_recognizers(settings: Settings, out: Path) -> dict[str, Recognized]:
    """Trains each cell, unless already trained. Returns: the recognizers by cell."""
    corpus = read_corpus()
    data = prepare(corpus)
    pool = make_pool(corpus.test)
    strings = draw_strings(jax.random.key(2), pool, settings.num_test, DIGITS, WIDTH)
    test = Examples(strings.frames, strings.lengths, strings.digits)
    found = {}
    for cell in CELLS:
        chosen = speech_recognition.Settings(
            bidirectional=False,
            cell=cell,
            hidden_size=settings.hidden_size,
            num_layers=1,
            stride=STRIDE,
            dropout=0.0,
            num_strings=settings.num_strings,
            epochs=settings.epochs,
            seed=settings.seed,
        )
        plan = make_training(chosen, data, chosen.learning_rate)
        about, key = {"settings": asdict(chosen)}, jax.random.key(settings.seed)
        params = loop.run(plan, key, out / cell, about, f"{cell}, digits").best_params
        model = make_recognizer(chosen)
        errors = jax.jit(partial(measure_errors, model))(params, test)
        results = {name: float(share) for name, share in errors.items()}
        results["parameters"] = count_parameters(params)
        results["learning rate"] = chosen.learning_rate
        found[cell] = Recognized(model, params, results)
    return found
