"""Makes the tables in `docs/experiments` from the results of full runs.

    python docs/tables.py            writes the tables, and the numbers in the declared sentences
    python docs/tables.py --check    writes nothing; names what differs, with exit status 1

`docs/results` has two kinds of files. NAME.json is the results.json of a full run, as the command
wrote it. PAGE.toml declares what PAGE.md in `docs/experiments` takes from such records, and
FOLDER/PAGE.toml what that page of another folder takes:

- `[runs]`: the command of each record, by its NAME. Between `<!-- run: NAME -->` and
  `<!-- end -->` is how it was made;
- `[seeds]`: names of records that differ in their seed, by a name for them together, which tables,
  sentences and `run` marks may use. Each number of it is the list of the records' numbers, or the
  number itself where it is the same in all. `records` has each record by its NAME, for a table
  whose rows or columns are records;
- `[tables.TITLE]`: what is between `<!-- table: TITLE -->` and `<!-- end -->` in the page. `rows`
  and `columns` are lists of keys, or labels with their keys, or the title of a table of the page
  that has the same ones. `cell` is the text of a cell, with [ROW] and [COLUMN] for the keys; a row
  or a column may have a text of its own instead of a key. `corner` is the text above the rows,
  `missing` that of a cell whose number no record has;
- `[sentences]`: for a page, sentences whose numbers are replaced. Pages of other folders have
  names such as `learn/faq`.

A number is a field of Python's `str.format`, such as `{video[right][GRU][digit]:.1p}`. After the
colon, `p` is a percentage without its sign, and `3t` is a number with three digits. A list is
written as mean ±sample standard deviation, or one of `.mean`, `.sd`, `.least` and `.most` is taken,
as in `{images[cells][rows].most:.1p}`.
"""

import argparse
import json
import re
import statistics
import string
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DOCS = Path(__file__).parent
NUMBER = r"[−+]?\d(?:[\d.,]*\d)?(?:e-?\d+)?"
MARKED = r"<!-- {}: {} -->\n(.*?)<!-- end -->"
Labels = list[str] | dict[str, str]  # keys, or labels with their keys


class Value:
    """A part of a record's results, for `str.format`."""

    def __init__(self, value: Any, name: str):
        self.value, self.name = value, name

    def __getitem__(self, key: str | int) -> "Value":
        """An entry; `str.format` makes an int of a key of digits."""
        name = f"{self.name}[{key}]"
        try:
            found = self.value[key if isinstance(self.value, list) else str(key)]
        except (LookupError, TypeError):
            raise LookupError(f"No record has {name}.") from None
        return Value(found, name)

    def __format__(self, spec: str) -> str:
        """The number, with a true minus sign and a short exponent; of a list, mean ±deviation."""
        if isinstance(self.value, str):
            return self.value
        if isinstance(self.value, list) and self.value:
            spread = f" ±{self.sd:{spec}}" if len(self.value) > 1 else ""
            return f"{self.mean:{spec}}{spread}"
        if isinstance(self.value, list | dict) or self.value is None:
            raise TypeError(f"{self.name} is no number.")
        if spec.endswith("p"):
            text = format(100 * self.value, spec[:-1] + "f")
        elif spec.endswith("t"):
            after_first = int(spec[:-1]) - 1
            exponent = int(f"{self.value:.{after_first}e}".partition("e")[2])
            text = f"{self.value:,.{max(after_first - exponent, 0)}f}"
        else:
            text = format(self.value, spec)
        text = re.sub(r"e([+-])0*(\d+)", lambda found: f"e{found[1].strip('+')}{found[2]}", text)
        return "−" + text[1:] if text.startswith("-") else text

    @property
    def mean(self) -> "Value":
        """The mean of a list; a number is its own."""
        values = self.value if isinstance(self.value, list) else [self.value]
        return Value(statistics.fmean(values), self.name)

    @property
    def sd(self) -> "Value":
        """The sample standard deviation of a list."""
        return Value(statistics.stdev(self.value), self.name)

    @property
    def least(self) -> "Value":
        """The least value of a list."""
        return Value(min(self.value), self.name)

    @property
    def most(self) -> "Value":
        """The greatest value of a list."""
        return Value(max(self.value), self.name)


def merge_seeds(results: list[Any]) -> Any:
    """What is the same in all results, or the list of what each has.

    Raises:
      LookupError: some results lack an entry.
    """
    first = results[0]
    if isinstance(first, dict):
        if any(set(other) != set(first) for other in results):
            raise LookupError("The records of seeds have different entries.")
        return {key: merge_seeds([other[key] for other in results]) for key in first}
    return first if all(other == first for other in results) else results


class Declaration(NamedTuple):
    """What a page takes from records, see the top of this file."""

    page: str
    runs: dict[str, str]
    seeds: dict[str, list[str]]
    tables: dict[str, dict[str, Any]]
    sentences: dict[str, list[str]]


def read_declarations(folder: Path) -> list[Declaration]:
    """Reads all PAGE.toml in a folder and its folders."""
    return [
        Declaration(
            path.relative_to(folder).with_suffix("").as_posix(),
            *(content.get(name, {}) for name in Declaration._fields[1:]),
        )
        for path in sorted(folder.rglob("*.toml"))
        for content in [tomllib.loads(path.read_text(encoding="utf-8"))]
    ]


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Reads all NAME.json in a folder: {"results", "run"} by NAME."""
    paths = sorted(folder.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def make_table(table: Mapping[str, Any], results: Mapping[str, Value]) -> str:
    """Makes a table in Markdown.

    Raises:
      LookupError: no record has a number, and the table has no `missing`.
    """
    columns, rows = with_labels(table["columns"]), with_labels(table["rows"])
    lines = [[table.get("corner", ""), *columns]]
    for label, row in rows.items():
        cells = [make_cell(table, row, column, results) for column in columns.values()]
        lines.append([label, *cells])
    header, *body = ("".join(f"| {cell} " for cell in line) + "|\n" for line in lines)
    rule = "|---" * (len(columns) + 1) + "|\n"
    return "".join([header, rule, *body]).replace("|  |", "| |")


def with_labels_of_others(
    table: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The table with the rows and columns of those that it names."""
    named = {key: table[key] for key in ("rows", "columns") if isinstance(table[key], str)}
    return {**table, **{key: tables[title][key] for key, title in named.items()}}


