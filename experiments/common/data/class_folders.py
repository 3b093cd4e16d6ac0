"""A folder of the user's examples with one subfolder for each class."""

from collections.abc import Callable, Iterable
from pathlib import Path

from experiments.common.command import InputError
from experiments.common.report.counts import count

MOST = 50_000  # examples


def find_classes(
    folder: Path, find: Callable[[Path], Iterable[Path]], kind: str, suffixes: str, least: int
) -> dict[str, list[Path]]:
    """Finds the examples of each class; subfolders without examples are no classes.

    Args:
      folder: has a subfolder for each class, which gives the class its name.
      find: lists the examples in a subfolder.
      kind: one of the examples, such as "image".
      suffixes: what they are, for messages.
      least: examples of each class.

    Returns: the sorted examples of each class, sorted by its name.

    Raises:
      InputError: it is no folder, there are fewer than two classes, or too few or too many
        examples.
    """
    if not folder.is_dir():
        raise InputError(f"`--train` is {folder}; a folder with one subfolder a class is expected.")
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = {path.name: sorted(find(path)) for path in subfolders if path.name[0] != "."}
    classes = {name: paths for name, paths in found.items() if paths}
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {count(len(classes), 'subfolder')} with {kind}s ({suffixes}); at least "
            "two are needed, one for each class."
        )
    for name, paths in classes.items():
        if len(paths) < least:
            raise InputError(
                f"{folder / name} holds {count(len(paths), kind)}; at least {least} are needed."
            )
    if (total := sum(map(len, classes.values()))) > MOST:
        raise InputError(f"{folder} holds {count(total, kind)}; at most {MOST:,} are read.")
    return classes
