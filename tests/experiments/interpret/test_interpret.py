"""The explanation of a small untrained classifier, and its page."""

import shutil
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from experiments.common.training.models import save_model
from experiments.interpret import html_report, interpret
from experiments.interpret.explanation import Explanation, Model, classify, explain, load
from experiments.sentiment import train as sentiment
from tests.helpers import ROOT

SETTINGS = sentiment.Settings(
    embedding_size=8,
    hidden_size=6,
    num_layers=2,
    max_tokens=12,
    subword_buckets=64,
    ngram_buckets=64,
)
VOCABULARY = ["the", "great", "not", "battery"]
SENTENCE = 'The battery is not great <script>document.title="owned"</script> & :)'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory) -> Path:
    """The files of an experiments.sentiment run, with random weights and biases."""
    out = tmp_path_factory.mktemp("sentiment")
    inputs = sentiment.encode([SENTENCE], VOCABULARY, True, SETTINGS)
    module = sentiment.Classifier(SETTINGS, len(VOCABULARY))
    params = jax.jit(partial(module.init, train=False))(jax.random.key(0), inputs)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + 0.2 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    directory = out / "lexicon-fold0-seed0"
    directory.mkdir()
    settings = {field: getattr(SETTINGS, field) for field in SETTINGS.__dataclass_fields__}
    record = {"settings": settings, "lexicon": True, "fold": 0, "seed": 0}
    save_model(
        directory / sentiment.MODEL, jax.tree.unflatten(structure, noisy), record, VOCABULARY
    )
    return out


@pytest.fixture(scope="module")
def explanation(run_directory) -> Explanation:
    return explain(load(run_directory), SENTENCE)


def logits_of(model: Model, sentence: str) -> tuple:
    inputs = sentiment.encode([sentence], model.vocabulary, True, SETTINGS)
    return model.module.apply(model.params, inputs, train=False)


def test_the_explanation_has_the_prediction_of_the_model(run_directory, explanation):
    model = load(run_directory)
    logits, _, attention = logits_of(model, SENTENCE)
    np.testing.assert_allclose(explanation.probabilities, nn.softmax(logits[0]), atol=1e-5)
    count = len(explanation.tokens)
    assert count == SETTINGS.max_tokens  # the rest is truncated
    np.testing.assert_allclose(explanation.attention, attention[0, :count], atol=1e-5)


def test_the_contributions_add_up(run_directory, explanation):
    """Gradients: to the score minus that of a blank sentence. Gates: to the state's readout."""
    model = load(run_directory)
    logits, _, _ = logits_of(model, SENTENCE)
    chosen = int(logits[0].argmax())
    score = logits[0, chosen] - np.mean(np.delete(logits[0], chosen))
    inputs = sentiment.encode([SENTENCE], model.vocabulary, True, SETTINGS)
    inputs = {name: jnp.asarray(array) for name, array in inputs.items()}
    parts = classify(model, inputs)[1]
    blank = classify(model, inputs, jax.tree.map(jnp.zeros_like, parts))[0][0][0]
    blank_score = blank[chosen] - np.mean(np.delete(blank, chosen))
    assert explanation.completeness_error <= 0.01
    assert abs(explanation.ngrams) > 0.01
    total = explanation.gradients.sum() + explanation.sentence + explanation.ngrams
    np.testing.assert_allclose(total, score - blank_score, rtol=0.01)

    dense = model.params["params"]["Dense_0"]
    kernel = dense["kernel"] @ (np.eye(3)[chosen] * 1.5 - 0.5)
    rest = dense["bias"] @ (np.eye(3)[chosen] * 1.5 - 0.5)
    rest += inputs["sentence_features"][0] @ kernel[2 * SETTINGS.hidden_size :]
    rest += explanation.ngrams  # linear, so this is their whole part
    np.testing.assert_allclose(explanation.relevance.sum() + rest, score, atol=1e-4)


