"""Small archives of books, made up, in the layout of the real ones."""

import io
import json
import random
import tarfile
from pathlib import Path

from experiments.common import prose

WORDS = (
    *("and", "the", "of", "lord", "king", "said", "unto", "him", "came", "day", "night"),
    *("house", "land", "people", "went", "good", "heart"),
)


def write_text(seed: int, num_words: int) -> list[str]:
    """Sentences of ten words."""
    drawn = random.Random(seed).choices(WORDS, k=num_words)
    return [" ".join(drawn[i : i + 10]).capitalize() + "." for i in range(0, num_words, 10)]


def _write(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(text.encode())
            archive.addfile(information, io.BytesIO(text.encode()))


def make_archives(folder: Path, num_books: int = 20, num_words: int = 300) -> None:
    """Writes both archives. Of the Bible's books, 0 and 1 share most of their verses."""
    lines, plays = [], {prose.TEXTS: ""}
    for number in range(num_books):
        for place, text in enumerate(write_text(max(number, 1), num_words)):
            chapter, verse = place // 5 + 1, place % 5 + 1
            lines.append(
                {"text": text, "book": f"Book {number}", "chapter": chapter, "verse": verse}
            )
        speeches = "\n\n".join(f"HAMLET.\n{text}" for text in write_text(100 + number, num_words))
        text = f"PLAY {number}\n\nby William Shakespeare\n\n\n{speeches}"
        plays[f"{prose.TEXTS}play_{number}_gut.txt"] = text
        plays[f"{prose.TEXTS}play_{number}_gut_f.txt"] = "The play againe."
    plays[f"{prose.TEXTS}metadata.txt"] = "[play_0_gut]"
    _write(folder / prose.BIBLE.filename, {prose.VERSES: "\n".join(map(json.dumps, lines))})
    _write(folder / prose.SHAKESPEARE.filename, plays)
