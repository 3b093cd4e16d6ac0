"""Checks an installed grujax: runs the first example of a page, by the kernel of the wheel.

python -P tests/installed.py README.md
"""

import re
import sys
from pathlib import Path

from grujax import __main__ as command
from grujax.implementations.native import loading


def main(page: str) -> None:
    """Runs the example, prints the report of `python -m grujax`, and says which kernel ran."""
    text = Path(page).read_text(encoding="utf-8")
    example = re.search(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    if example is None:
        sys.exit(f"{page} has no example.")
    exec(compile(example[1], page, "exec"), {})
    command.main([])
    library, picked = loading.loaded_library(), command.picked("float32")
    if picked != '"native"' or library is None or library.parent != loading.PREBUILT:
        sys.exit(f"The kernel of the wheel did not run: {loading.failure() or library}")
    print(f"{page}: the first example ran by {picked}, from {library.name}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
