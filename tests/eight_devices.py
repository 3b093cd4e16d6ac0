"""Every experiment that trains by batches gives the same on eight devices as on one, and can be
trained in pieces and in bfloat16.

`tests/test_common_scale.py` runs this file in a process with eight CPU devices.
"""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from synthetic_teacher import speak

import grujax
from experiments import (
    exercises,
    flip_flop,
    forecasting,
    images,
    question_answering,
    sentiment,
    speech_recognition,
    speech_synthesis,
    summarisation,
    text_generation,
    translation,
    video,
)
from experiments.common import espeak, loop, training
from experiments.common.listener import ListenerSettings
from experiments.common.scale import Scale, on, replicated, results_on

EPOCHS = 2


class TrainedError(Exception):
    """One training is enough."""


def metrics(plan, key, scale: Scale) -> list[dict[str, float]]:
    mesh = scale.mesh()
    state = replicated(jax.jit(plan.init)(key), mesh)
    step = jax.jit(partial(plan.epoch, scale=scale), **results_on(mesh))
    found = []
    for _ in range(EPOCHS):
        with on(mesh):
            state, values = step(state)
        found.append({name: float(x) for name, x in values.items()})
    return found


@pytest.fixture
def compare(monkeypatch, tmp_path):
    """Calls an experiment up to its first training, which is done on one device and on eight."""

    def run(plan, key, *_):
        pieces = partial(plan.epoch, scale=Scale(accumulate=2, dtype="bfloat16"))
        state = jax.eval_shape(plan.init, key)
        program, (after, _) = jax.make_jaxpr(pieces, return_shape=True)(state)
        assert [x.dtype for x in jax.tree.leaves(after)] == [
            x.dtype for x in jax.tree.leaves(state)
        ]
        assert re.search(r":bf16\[[\d,]+\][^=]*= grujax_forward", str(program))
        one, eight = (metrics(plan, key, Scale(devices=n)) for n in (1, 8))
        for alone, spread in zip(one, eight, strict=True):
            for name, value in alone.items():
                np.testing.assert_allclose(spread[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        raise TrainedError

    monkeypatch.setattr(loop, "run", run)
    # Adam divides by gradients that are nothing but rounding, and takes long to compile.
    monkeypatch.setattr(training, "adamw_warmup_cosine", lambda *_: optax.sgd(0.1))
    jax.config.update("jax_disable_most_optimizations", True)  # compiling is most of the work

    def compare(module, command):
        with pytest.raises(TrainedError):
            module.main(replace(command, out=tmp_path))

    return compare


def test_there_are_eight_devices():
    assert len(jax.devices()) == 8


@pytest.mark.parametrize("models", [None, 3])
def test_the_native_kernel_runs_the_rows_of_its_device(models):
    """In both directions and back in time, with masks; for several models under vmap, too."""
    keys = jax.random.split(jax.random.key(0), 2 if models is None else 2 * models)
    pair = [
        jax.vmap(partial(grujax.init_gru, input_size=6, hidden_size=8))(keys[i::2]) for i in (0, 1)
    ]
    if models is None:
        pair = jax.tree.map(lambda x: x[0], pair)
    xs = jax.random.normal(jax.random.key(1), (7, 16, 6))
    resets = jax.random.bernoulli(jax.random.key(2), 0.2, (7, 16))

    def loss(pair, xs):
        options = {"lengths": jnp.arange(16) % 8, "implementation": "native", "zoneout": 0.1}
        _, hs = grujax.bidirectional_gru(tuple(pair), xs, resets=resets, **options)
        last, _ = grujax.gru(pair[0], hs[..., :6], key=jax.random.key(3), **options)
        return jnp.mean(hs**2) + jnp.mean(last**3)

    def total(pair, xs):
        return loss(pair, xs) if models is None else jax.vmap(loss, (0, None))(pair, xs).sum()

    look = jax.value_and_grad(total, argnums=(0, 1))
    want = jax.jit(look)(pair, xs)
    with jax.set_mesh(Scale(devices=8).mesh()):
        look = jax.jit(lambda pair, xs: jax.value_and_grad(total, argnums=(0, 1))(pair, xs))
        program = look.lower(pair, xs).compile().as_text()
        got = look(pair, xs)
    calls = [line for line in program.splitlines() if "custom-call(" in line and "grujax_" in line]
    assert calls
    assert all("7,2," in call for call in calls)
    assert not any("7,16," in call for call in calls)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), got, want)


