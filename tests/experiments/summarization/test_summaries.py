"""The parts of summarization: the pointer, the readers of descriptions, baselines and scores."""

import gzip
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.seq2seq import buckets, ddtp, subwords
from experiments.seq2seq.decoding import Translator
from experiments.seq2seq.model import EncoderDecoder, shift_right
from experiments.seq2seq.report import write_outputs, write_scores
from experiments.summarization import summary_scores
from experiments.summarization.copying import PointerGenerator, mix

SIZES = {"num_tokens": 11, "embedding_size": 6, "hidden_size": 5, "attention_size": 4}
MODEL, PLAIN = PointerGenerator(**SIZES, dropout=0.3), EncoderDecoder(**SIZES, dropout=0.3)
# Token 4 comes twice in the first source; of the second one's targets none is in its source.
SOURCE = jnp.array([[4, 5], [6, 3], [4, 0], [3, 0]])
TARGETS = jnp.array([[4, 8], [6, 9], [3, 7]])


def apply(model, method="__call__"):
    """The method, compiled: it takes parameters, source, targets or the tokens before them."""
    extra = () if method == "generation_probability" else (False,)
    return jax.jit(lambda params, *tokens: model.apply(params, *tokens, *extra, method=method))


def random_params(model):
    """Random parameters, biases included."""
    tokens = jnp.ones((2, 1), int)
    params = jax.jit(model.init, static_argnums=3)(jax.random.key(0), tokens, tokens, False)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.5 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


@pytest.fixture(scope="module")
def params():
    return random_params(MODEL)


