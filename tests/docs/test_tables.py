"""The tables of results are those that `docs/tables.py` makes of the records of full runs."""

import importlib
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from experiments.common.parsing import parse, recorded_flags
from tests.helpers import ROOT

DOCS = ROOT / "docs"
RECORDS = sorted((DOCS / "results").glob("*.json"))
spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
assert spec is not None
assert spec.loader is not None
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)
DECLARATIONS = tables.read_declarations(DOCS / "results")


def test_the_pages_have_the_numbers_of_the_records():
    for path, text in tables.make_pages(DOCS).items():
        assert path.read_text(encoding="utf-8") == text, "run: python docs/tables.py"


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda x: x.page)
def test_a_page_says_how_its_tables_were_made(declaration):
    page = tables.page_path(DOCS, declaration.page).read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (.*?) -->", page)) == set(declaration.tables)
    assert not declaration.tables or re.search(r"<!-- run: \w+ -->", page)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_is_that_of_its_command_at_a_commit(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) <= 120 * 1024
    assert not re.search(r'"[^" ]*(?<![\w.])/(home|root|tmp|work|Users)/', text), "a user's folder"
    run = json.loads(text)["run"]
    assert re.fullmatch(r"[0-9a-f]{40}", run["commit"]), "run it in a clone without changes"
    [line] = {x.runs[path.stem] for x in DECLARATIONS if path.stem in x.runs}
    assert line.startswith(run["command"])
    _, _, module, *words = shlex.split(line)
    command = parse(importlib.import_module(f"{module}.settings").Command, module, None, words)
    flags = {flag.name: flag.value for flag in recorded_flags(command)}
    flags = json.loads(json.dumps(flags, default=str))
    for name in flags.keys() & run["settings"].keys():
        assert run["settings"][name] == flags[name], f"`{line}` has another value of {name} now"


def test_a_wrong_number_is_named_and_mended(tmp_path):
    docs = tmp_path / "docs"
    for folder in ("results", "experiments", "learn", "project"):
        shutil.copytree(DOCS / folder, docs / folder, ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "README.md", tmp_path)
    script = shutil.copy(DOCS / "tables.py", docs)
    changes = {"flip_flop": ("| 100.0% |", "| 99.0% |"), "index": ("exactly 8 st", "exactly 7 st")}
    whole = {name: (docs / "experiments" / f"{name}.md").read_text("utf-8") for name in changes}

    def run(*flags: str) -> tuple[int, str]:
        command = [sys.executable, script, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    for name, (right, wrong) in changes.items():
        assert run("--check") == (0, "")
        page = docs / "experiments" / f"{name}.md"
        page.write_text(whole[name].replace(right, wrong, 1), encoding="utf-8")
        where = f"docs/experiments/{name}.md"
        assert run("--check") == (1, f"{where}: differs from the records\n")
        assert run() == (0, f"{where}: written\n")
        assert page.read_text(encoding="utf-8") == whole[name]


RESULTS = {
    "x": tables.Value(
        {"one": {"a": 0.1234, "1": -2.5e-7}, "two": {"a": [1, 3], "b": [0.5]}, "name": "b"}, "x"
    )
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{x[one][a]:.1p}%", "12.3%"),
        ("{x[one][1]:.1e}", "−2.5e-7"),
        ("{x[two][a]:.2f}, {x[two][a].sd:.1f}", "2.00 ±1.41, 1.4"),
        ("{x[two][b]:.1p}", "50.0"),
        ("{x[two][a].least} to {x[two][a].most}, {x[two][a][1]}", "1 to 3, 3"),
        ("{x[name]}", "b"),
    ],
)
def test_numbers_are_written_as_in_texts(text, expected):
    assert text.format(**RESULTS) == expected


