"""Summarization: GRUs that write and copy turn a package description into one line.

In Debian's package index, 50,782 descriptions of 20 to 120 words have a synopsis of about seven
words, written by their maintainers; more than a quarter of its words are not in the description.
The model is that of translation with the pointer of See et al. 2017, `PointerGenerator` in
`experiments/seq2seq/model.py`: at each step it writes a subword or copies one that it attends to.
It reads the beginning and the end of long descriptions, which contain nearly all copied words. No
split separates packages of one family, or equal openings or synopses.

    python -m experiments.summarization                   9 minutes
    python -m experiments.summarization --quick           a small subset: 2 minutes
    python -m experiments.summarization --no-copy         without the pointer
    python -m experiments.summarization --train articles.jsonl  your own texts and summaries
    python -m experiments.summarization --summarize - --model runs/summarization/articles
    python -m experiments.summarization --summarize "Frotz is a program that ..."   (-: read stdin)

Measured on 1,997 test descriptions, ROUGE-1 / ROUGE-L: GRU with 5 beams 44.2 / 40.3; first sentence
32.5 / 28.4, its 8 words after "is a" and the like 35.7 / 32.0; nearest neighbor 22.3 / 20.7. The
best 8 consecutive words, an oracle that knows the synopsis, reach 49.7 / 42.7.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jax import Array
from tokenizers import Tokenizer

from experiments.common import training
from experiments.common.data.user_files import read_standard_input
from experiments.common.provenance import command_line
from experiments.common.report.heat_maps import plot_alignment
from experiments.common.report.plots import cell_title
from experiments.seq2seq import training as seq2seq
from experiments.seq2seq.buckets import Data
from experiments.seq2seq.decoding import Translator, describe_speed
from experiments.seq2seq.model import EncoderDecoder, PointerGenerator
from experiments.seq2seq.parallel_corpus import Corpus, synopsis_corpus, user_corpus
from experiments.seq2seq.report import write_outputs, write_scores
from experiments.summarization.scores import (
    ROUGE,
    WORDS,
    baselines,
    best_window,
    new_word_rate,
    score_summaries,
)
from experiments.summarization.settings import OUT, Command, Settings

COMMAND = "python -m experiments.summarization"
FORMER_OUT = Path("runs/summarisation")
FIELDS = {
    "text": ("document", "article", "description", "body"),
    "summary": ("title", "headline", "synopsis", "abstract"),
}
BEAMS, LENGTH_PENALTY, NO_REPEAT = 5, 2.0, 3  # see `beam_search`; chosen on validation data
BATCH = 64  # descriptions summarized together
MINUTES = (9, 2)  # of the whole command, and with --quick


def prepare(corpus: Corpus, tokenizer: Tokenizer, settings: Settings) -> Data:
    """Converts text pairs to batches of ids."""
    return seq2seq.prepare(corpus, tokenizer, settings, settings.tail)


def make_model(settings: Settings) -> EncoderDecoder:
    """Builds the network. All its layers are in `experiments/seq2seq/model.py`."""
    network = PointerGenerator if settings.copy else EncoderDecoder
    return network(
        num_tokens=settings.vocabulary_size,
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        attention_size=settings.attention_size,
        dropout=settings.dropout,
        cell=settings.cell,
    )


def summary_training(
    settings: Settings, data: Data, learning_rate: float | Array
) -> training.Training:
    """Builds the training of one summarizer; the learning rate may be traced."""
    model = make_model(settings)

    def token_losses(params, source, target, train, rngs):
        scores, is_most_likely = model.apply(
            params, source, target, train, rngs=rngs, method="score_targets"
        )
        return -scores, is_most_likely

    return seq2seq.encoder_decoder_training(settings, data, learning_rate, model, token_losses)


def make_train(settings: Settings, data: Data) -> Callable[..., training.Metrics]:
    """Returns the pure `train(key, learning_rate)` -> metrics of each epoch [E]."""
    return training.as_function(summary_training, settings, data)


def load_summarizer(out: Path) -> Translator:
    """Loads the saved model."""
    params, saved, tokenizer = seq2seq.load(out, COMMAND)
    settings = Settings(**saved)
    return Translator(
        make_model(settings),
        params,
        tokenizer,
        tuple(sorted({source for source, _ in settings.widths})),
        BEAMS,
        tail=settings.tail,
        max_length=settings.widths[-1][1],
        length_penalty=LENGTH_PENALTY,
        no_repeat=NO_REPEAT,
    )


def experiment(command: Command, out: Path) -> None:
    """Trains, summarizes the test set, and compares with the baselines."""
    settings, title = command.settings, cell_title(command.settings.cell)
    if command.train is not None:
        corpus, notes = user_corpus(command.train, FIELDS, command.columns)
        print("\n".join(notes))
    else:
        print(f"Training: about {MINUTES[command.quick]} minutes of one CPU core.")
        corpus = synopsis_corpus()
    corpus = corpus.reduced(settings.num_pairs)
    print(corpus.origin())
    seq2seq.train_and_save(settings, corpus, out, prepare, summary_training, **corpus.record())

    summarizer = load_summarizer(out)
    validation, _ = corpus.select(corpus.split.validation)
    seq2seq.save_least_rank(out, summarizer.usual_rank(validation, BATCH))
    test, references = corpus.select(corpus.split.test)
    outputs = summarizer(test, BATCH)
    rows = {
        **baselines(corpus.select(corpus.split.train), test),
        f"{title}, greedy": summarizer._replace(num_beams=1)(test, BATCH),
        f"{title}, {BEAMS} beams": outputs,
        f"oracle: the best {WORDS} words in a row": list(map(best_window, test, references)),
    }
    parts = corpus.parts[corpus.split.test]
    write_scores(rows, references, parts, score_summaries, list(ROUGE), out / "results.json")
    write_outputs(out / "summaries.tsv", test, references, outputs)
    rates = [new_word_rate(test, lines) for lines in (references, outputs)]
    print(f"\nWords not in the source: references {rates[0]:.1%}, model {rates[1]:.1%}.")
    print(describe_speed(summarizer, test[: 8 * BATCH], BATCH))
    examples = np.random.default_rng(1).choice(len(test), 3, replace=False)
    plot_examples(out / "attention.png", summarizer, [(test[i], outputs[i]) for i in examples])
    own = [] if command.train is None else ["--model", str(out)]
    print(f"Try: {command_line(COMMAND, '--summarize', test[examples[0]], *own)}")


def plot_examples(path: Path, summarizer: Translator, pairs: Sequence[tuple[str, str]]) -> None:
    """Draws the attention for each line and, if the model copies, p_gen of each subword."""
    maps = []
    for source, line in pairs:
        read, written, weights = summarizer.attention_map(source, line)
        if isinstance(summarizer.model, PointerGenerator):
            p_gen = summarizer.model.apply(
                summarizer.params,
                *summarizer.columns(source, line),
                method="generation_probability",
            )
            written = [f"{token} {p:.0%}" for token, p in zip(written, p_gen[:, 0], strict=True)]
        maps.append((read, written, weights))
    written = "token that is written" + ", p_gen" * isinstance(summarizer.model, PointerGenerator)
    plot_alignment(path, maps, written=written, is_stacked=True)


def find_output(out: Path) -> Path:
    """The output directory: the default one's former name is still used if only that exists."""
    if out == OUT and FORMER_OUT.is_dir() and not OUT.is_dir():
        print(f"Using {FORMER_OUT}, the former name of {OUT}.", file=sys.stderr)
        return FORMER_OUT
    return out


def main(command: Command) -> None:
    """Runs the command."""
    name = "copying" if command.settings.copy else "writing"
    out = find_output(command.out) / (command.train.stem if command.train else name)
    if command.summarize is None:
        return experiment(command, out)
    text = read_standard_input() if command.summarize == "-" else command.summarize
    out = command.model or out
    output, doubts = load_summarizer(out).answer(text, seq2seq.load_least_rank(out))
    print(output)
    for doubt in doubts:
        print(f"note: {doubt}", file=sys.stderr)
