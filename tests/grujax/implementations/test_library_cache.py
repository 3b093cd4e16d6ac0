"""Where compiled kernels are cached, and what their names depend on."""

import shutil
from pathlib import Path

import pytest

from grujax.implementations import library_cache
from grujax.implementations.cuda import nvrtc
from grujax.implementations.native import building, compiling


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert library_cache.cache_directory() == tmp_path / "grujax" / "kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert library_cache.cache_directory() == Path.home() / ".cache" / "grujax" / "kernels"


def test_a_digest_depends_on_every_text():
    digests = {library_cache.digest(*texts) for texts in [("ab", "c"), ("a", "bc"), ("ab", "d")]}
    assert len(digests) == 3


def test_a_folder_that_is_not_writable_is_reported(monkeypatch, tmp_path):
    (tmp_path / "grujax").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with (
        pytest.raises(library_cache.KernelError, match="is not writable"),
        library_cache.lock_cache(),
    ):
        pass


def copy_sources(module, name: str, tmp_path: Path, monkeypatch) -> list[Path]:
    folder = tmp_path / "src"
    shutil.copytree(getattr(module, name), folder)
    monkeypatch.setattr(module, name, folder)
    return sorted(folder.iterdir())


def test_the_native_library_depends_on_every_source(monkeypatch, tmp_path):
    names = {building.local_library()}
    sources = copy_sources(compiling, "SOURCE", tmp_path, monkeypatch)
    assert building.local_library() in names
    for source in sources:
        source.write_text(source.read_text() + "\n// changed\n")
        names.add(building.local_library())
    assert len(names) == 1 + len(sources)


@pytest.mark.skipif(nvrtc._find_library() is None, reason="there is no NVRTC")
def test_the_ptx_depends_on_every_source(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(nvrtc, "_compile_sources", lambda library, sources, options: "ptx")
    sources = copy_sources(nvrtc, "_SOURCE", tmp_path, monkeypatch)
    compile_to_ptx = nvrtc._compile.__wrapped__
    compile_to_ptx(())
    for source in sources:
        source.write_text(source.read_text() + "\n// changed\n")
        compile_to_ptx(())
    assert len(list((tmp_path / "grujax" / "kernels").iterdir())) == 1 + len(sources)
