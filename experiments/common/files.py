"""Writing files."""

from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file such that it exists in full or not at all, even if the process is killed."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content)
    temporary.replace(path)
