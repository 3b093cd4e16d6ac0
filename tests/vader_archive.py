"""A small archive of rated sentences, for the tests of experiments on them."""

import io
import random
import tarfile
from pathlib import Path

from experiments.common import vader


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    information = tarfile.TarInfo(name)
    information.size = len(content)
    archive.addfile(information, io.BytesIO(content))


def make_archive(path: Path) -> None:
    """Sentences of a good, a bad or no judgement, in the layout of the real archive."""
    generator = random.Random(0)
    judgements = {2.0: ["great", "love", "happy"], -2.0: ["awful", "broken", "hate"], 0.0: ["blue"]}
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as opened:
        for name in vader.FILES.values():
            lines = []
            for i in range(60):
                rating = generator.choice(list(judgements))
                filler = generator.choices(
                    ["the", "a", "it", "phone", "was", "story", "of", "my", "day"], k=6
                )
                words = " ".join([*filler, generator.choice(judgements[rating])])
                lines.append(f"{i // 3}_{i % 3}\t{rating}\t{words}")
            add(opened, vader.MEMBERS[1].format(name), "\n".join(lines).encode())
    with tarfile.open(path, "w:gz") as opened:
        add(opened, vader.MEMBERS[0], inner.getvalue())