def test_a_token_is_written_or_copied_from_wherever_it_stands(params):
    scores, weights = apply(MODEL)(params, SOURCE, shift_right(TARGETS))
    gate = apply(MODEL, "generation_probability")(params, SOURCE, TARGETS)
    written = jax.nn.softmax(apply(PLAIN)(params, SOURCE, shift_right(TARGETS))[0])
    for t, b in np.ndindex(TARGETS.shape):
        expected = [float(gate[t, b] * p) for p in written[t, b]]
        for s in range(len(SOURCE)):
            expected[SOURCE[s, b]] += float((1 - gate[t, b]) * weights[t, b, s])
        np.testing.assert_allclose(jnp.exp(scores[t, b]), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(jnp.exp(scores).sum(-1), 1, rtol=1e-5)


def test_steps_one_by_one_with_beams_are_teacher_forcing(params):
    scores, _ = apply(MODEL)(params, SOURCE, shift_right(TARGETS))
    memory, carry = jax.jit(lambda p: MODEL.apply(p, SOURCE, method="encode"))(params)
    advance = jax.jit(
        lambda carry, tokens: MODEL.apply(params, memory, carry, tokens, method="step")
    )
    carry = jax.tree.map(lambda x: jnp.stack([x, x]), carry)  # two beams
    for t, previous in enumerate(shift_right(TARGETS)):
        carry, step = advance(carry, jnp.stack([previous] * 2))
        for beam in step:
            np.testing.assert_allclose(beam, scores[t], atol=1e-5)


@pytest.mark.parametrize("model", [MODEL, PLAIN])
def test_the_scores_of_targets_and_their_gradient_are_those_of_the_distribution(model):
    params = random_params(model)
    targets = TARGETS.at[2, 1].set(subwords.PADDING)

    def alone(params):
        scores, right = apply(model, "score_targets")(params, SOURCE, targets)
        return scores.sum(), (scores, right)

    def chosen(params):
        scores = jax.nn.log_softmax(apply(model)(params, SOURCE, shift_right(targets))[0])
        likely = scores.argmax(-1) == targets
        scores = jnp.take_along_axis(scores, targets[..., None], -1)[..., 0] * (targets != 0)
        return scores.sum(), (scores, likely)

    (_, values), gradient = jax.jit(jax.value_and_grad(alone, has_aux=True))(params)
    (_, others), expected = jax.jit(jax.value_and_grad(chosen, has_aux=True))(params)
    assert values[0][2, 1] == 0
    np.testing.assert_allclose(values[0], others[0], atol=1e-5)
    np.testing.assert_array_equal(values[1], others[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradient, expected)


@given(
    gate=st.floats(-300, 300, width=32),
    written=st.floats(-300, -0.001953125, width=32),
    copied=st.one_of(st.just(0.0), st.floats(2.0**-120, 1, width=32)),
)
def test_a_mixture_is_finite_and_that_of_the_probabilities_in_long_double(gate, written, copied):
    value, gradient = jax.value_and_grad(mix, (0, 1, 2))(gate, written, copied)
    assert np.isfinite([value, *gradient[:2]]).all()
    wide = np.longdouble
    p_gen = 1 / (1 + np.exp(-wide(gate)))
    p_copy = 1 / (1 + np.exp(wide(gate)))
    expected = np.log(p_gen * np.exp(wide(written)) + p_copy * wide(copied))
    np.testing.assert_allclose(float(value), float(expected), rtol=1e-5, atol=1e-6)
    share = p_gen * np.exp(wide(written)) / np.exp(expected)
    np.testing.assert_allclose(float(gradient[1]), float(share), rtol=1e-3, atol=1e-6)


def test_bundles_of_widths_for_each_side():
    widths = ((4, 3), (4, 6), (8, 3), (8, 6))
    random = np.random.default_rng(0)
    lengths = random.integers(1, [9, 8], (60, 2))
    rows = [[list(random.integers(4, 11, n)) for n in column] for column in lengths.T]
    bundles = buckets.make_bundles(*rows, widths, size=5, seed=0)
    assert bundles["source"].shape[1:] == (8, 5)
    assert bundles["target"].shape[1:] == (6, 5)
    found = []
    for source, target, bucket in zip(*bundles.values(), strict=True):
        width = widths[bucket]
        assert not source[width[0] :].any()
        assert not target[width[1] :].any()
        pairs = zip(source.T.tolist(), target.T.tolist(), strict=True)
        found += [tuple(map(tuple, pair)) for pair in pairs if any(pair[0])]
    expected = [
        ((*s, *[0] * (8 - len(s))), (*t, *[0] * (6 - len(t))))
        for s, t in zip(*rows, strict=True)
        if len(t) <= 6
    ]
    assert sorted(found) == sorted(expected)
    assert set(bundles["bucket"]) == {0, 1, 2, 3}


def test_long_rows_lose_their_middle():
    assert subwords.without_middle([1, 2, 3], 3, 1) == [1, 2, 3]
    assert subwords.without_middle([1, 2, 3, 4, 5, 6], 4, 1) == [1, 2, 3, 6]
    assert subwords.without_middle([1, 2, 3, 4, 5, 6], 4, 0) == [1, 2, 3, 4]


def test_a_summariser_reads_the_end_of_a_long_text_and_stops_in_time(params):
    tokenizer = subwords.learn_subwords(["abcd"], 11)
    summariser = Translator(MODEL, params, tokenizer, (8,), 2, tail=3, max_length=4)
    read, _, weights = summariser.attention_map("abcd" * 5 + " b", "a")
    assert len(read) == 8
    assert read[-2:] == ["b", "</s>"]
    assert weights.shape[1] == 8
    assert 0 < len(summariser(["abcd" * 5], 1)[0]) <= 4 * len("ab")  # no subword has more letters
    assert len(summariser._replace(max_length=None)(["abcd" * 5], 1)[0]) > 4 * len("ab")


def write_index(folder, entries) -> None:
    """(package, synopsis, paragraphs) as an index of English descriptions."""
    blocks = [
        f"Package: {package}\nDescription-md5: {i:032x}\nDescription-en: {synopsis}\n "
        + "\n .\n ".join(paragraphs)
        for i, (package, synopsis, paragraphs) in enumerate(entries)
    ]
    (folder / "Translation-en.gz").write_bytes(gzip.compress("\n\n".join(blocks).encode()))


def words(number: int, start: int = 0) -> str:
    return " ".join(f"w{i}" for i in range(start, start + number))


def test_descriptions_of_the_right_length_are_read_once_each(tmp_path):
    write_index(
        tmp_path,
        [
            ("short", "of 19 words", [words(19)]),
            ("enough", "of 20 words", [words(12), words(8, 12)]),
            ("again", "the same description", [words(20).upper()]),
            ("long", "of 120 words", [words(120, 500)]),
            ("longer", "of 121 words", [words(121, 700)]),
        ],
    )
    pairs = ddtp.read_summaries(tmp_path / "Translation-en.gz")
    expected = [words(20).upper(), words(120, 500)]  # sorted by package, "again" comes first
    assert pairs.sources == expected
    assert pairs.targets == ["the same description", "of 120 words"]


def test_family_opening_and_synopsis_make_groups_that_no_split_straddles(tmp_path):
    texts = itertools.count(step=100)
    opening = words(ddtp.OPENING, 90_000)
    entries = [
        ("libzebra-dev", "one", [words(30, next(texts))]),
        ("zebra-doc", "two", [words(30, next(texts))]),
        ("yak", "three", [f"{opening} {words(30, next(texts))}"]),
        ("gnu", "four", [f"{opening.upper()} {words(30, next(texts))}"]),
        ("emu", "The same  line", [words(30, next(texts))]),
        ("kiwi", "the same line", [words(30, next(texts))]),
        ("ibis", "alone", [words(30, next(texts))]),
    ]
    others = [(f"p{chr(97 + i)}q{chr(97 + j)}x", f"{i} {j}") for i in range(20) for j in range(20)]
    entries += [(name, line, [words(30, next(texts))]) for name, line in others]
    write_index(tmp_path, entries)
    pairs = ddtp.read_summaries(tmp_path / "Translation-en.gz")
    group = dict(zip(pairs.targets, pairs.groups, strict=True))
    assert group["one"] == group["two"]
    assert group["three"] == group["four"]
    assert group["The same  line"] == group["the same line"]
    assert len({group[name] for name in ("one", "three", "the same line", "alone")}) == 4
    split = ddtp.split_pairs(pairs.groups, num_validation=100, num_test=100, seed=0)
    groups = [set(pairs.groups[part]) for part in split]
    assert all(len(part) > 90 for part in split)
    assert groups[0].isdisjoint(groups[1] | groups[2])
    assert groups[1].isdisjoint(groups[2])


def test_leads_and_the_best_window():
    text = "Frotz 2.5 is an old reader of games. It provides one two three four five six seven."
    assert summary_scores.first_sentence(text) == "Frotz 2.5 is an old reader of games."
    assert summary_scores.words_after_definition(text) == "old reader of games."
    assert summary_scores.words_after_definition("a b") == "a b"
    long = "This provides the one 2 3 4 5 6 7 8 9"
    assert summary_scores.words_after_definition(long) == "one 2 3 4 5 6 7 8"
    reference = "one four games provides"
    best = summary_scores.best_window(text, reference)
    assert len(best.split()) == summary_scores.WORDS
    scores = [
        summary_scores.score_summaries([" ".join(text.split()[i : i + 8])], [reference])["ROUGE-1"]
        for i in range(len(text.split()) - 7)
    ]
    found = summary_scores.score_summaries([best], [reference])["ROUGE-1"]
    assert found == max(scores)
    assert found > scores[0]
    assert summary_scores.best_window("a b", "b") == "a b"


def longest_common(a, b) -> int:
    """The length of the longest common subsequence, by trying all."""
    return max(
        n
        for n in range(len(a) + 1)
        for chosen in itertools.combinations(a, n)
        if any(chosen == other for other in itertools.combinations(b, n))
    )


@given(*[st.lists(st.sampled_from("abc"), min_size=1, max_size=6)] * 2)
def test_rouge_is_what_its_definition_says(output, reference):
    scores = summary_scores.score_summaries([" ".join(output).upper()], [" ".join(reference)])
    for n, name in ((1, "ROUGE-1"), (2, "ROUGE-2")):
        grams = [list(zip(*[x[i:] for i in range(n)], strict=False)) for x in (output, reference)]
        common = sum(min(grams[0].count(g), grams[1].count(g)) for g in set(grams[0]))
        total = len(grams[0]) + len(grams[1])
        assert scores[name] == pytest.approx(200 * common / total if common else 0)
    common = longest_common(output, reference)
    assert scores["ROUGE-L"] == pytest.approx(200 * common / (len(output) + len(reference)))


def test_the_share_of_new_words():
    assert summary_scores.share_of_new_words(["a B, c"], ["b d (c)"]) == pytest.approx(1 / 3)
    assert summary_scores.share_of_new_words(["a"], [""]) == 0


def test_scores_are_means_over_each_part(tmp_path, capsys):
    parts = np.array(["x", "y", "y"])
    rows = {"right": ["a", "b", "c"], "once": ["a", "q", "q"]}
    columns = ["ROUGE-1"]
    path = tmp_path / "results.json"
    score = summary_scores.score_summaries
    write_scores(rows, ["a", "b", "c"], parts, score, columns, path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-1] for line in lines if line and line[0] == "once"] == ["33.3", "100.0", "0.0"]
    write_outputs(tmp_path / "out.tsv", ["s"], ["r"], ["o"])
    assert (tmp_path / "out.tsv").read_text() == "source\treference\toutput\ns\tr\to\n"