def test_a_table_of_rows_and_columns():
    table = {
        "corner": "of 1",
        "rows": {"first": "one", "none": "three", "own": "{x[two][a][0]}"},
        "columns": ["a", "1"],
        "cell": "{x[ROW][COLUMN]:.1g}",
        "missing": "–",
    }
    lines = ["| of 1 | a | 1 |", "|---|---|---|", "| first | 0.1 | −2e-7 |", "| none | – | – |"]
    assert tables.make_table(table, RESULTS).splitlines() == [*lines, "| own | 1 | 1 |"]
    del table["missing"]
    with pytest.raises(LookupError, match=r"No record has x\[three\]"):
        tables.make_table(table, RESULTS)


def test_numbers_in_a_sentence_are_replaced_where_lines_are_broken():
    page = "Some. It has\n9.1% and 3e-7.\nSome."
    sentence = "It has {x[one][a]:.1p}% and {x[one][1]:.0e}."
    assert (
        tables.replace_numbers(page, sentence, RESULTS) == "Some. It has\n12.3% and −2e-7.\nSome."
    )
    with pytest.raises(LookupError, match="once; it has it 0 times"):
        tables.replace_numbers("It had 9.1% and 3e-7.", sentence, RESULTS)
    with pytest.raises(LookupError, match="once; it has it 2 times"):
        tables.replace_marked(2 * "<!-- run: x -->\n<!-- end -->\n", "run", "x", "y")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.024681, "0.0247"), (0.9996, "1.00"), (2.8, "2.80"), (11.93, "11.9"), (5331.5, "5,332")],
)
def test_three_digits(number, text):
    assert f"{tables.Value(number, ''):3t}" == text


def test_a_table_can_have_the_rows_of_another():
    first = {"rows": {"a row": "one"}, "columns": ["a"], "cell": "{x[ROW][COLUMN]:.1p}"}
    second = {**first, "rows": "first"}
    both = {"first": first, "second": second}
    assert tables.with_labels_of_others(second, both) == first


def test_records_of_seeds_are_lists_where_they_differ():
    seeds = [{"rule": {"right": 0.5}, "GRU": {"right": x, "bits": [x, 1]}} for x in (0.25, 0.75)]
    together = tables.Value(tables.merge_seeds(seeds), "x")
    assert f"{together['rule']['right']:.1p}, {together['GRU']['right']:.0p}" == "50.0, 50 ±35"
    assert (
        f"{together['rule']['right'].mean:.1f}, {together['GRU']['right'].mean:.1f}" == "0.5, 0.5"
    )
    assert tables.merge_seeds([{"a": "b"}] * 3) == {"a": "b"}
    with pytest.raises(LookupError, match="different entries"):
        tables.merge_seeds([{"a": 1}, {"b": 1}])


def test_a_page_names_the_runs_of_all_seeds(tmp_path):
    for folder in ("results", "experiments"):
        (tmp_path / folder).mkdir()
    machine = {"processor": "AMD EPYC", "cores": 2}
    for seed, right in enumerate((0.25, 0.75)):
        run = {"commit": 40 * str(seed), "machine": machine, "seconds": 9, "versions": {"jax": "1"}}
        record = {"results": {"right": right}, "run": run}
        (tmp_path / "results" / f"x{seed}.json").write_text(json.dumps(record))
    (tmp_path / "results/page.toml").write_text("""
[runs]
x0 = "python x"
x1 = "python x --seed 1"
[seeds]
x = ["x0", "x1"]
[sentences]
page = ["It is {x[right].mean:.0p}%"]
""")
    page = tmp_path / "experiments" / "page.md"
    page.write_text("It is 3% right.\n<!-- run: x -->\n<!-- end -->\n")
    made = tables.make_pages(tmp_path)[page].splitlines()
    how = "with jax 1, on 2 cores of an AMD EPYC: 9 seconds elapsed."
    assert made[0] == "It is 50% right."
    assert f"- From `python x` at commit 0000000, {how}" in made
    assert f"- From `python x --seed 1` at commit 1111111, {how}" in made
