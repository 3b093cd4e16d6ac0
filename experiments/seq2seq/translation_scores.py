"""Baselines and scores of translations."""

from collections.abc import Sequence

import numpy as np
import sacrebleu
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

WORD = r"(?u)\w+|[^\w\s]"


def translation_memory(
    sources: Sequence[str], targets: Sequence[str], queries: Sequence[str]
) -> list[str]:
    """Returns the translation of the most similar known source, by TF-IDF of words and pairs."""
    vectorizer = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    known = vectorizer.fit_transform(sources)
    similarity = vectorizer.transform(queries) @ known.T
    return [targets[row.indices[row.data.argmax()] if row.nnz else 0] for row in similarity]


def word_dictionary(
    sources: Sequence[str], targets: Sequence[str], queries: Sequence[str]
) -> list[str]:
    """Translates each word to the one that occurs with it most often (Dice coefficient).

    Words that are seen only once, or have no good partner, are copied.
    """
    counts = [CountVectorizer(token_pattern=WORD, binary=True, min_df=2) for _ in range(2)]
    try:
        source, target = (
            c.fit_transform(t) for c, t in zip(counts, (sources, targets), strict=True)
        )
    except ValueError:  # no word of one side occurs twice
        return list(queries)
    together = (source.T @ target).tocsr()  # [source words, target words]
    frequency = [np.asarray(matrix.sum(0)).ravel() for matrix in (source, target)]
    names = counts[1].get_feature_names_out()
    partner = {}
    for word, i in counts[0].vocabulary_.items():
        row = together[i]
        dice = 2 * row.data / (frequency[0][i] + frequency[1][row.indices])
        if row.nnz and dice.max() > 0.1:
            partner[word] = names[row.indices[dice.argmax()]]
    split = counts[0].build_tokenizer()
    return [" ".join(partner.get(word.lower(), word) for word in split(query)) for query in queries]


def score_translations(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU and chrF of sacrebleu, and exact matches, all in percent."""
    exact = [output == reference for output, reference in zip(outputs, references, strict=True)]
    return {
        "BLEU": sacrebleu.corpus_bleu(list(outputs), [list(references)], force=True).score,
        "chrF": sacrebleu.corpus_chrf(list(outputs), [list(references)]).score,
        "exact": 100 * float(np.mean(exact)),
    }
