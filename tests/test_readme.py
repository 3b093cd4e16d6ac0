"""The README is short, its Python blocks run in one namespace, and what the pages name exists."""

import re

import pytest

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_it_is_one_screen():
    assert len(README.encode()) <= 9216


def test_python_blocks_run():
    namespace: dict = {}
    code = blocks("python")
    assert len(code) >= 2
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)


def test_first_example_is_short():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 8


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake (\w+)", README))))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_links_of_the_pages_outside_the_site_lead_somewhere():
    for page in (*ROOT.glob("*.md"), ROOT / "experiments" / "README.md"):
        text = page.read_text(encoding="utf-8")
        for file, anchor in re.findall(r"\]\(([\w./]+)#?([\w-]*)\)", text):
            assert (page.parent / file).exists(), f"{page.name} links to {file}"
            assert not anchor, f"{page.name}: the site has tests of its anchors, this page has none"


def tracked_texts() -> dict[str, str]:
    """The pages and sources of the repository by their paths."""
    suffixes = (".py", ".md", ".cpp", ".h", ".cu", ".cuh")
    folders = ("docs", "grujax", "experiments", "tests")
    paths = [*ROOT.glob("*.md"), *(path for name in folders for path in (ROOT / name).rglob("*"))]
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in paths
        if path.suffix in suffixes
    }


def test_tests_that_a_text_names_exist():
    """Tests like `tests/test_readme.py::test_tests_that_a_text_names_exist`."""
    named = re.compile(r"\b(tests/[\w/]+\.py)::(\w+)")
    found = {
        (path, test) for text in tracked_texts().values() for path, test in named.findall(text)
    }
    assert len(found) > 20
    for path, test in found:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"


def test_paths_and_modules_that_a_text_names_exist():
    """Paths like `grujax/cell.py` and modules like `grujax.cell`, in pages, comments, strings."""
    texts = tracked_texts()
    path = re.compile(
        r"(?<!/)\b(?:docs|grujax|experiments|tests)/[\w/]+\.(?:py|md|cpp|h|cu|cuh|png)\b"
    )
    module = re.compile(r"`((?:experiments|grujax\.implementations)(?:\.[a-z_]+)+)[.`]")
    for name, text in texts.items():
        for found in path.findall(text):
            assert (ROOT / found).exists(), f"{name} names {found}"
        for found in module.findall(text):
            *parents, last = found.split(".")
            folder = ROOT.joinpath(*parents)
            exists = any((ROOT.joinpath(*parents, last + end)).exists() for end in ("", ".py"))
            defining = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            assert exists or re.search(rf"\b{last}\b", defining.read_text()), f"{name}: {found}"
