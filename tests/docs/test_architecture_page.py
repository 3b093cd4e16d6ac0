"""The page of the architecture lists the parts of the package as they import one another."""

import re

from tests.helpers import ROOT
from tests.test_architecture import LEVELS

PAGE = (ROOT / "docs" / "project" / "architecture.md").read_text(encoding="utf-8")


def test_the_table_of_layers_is_that_of_the_imports():
    section = PAGE.split("## What imports what")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    names = [re.findall(r"`(.*?)`", row) for row in rows]
    levels = [{name.rstrip("/").removesuffix(".py") for name in row} for row in names]
    assert levels == LEVELS[::-1]
