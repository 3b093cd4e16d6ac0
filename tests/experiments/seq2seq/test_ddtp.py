"""Debian's package descriptions: pairs, summaries, groups."""

import itertools

import pytest

from experiments.common.data import DataError
from experiments.seq2seq import ddtp, debian_indices


def read_texts() -> dict[str, str]:
    found = debian_indices.fetch(("en", "it"))
    return {language: index.text for language, index in found.items()}


@pytest.mark.parametrize(
    ("package", "family"),
    [
        ("libx2go-utils-perl", "x2go"),
        ("x2go-doc", "x2go"),
        ("librust-bstr+regex-dev", "bstr"),
        ("golang-github-eclipse-paho.mqtt.golang-dev", "eclipse"),
        ("libavif15", "avif"),
        ("python3-doc", "python"),
    ],
)
def test_package_family(package, family):
    assert ddtp.package_family(package) == family


def test_pairs_are_aligned_and_no_group_straddles_a_split(debian):
    pairs = ddtp.read_pairs(read_texts(), "it")
    assert len(set(pairs.sources)) == len(pairs.sources)
    assert ("The red tool does 7 things.", "Lo strumento rosso fa 7 cose.") in set(
        zip(pairs.sources, pairs.targets, strict=True)
    )
    assert set(pairs.kinds) == set(ddtp.KINDS)
    split = ddtp.split_pairs(pairs.groups, num_validation=40, num_test=60, seed=0)
    groups = [set(pairs.groups[part]) for part in split]
    assert all(len(part) > 20 for part in split)
    assert groups[0].isdisjoint(groups[1] | groups[2])
    assert groups[1].isdisjoint(groups[2])
    assert sum(map(len, split)) == len(pairs.sources)


def test_a_sentence_shared_by_two_families_makes_one_group(debian):
    pairs = ddtp.read_pairs(read_texts(), "it")
    number = dict(zip(pairs.sources, pairs.groups, strict=True))
    # Both say "This package contains the documentation."
    assert number["red tool number 0"] == number["red tool number 3"]
    assert number["red tool number 0"] != number["red tool number 1"]


def make_index(entries) -> str:
    """(package, synopsis, paragraphs) as an index of English descriptions."""
    blocks = [
        f"Package: {package}\nDescription-md5: {i:032x}\nDescription-en: {synopsis}\n "
        + "\n .\n ".join(paragraphs)
        for i, (package, synopsis, paragraphs) in enumerate(entries)
    ]
    return "\n\n".join(blocks)


def words(number: int, start: int = 0) -> str:
    return " ".join(f"w{i}" for i in range(start, start + number))


def test_descriptions_of_the_right_length_are_read_once_each():
    index = make_index(
        [
            ("short", "of 19 words", [words(19)]),
            ("enough", "of 20 words", [words(12), words(8, 12)]),
            ("again", "the same description", [words(20).upper()]),
            ("long", "of 120 words", [words(120, 500)]),
            ("longer", "of 121 words", [words(121, 700)]),
        ],
    )
    pairs = ddtp.read_summaries(index)
    expected = [words(20).upper(), words(120, 500)]  # sorted by package, "again" comes first
    assert pairs.sources == expected
    assert pairs.targets == ["the same description", "of 120 words"]


def test_family_opening_and_synopsis_make_groups_that_no_split_straddles():
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
    pairs = ddtp.read_summaries(make_index(entries))
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


def test_an_index_without_the_descriptions_is_an_error():
    index = make_index([("a", "of 3 words", [words(3)])])
    with pytest.raises(DataError, match="holds no descriptions in 'it'"):
        ddtp.read_descriptions(index, "it")
    with pytest.raises(DataError, match="No description has 20 to 120 words"):
        ddtp.read_summaries(index)
    other = index.replace("-en:", "-it:").replace("-md5: 0", "-md5: 1")
    with pytest.raises(DataError, match="No English description has a translation into 'it'"):
        ddtp.read_pairs({"en": index, "it": other}, "it")
