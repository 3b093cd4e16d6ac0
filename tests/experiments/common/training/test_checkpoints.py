"""Checkpoints: what is restored, what is refused, and that reading deletes nothing."""

import errno
import os
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common.durable import seal
from experiments.common.training import checkpoints
from experiments.common.training.checkpoints import CheckpointError, Checkpoints
from tests.fixtures.orbax_checkpoints import save_with_orbax


class State(NamedTuple):
    """Like that of a training: nested, with a typed key, scalars, and several dtypes."""

    params: Any
    moments: Any
    key: Any
    epoch: Any


def make_state(epoch: int) -> State:
    weights = {"w": jnp.arange(6.0).reshape(2, 3) + epoch}
    half = jnp.full(3, epoch / 3, jnp.bfloat16)
    return State({"gru": weights}, [(half, ()), None], jax.random.key(epoch), jnp.int32(epoch))


LIKE = make_state(0)


def assert_equal(got: State, want: State) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = map(jax.random.key_data, (a, b))
        np.testing.assert_array_equal(a, b)


def save_three(folder: Path) -> Checkpoints:
    saved = Checkpoints(folder)
    for epoch in (1, 2, 3):
        saved.save(epoch, make_state(epoch), {"metrics": f"up to {epoch}\n"})
    return saved


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_newest_of_the_last_two_is_restored(tmp_path):
    assert Checkpoints(tmp_path / "missing").restore_newest(LIKE) is None
    saved = save_three(tmp_path)
    assert set(snapshot(tmp_path)) == {"2", "3"}
    epoch, state, records = saved.restore_newest(LIKE)
    assert (epoch, records) == (3, {"metrics": "up to 3\n"})
    assert_equal(state, make_state(3))


def test_arrays_without_entries_are_restored(tmp_path):
    state = LIKE._replace(params={"bias": jnp.zeros((0, 2))})
    Checkpoints(tmp_path).save(1, state)
    assert_equal(Checkpoints(tmp_path).restore_newest(state).state, state)


def test_a_restored_state_can_be_donated(tmp_path):
    saved = save_three(tmp_path)
    for _ in range(2):
        state = saved.restore_newest(LIKE).state
        jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)(state.params)
    assert_equal(saved.restore_newest(LIKE).state, make_state(3))


@pytest.mark.parametrize("seed", range(30))
def test_damage_anywhere_is_proven_and_the_one_before_is_restored(tmp_path, seed):
    saved = save_three(tmp_path)
    content = bytearray((tmp_path / "3").read_bytes())
    random = int(np.random.default_rng(seed).integers(len(content)))
    place = seed if seed < 9 else random  # the first bytes say that there is a checksum
    if seed % 3 == 0:
        del content[place:]
    else:
        content[place] ^= 1 << seed % 8
    (tmp_path / "3").write_bytes(content)
    before = snapshot(tmp_path)
    message = (
        re.escape(f"{tmp_path / '3'} is damaged: ") + r".*3\.damaged; restoring the one before"
    )
    with pytest.warns(UserWarning, match=message):
        epoch, state, _ = saved.restore_newest(LIKE)
    assert epoch == 2
    assert_equal(state, make_state(2))
    assert snapshot(tmp_path) == {"2": before["2"], "3.damaged": before["3"]}