def test_occlusion_blanks_one_token(run_directory, explanation):
    model = load(run_directory)
    inputs = sentiment.encode([SENTENCE], model.vocabulary, True, SETTINGS)
    inputs = {name: jnp.asarray(array) for name, array in inputs.items()}
    (logits, _, _), parts = classify(model, inputs)
    chosen = int(logits[0].argmax())
    without = {name: parts[name].at[:, 3].set(0) for name in ("embedded", "features")}
    blanked = classify(model, inputs, parts | without)[0][0]
    contrast = np.eye(3)[chosen] * 1.5 - 0.5
    want = (logits[0] - blanked[0]) @ contrast
    np.testing.assert_allclose(explanation.occlusion[3], want, atol=1e-5)


def test_update_gates_of_both_directions(explanation):
    assert len(explanation.update_gates) == 2
    for gate in explanation.update_gates:
        assert gate.shape == (len(explanation.tokens), SETTINGS.hidden_size)
        assert np.all((gate > 0) & (gate < 1))


class Elements(HTMLParser):
    """The text of a page, and the number of each element."""

    def __init__(self, page: str):
        super().__init__()
        self.text, self.count = "", {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_data(self, data):
        self.text += data


def check_page(page: str, explanation: Explanation) -> None:
    elements, tokens = Elements(page), explanation.tokens
    assert SENTENCE in elements.text
    assert "script" not in elements.count
    assert elements.count["rect"] == 2 * len(tokens) * SETTINGS.hidden_size
    assert elements.count["span"] == 4 * len(tokens) + 3  # four methods, and three bars
    assert "http" not in page


def test_the_command_writes_the_page(run_directory, explanation, tmp_path, capsys):
    command = interpret.Command(text=SENTENCE, model=run_directory, out=tmp_path / "new")
    interpret.main(command)
    check_page((tmp_path / "new" / "report.html").read_text(), explanation)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split()[0] in ("negative", "neutral", "positive")
    assert "report.html" in printed


@pytest.mark.slow
def test_a_text_without_tokens(run_directory):
    found = explain(load(run_directory), "")
    assert found.tokens == ["."]
    assert "Why" in html_report.format_report("", found)


@pytest.mark.slow
def test_an_error_names_the_command_to_run_first(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "experiments.interpret", "--model", str(tmp_path), "--text", "x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert "Train it first: python -m experiments.sentiment" in result.stderr
    assert "Traceback" not in result.stderr


def test_colors_show_sign_and_size():
    page = html_report.colored_tokens(["<a>", "b"], np.array([0.5, -1.0]))
    assert 'class="for" title="+0.500" style="--alpha:0.300">&lt;a&gt;</span>' in page
    assert 'class="against" title="-1.000" style="--alpha:0.600">b</span>' in page
    assert "--alpha:0.000" in html_report.colored_tokens(["a"], np.zeros(1))


def chromium(profile: Path, *arguments: str) -> str:
    """Runs Chromium without a window. Returns: its standard output."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ]
    run = subprocess.run(
        [str(CHROMIUM), *flags, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return run.stdout


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
def test_a_browser_shows_the_page(explanation, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(html_report.format_report(SENTENCE, explanation), encoding="utf-8")
    shown = chromium(tmp_path / "profile", "--dump-dom", path.as_uri())
    check_page(shown, explanation)
    assert "<title>owned" not in shown  # text of the user did not run as a script

    picture = tmp_path / "report.png"
    window = ("--window-size=900,1400", f"--screenshot={picture}")
    chromium(tmp_path / "profile", *window, path.as_uri())
    pixels = matplotlib.image.imread(picture)[..., :3]
    # It shows red and blue tokens, and green gates.
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert np.sum((red > blue + 0.15) & (red > green + 0.15)) > 200
    assert np.sum((blue > red + 0.15) & (blue > green + 0.05)) > 200
    assert np.sum((green > red + 0.15) & (blue > red + 0.15)) > 2000
