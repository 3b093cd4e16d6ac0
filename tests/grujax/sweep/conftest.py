import pytest

from grujax.sweep import local, programs


@pytest.fixture
def chunks_run(monkeypatch):
    """The indices of the trials in each chunk that a sweep runs, in order."""
    chunks = []

    def note_and_run(program, key, values, indices):
        chunks.append(indices.tolist())
        return programs.run_chunk(program, key, values, indices)

    monkeypatch.setattr(local, "run_chunk", note_and_run)
    return chunks