def test_all_are_damaged_and_none_is_lost(tmp_path):
    saved = save_three(tmp_path)
    for name in ("2", "3"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged") as caught:
        assert saved.restore_newest(LIKE) is None
    assert [str(w.message).rpartition("; ")[2] for w in caught] == [
        "restoring the one before.",
        "there is no older one.",
    ]
    assert set(snapshot(tmp_path)) == {"2.damaged", "3.damaged"}


def raising(error: BaseException):
    def call(*arguments, **options):
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *((OSError(code, os.strerror(code)), os.strerror(code)) for code in (5, 13, 24)),
        (MemoryError(), "out of memory"),
    ],
    ids=["EIO", "EACCES", "EMFILE", "memory"],
)
@pytest.mark.parametrize("kind", ["file", "orbax"])
def test_what_does_not_prove_damage_ends_with_a_sentence(
    tmp_path, monkeypatch, error, reason, kind
):
    if kind == "file":
        save_three(tmp_path)
    else:
        save_with_orbax(tmp_path, {3: make_state(3)})
    before = snapshot(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", raising(error))
        with pytest.raises(CheckpointError) as caught:
            Checkpoints(tmp_path).restore_newest(LIKE)
    assert str(tmp_path / "3") in str(caught.value)
    assert f"{reason}). Nothing was changed." in str(caught.value)
    assert snapshot(tmp_path) == before
    assert Checkpoints(tmp_path).restore_newest(LIKE).epoch == 3


def test_memory_runs_out_while_the_content_is_decoded(tmp_path, monkeypatch):
    saved = save_three(tmp_path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(checkpoints, "msgpack_restore", raising(MemoryError()))
    with pytest.raises(CheckpointError, match="out of memory"):
        saved.restore_newest(LIKE)
    assert snapshot(tmp_path) == before


def test_ctrl_c_while_reading_changes_nothing(tmp_path, monkeypatch):
    saved = save_three(tmp_path)
    before = snapshot(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        saved.restore_newest(LIKE)
    monkeypatch.undo()
    assert snapshot(tmp_path) == before


OTHERS = {
    "shape": (LIKE._replace(moments=[(jnp.zeros(4, jnp.bfloat16), ()), None]), "bfloat16[3] there"),
    "dtype": (LIKE._replace(epoch=jnp.float32(0)), "`epoch` is int32[] there and float32[] here"),
    "more": (
        LIKE._replace(epoch=[jnp.int32(0)] * 2),
        "`epoch/0` is missing there and int32[] here",
    ),
    "less": (LIKE._replace(params={}), "`params/gru/w` is float32[2, 3] there and missing here"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", ["file", "orbax"])
def test_another_structure_is_refused_and_nothing_is_changed(tmp_path, name, kind):
    if kind == "file":
        save_three(tmp_path)
    else:
        save_with_orbax(tmp_path, {3: make_state(3)})
    before = snapshot(tmp_path)
    like, difference = OTHERS[name]
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(tmp_path).restore_newest(like)
    assert f"The checkpoint {tmp_path / '3'} has another structure: " in str(caught.value)
    assert difference in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_sealed_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "3").write_bytes(seal(b"\x80"))
    with pytest.raises(CheckpointError, match="Nothing was changed"):
        Checkpoints(tmp_path).restore_newest(LIKE)
    assert set(snapshot(tmp_path)) == {"3"}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_ones_stay_until_the_new_one_is_on_the_disk(tmp_path, monkeypatch, call):
    saved = save_three(tmp_path)
    before = snapshot(tmp_path)
    module = os if call == "fsync" else Path
    for code in (errno.ENOSPC, errno.EIO):
        with monkeypatch.context() as patch:
            patch.setattr(module, call, raising(OSError(code, os.strerror(code))))
            with pytest.raises(OSError, match=os.strerror(code)) as caught:
                saved.save(4, make_state(4))
        assert caught.value.filename == str(tmp_path / "4")
        assert snapshot(tmp_path) == before


def test_the_folder_is_on_the_disk_before_an_old_one_is_deleted(tmp_path, monkeypatch):
    saved = save_three(tmp_path)
    present = []
    fsync = os.fsync

    def note(descriptor):
        present.append(sorted(path.name for path in tmp_path.iterdir()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    saved.save(4, make_state(4))
    written, renamed, *_ = present
    assert written == ["2", "3", "4.new"]
    assert renamed == ["2", "3", "4"]
    assert set(snapshot(tmp_path)) == {"3", "4"}


def test_an_old_one_that_cannot_be_deleted_is_deleted_later(tmp_path, monkeypatch):
    saved = save_three(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", raising(PermissionError(1, "no")))
        saved.save(4, make_state(4))
    assert set(snapshot(tmp_path)) == {"2", "3", "4"}
    saved.save(5, make_state(5))
    assert set(snapshot(tmp_path)) == {"4", "5"}


def test_checkpoints_of_version_0_1_are_restored_and_replaced(tmp_path):
    save_with_orbax(tmp_path, {1: make_state(1), 2: make_state(2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epoch, state, records = Checkpoints(tmp_path).restore_newest(LIKE)
    assert (epoch, records) == (2, None)
    assert_equal(state, make_state(2))
    Checkpoints(tmp_path).save(3, make_state(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    Checkpoints(tmp_path).save(4, make_state(4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


@pytest.mark.filterwarnings("ignore")  # of Orbax
def test_flipped_arrays_of_version_0_1_are_proven(tmp_path):
    save_with_orbax(tmp_path, {1: make_state(1), 2: make_state(2)})
    for path in (tmp_path / "2" / "state").rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    before = snapshot(tmp_path / "2")
    with pytest.warns(UserWarning, match=r"2 is damaged: .*; restoring the one before"):
        epoch, state, _ = Checkpoints(tmp_path).restore_newest(LIKE)
    assert epoch == 1
    assert_equal(state, make_state(1))
    assert snapshot(tmp_path / "2.damaged") == before


@pytest.mark.filterwarnings("ignore")  # of Orbax
def test_a_folder_of_version_0_1_without_proof_is_refused(tmp_path):
    save_with_orbax(tmp_path, {1: make_state(1), 2: make_state(2)})
    (tmp_path / "2" / "state" / "_METADATA").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(CheckpointError, match=r"2 is not restored \(.*Nothing was changed"):
        Checkpoints(tmp_path).restore_newest(LIKE)
    assert snapshot(tmp_path) == before
