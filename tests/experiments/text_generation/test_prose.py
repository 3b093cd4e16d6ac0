"""Books: what is read from the archives, and that no book, and no repetition, straddles a split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.text_generation import prose
from experiments.text_generation.prose import Book
from tests.fixtures.archives.prose import write_text


def make_book(number: int, *others: Book) -> Book:
    """A book of its own text, in the middle of which it has a passage from each other one."""
    lines = write_text(number, 400)
    passages = [line for other in others for line in other.text.split("\n")[10:20]]
    return Book(f"Book {number}", "\n".join(lines[:20] + passages + lines[20:]))


def test_verses_are_lines_and_chapters_paragraphs(books):
    first, *_, last = prose.bible()
    assert (first.title, last.title) == ("Book 0", "Book 19")
    lines = write_text(1, 300)
    assert first.text.startswith("\n" + "\n".join(lines[:5]) + "\n\n" + lines[5] + "\n")
    assert first.text.endswith(f"{lines[-1]}\n")


def test_plays_have_no_title_and_come_once(books):
    plays = prose.shakespeare()
    assert len(plays) == 20
    assert {play.title for play in plays} == {f"play {number}" for number in range(20)}
    for play in plays:
        assert play.text.startswith("\nHAMLET.\n")
        assert "William" not in play.text
        assert "againe" not in play.text


@pytest.mark.parametrize("name", ["bible", "shakespeare"])
def test_no_book_straddles_the_split(books, name):
    corpus = prose.read_corpus(name, (0.2, 0.2))
    sides = [set(side.tolist()) for side in corpus.split]
    assert all(sides)
    assert sorted(book for side in sides for book in side) == list(range(20))
    texts = [{corpus.symbols[book].tobytes() for book in side} for side in sides]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


def test_books_that_repeat_each_other_are_a_group():
    alone, first = make_book(1), make_book(2)
    second = make_book(3, first)
    third = make_book(4, second)  # has nothing of the first: the second connects them
    quoting = Book("quoting", make_book(5).text + "\n" + " ".join(alone.text.split()[:11]))
    groups = prose.group_books([alone, first, second, third, quoting])
    assert groups.tolist() == [0, 1, 1, 1, 2]


@given(
    sizes=st.lists(st.integers(11, 300), min_size=1, max_size=12),
    shares=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    seed=st.integers(0, 9),
)
def test_splits_hold_whole_groups_and_no_more_than_their_share(sizes, shares, seed):
    books = [Book(str(i), " ".join(write_text(i // 2, size))) for i, size in enumerate(sizes)]
    groups = prose.group_books(books)
    split = prose.split_books(books, shares, seed)
    assert sorted(np.concatenate(split)) == list(range(len(books)))
    assert len({(groups[book], side) for side, part in enumerate(split) for book in part}) == len(
        set(groups)
    )
    total = sum(len(book.text) for book in books)
    for share, part in zip(shares, (split.test, split.validation), strict=True):
        assert sum(len(books[book].text) for book in part) <= share * total


def test_characters_and_back():
    alphabet = "\n abc"
    symbols = prose.encode("cab a\n", alphabet)
    assert symbols.tolist() == [4, 2, 3, 1, 2, 0]
    assert prose.decode(symbols, alphabet) == "cab a\n"
    with pytest.raises(ValueError, match=r"does not have 'x', 'ß'\. It has '\\n abc'"):
        prose.encode("abßax", alphabet)
