"""A small index of package descriptions in two languages, made up, in Debian's format."""

import gzip
import hashlib
from pathlib import Path

COLOURS = {"red": "rosso", "blue": "blu", "green": "verde", "black": "nero", "white": "bianco"}


def write_index(folder: Path, num_packages: int = 150) -> None:
    """Writes Translation-en.gz and Translation-it.gz; every third package shares a paragraph.

    With the paragraph that is too long for translation, a description is long enough to summarise.
    """
    blocks: dict[str, list[str]] = {"en": [], "it": []}
    for i in range(num_packages):
        colour = list(COLOURS)[i // 4 % 5]
        numeral = "".join("abcdefghij"[int(digit)] for digit in str(i))
        last = {
            "en": "This package contains the documentation.",
            "it": "Questo pacchetto contiene la documentazione.",
        }
        texts = {
            "en": [f"{colour} tool number {i}", f"The {colour} tool does {i + 7} things."],
            "it": [
                f"strumento {COLOURS[colour]} numero {i}",
                f"Lo strumento {COLOURS[colour]} fa {i + 7} cose.",
            ],
        }
        for of_language in texts.values():
            of_language.append(" ".join([f"{colour} {i}"] * (8 + i % 7)))
        md5 = hashlib.md5(str(i).encode()).hexdigest()
        for language, (synopsis, *paragraphs) in texts.items():
            paragraphs += [last[language]] if i % 3 == 0 else []
            blocks[language].append(
                f"Package: tool{numeral}x-doc\nDescription-md5: {md5}\n"
                f"Description-{language}: {synopsis}\n "
                + "\n .\n ".join(paragraph.replace(" ", "\n ", 1) for paragraph in paragraphs)
            )
    for language, entries in blocks.items():
        text = "\n\n".join(entries) + "\n"
        (folder / f"Translation-{language}.gz").write_bytes(gzip.compress(text.encode()))