def with_labels(labels: Labels) -> dict[str, str]:
    """Labels with their keys."""
    return labels if isinstance(labels, dict) else {key: key for key in labels}


def make_cell(table: Mapping[str, Any], row: str, column: str, results: Mapping[str, Value]) -> str:
    """Makes a cell: by the text of its row, else of its column, else of the table."""
    text = next((key for key in (row, column) if "{" in key), None) or table["cell"]
    try:
        return (
            text.replace("[ROW]", f"[{row}]").replace("[COLUMN]", f"[{column}]").format(**results)
        )
    except LookupError:
        if "missing" not in table:
            raise
        return table["missing"]


def describe_run(command: str, run: Mapping[str, Any]) -> str:
    """Says in one line how a record was made."""
    machine, elapsed = run["machine"], f"{describe_time(run['seconds'])} elapsed"
    if "processor seconds" in run:
        elapsed = f"{describe_time(run['processor seconds'])} of processor time, {elapsed}"
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    return (
        f"From `{command}` at commit {run['commit'][:7]}, with jax {run['versions']['jax']}, on "
        f"{cores} of an {machine['processor']}: {elapsed}.\n"
    )


def describe_time(seconds: float) -> str:
    """Minutes, or seconds below one minute."""
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def replace_marked(page: str, kind: str, name: str, content: str) -> str:
    """Replaces what is between the two marks of a name.

    Raises:
      LookupError: the page does not have the marks once.
    """
    pattern = re.compile(MARKED.format(kind, re.escape(name)), re.DOTALL)
    return _replace_group(page, pattern, [f"\n{content}\n"], f"<!-- {kind}: {name} -->")


def replace_numbers(page: str, sentence: str, results: Mapping[str, Value]) -> str:
    """Replaces the numbers in a sentence, wherever its lines are broken.

    Raises:
      LookupError: the page does not have the sentence once.
    """
    pattern, numbers = "", []
    for literal, name, spec, _ in string.Formatter().parse(sentence):
        pattern += r"\s+".join(map(re.escape, re.split(r"\s+", literal)))
        if name is not None:
            pattern += f"({NUMBER})"
            numbers.append(f"{{{name}:{spec}}}".format(**results))
    return _replace_group(page, re.compile(pattern), numbers, sentence)


def _replace_group(page: str, pattern: re.Pattern[str], texts: list[str], name: str) -> str:
    matches = list(pattern.finditer(page))
    if len(matches) != 1:
        raise LookupError(f"The page must have {name!r} once; it has it {len(matches)} times.")
    for group, text in reversed(list(enumerate(texts, start=1))):
        start, end = matches[0].span(group)
        page = page[:start] + text + page[end:]
    return page


def make_pages(docs: Path) -> dict[Path, str]:
    """The text of every page that takes something from records.

    Raises:
      LookupError: a page lacks a mark or a sentence, or no record has a number; it says which.
    """
    records = read_records(docs / "results")
    by_name = {name: record["results"] for name, record in records.items()}
    results = {name: Value(of_record, name) for name, of_record in by_name.items()}
    results["records"] = Value(by_name, "records")
    pages: dict[str, str] = {}
    for page, runs, seeds, tables, sentences in read_declarations(docs / "results"):
        for name in {page, *sentences} - set(pages):
            pages[name] = page_path(docs, name).read_text(encoding="utf-8")
        try:
            for name, trainings in seeds.items():
                merged = merge_seeds([records[one]["results"] for one in trainings])
                results[name] = Value(merged, name)
            for title, table in tables.items():
                content = make_table(with_labels_of_others(table, tables), results)
                pages[page] = replace_marked(pages[page], "table", title, content)
            for name in re.findall(r"<!-- run: (\w+) -->", pages[page]):
                trainings = seeds.get(name, [name])
                lines = [describe_run(runs[one], records[one]["run"]) for one in trainings]
                content = lines[0] if len(lines) == 1 else "".join(f"- {line}" for line in lines)
                pages[page] = replace_marked(pages[page], "run", name, content)
            for other, texts in sentences.items():
                for text in texts:
                    pages[other] = replace_numbers(pages[other], text, results)
        except LookupError as error:
            raise LookupError(f"docs/results/{page}.toml: {error}") from error
    return {page_path(docs, name): text for name, text in pages.items()}


def page_path(docs: Path, name: str) -> Path:
    """The file of a page: of `docs/experiments`, unless the name has a folder."""
    return docs / f"{name if '/' in name else f'experiments/{name}'}.md"


def main() -> int:
    """Runs the command. Returns: the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    is_check = parser.parse_args().check
    changed = []
    for path, text in make_pages(DOCS).items():
        if path.read_text(encoding="utf-8") != text:
            changed.append(path.relative_to(DOCS.parent))
            if not is_check:
                path.write_text(text, encoding="utf-8")
    for path in changed:
        print(f"{path}: {'differs from the records' if is_check else 'written'}")
    return int(is_check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
