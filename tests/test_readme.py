"""Every Python block of the README runs, top to bottom in one namespace; its commands exist."""

import re

import pytest

from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "experiments" / "README.md").read_text()
SCALING = (ROOT / "experiments" / "SCALING.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_python_blocks_run():
    namespace: dict = {}
    code = blocks("python")
    assert len(code) >= 4
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)


def test_first_example_is_short():
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 8


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake (\w+)", README))))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"python -m experiments\.(\w+)", README + RESULTS + SCALING)))
)
def test_experiments_exist(name):
    assert (ROOT / "experiments" / name / "__main__.py").exists()


def test_links_between_the_pages_lead_somewhere():
    pages = {
        "README.md": README,
        "experiments/README.md": RESULTS,
        "experiments/SCALING.md": SCALING,
    }
    for page, text in pages.items():
        for file, anchor in re.findall(r"\]\(([\w./]*)#?([\w-]*)\)", text):
            target = ((ROOT / page).parent / file).resolve() if file else ROOT / page
            assert target.exists(), f"{page} links to {file}"
            headings = re.findall(r"^#+ (.*)$", target.read_text() if anchor else "", re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
            assert not anchor or anchor in slugs, f"{page} links to {file}#{anchor}"