def test_sentiment(compare, archive):
    settings = sentiment.Settings(
        embedding_size=8, hidden_size=8, max_tokens=12, subword_buckets=64, batch_size=32
    )
    compare(sentiment, sentiment.Command(settings))


def test_question_answering(compare):
    settings = question_answering.Settings(hidden_size=8, num_examples=32, batch_size=16, passes=2)
    compare(question_answering, question_answering.Command(settings, num_test=8))


def test_forecasting(compare, monkeypatch, forecast_archives):
    settings = forecasting.Settings(
        window=5, hidden_size=4, members=6, batch_size=64, weight_decay=0.1
    )
    study = forecasting.STUDIES["weather"]._replace(settings=settings)
    monkeypatch.setitem(forecasting.STUDIES, "weather", study)
    compare(forecasting, forecasting.Command(data="weather"))


def test_speech_recognition(compare, monkeypatch, spoken):
    tiny = speech_recognition.Settings(hidden_size=12, width=100, num_strings=32, batch_size=16)
    monkeypatch.setitem(speech_recognition.SETTINGS, "bidirectional", tiny)
    monkeypatch.setattr(speech_recognition, "NUM_VALIDATION", 12)
    monkeypatch.setattr(speech_recognition, "WIDTH", 128)
    compare(speech_recognition, speech_recognition.Command())


def test_text_generation(compare, monkeypatch, books):
    tiny = text_generation.Settings(parameters=1500, batch_size=8, steps=8, parts=4)
    monkeypatch.setattr(text_generation, "TRAININGS", {"gru": tiny, "gru-large": tiny})
    monkeypatch.setattr(text_generation, "SHARES", (0.2, 0.1))
    compare(text_generation, text_generation.Command())


SMALL = {"vocabulary_size": 120, "embedding_size": 12, "hidden_size": 12, "attention_size": 8}


def test_translation(compare, monkeypatch, debian):
    tiny = translation.Settings(**SMALL, num_pairs=200, widths=(24,), batch_size=16)
    monkeypatch.setitem(translation.SETTINGS, "dates", tiny)
    compare(translation, translation.Command(data="dates"))


def test_summarisation(compare, monkeypatch, debian):
    tiny = summarisation.Settings(**SMALL, widths=((48, 16),), tail=8, batch_size=16)
    monkeypatch.setattr(summarisation, "QUICK", tiny)
    corpus = summarisation.synopsis_corpus
    monkeypatch.setattr(summarisation, "synopsis_corpus", lambda: corpus(validation=30, test=30))
    compare(summarisation, summarisation.Command(quick=True))


def test_speech_synthesis(compare, monkeypatch):
    tiny = speech_synthesis.Settings(
        num_strings=22,
        num_validation=6,
        embedding_size=8,
        encoder_size=8,
        hidden_size=12,
        attention_size=8,
        prenet_size=8,
        batch_size=16,
    )
    monkeypatch.setattr(espeak, "speak", speak)
    monkeypatch.setattr(speech_synthesis, "QUICK", (tiny, ListenerSettings(num_strings=80)))
    monkeypatch.setattr(speech_synthesis, "MOST", 3)
    monkeypatch.setattr(speech_synthesis, "LONGEST", 17)
    compare(speech_synthesis, speech_synthesis.Command(quick=True, num_test=4))


def test_images(compare, monkeypatch, handwritten):
    small = {"hidden_size": 4, "epochs": 2, "num_layers": 1, "patch": 7, "batch_size": 24}
    larger = {name: replace(settings, **small) for name, settings in images.LARGER.items()}
    monkeypatch.setattr(images, "LARGER", larger)
    compare(images, images.Command(quick=True))


def test_video(compare, monkeypatch, handwritten):
    tiny = video.Settings(hidden_size=8, features=4, num_clips=16, batch_size=8, imagined=1)
    monkeypatch.setattr(video, "QUICK", {"gru": tiny})
    monkeypatch.setattr(video, "NUM_VALIDATION", 8)
    compare(video, video.Command(quick=True, num_test=12))


def test_exercises(compare, monkeypatch, wrist):
    tiny = exercises.Settings(hidden_size=8, seeds=2, batch_size=32, updates=16, stride=10)
    monkeypatch.setattr(exercises, "QUICK", tiny)
    compare(exercises, exercises.Command(quick=True))


def test_flip_flop(compare):
    compare(flip_flop, flip_flop.Command(quick=True))
