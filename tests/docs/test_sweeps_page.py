"""The guide to sweeps begins with examples that are short enough to copy."""

import re

from tests.helpers import ROOT

PAGE = (ROOT / "docs/guides/sweeps.md").read_text(encoding="utf-8")


def lines_of(call: str) -> int:
    """How many lines the first example with this call has, without empty ones."""
    blocks = re.findall(r"^```\{code-cell\}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    block = next(block for block in blocks if call in block)
    return sum(bool(line.strip()) for line in block.splitlines())


def test_a_first_sweep_takes_25_lines_and_a_search_15_more():
    assert lines_of("sweep.run(") <= 25
    assert lines_of("sweep.search(") <= 15
