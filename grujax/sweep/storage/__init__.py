"""Sweeps and populations on disk: finished work survives the process and the machine.

    sweep.json        what is swept; a directory that belongs to another sweep is refused
    sweep.lock        held while a process works in the directory
    trials.npz        the trials' hyperparameters
    batch-000012.npz  of a search: the hyperparameters of a batch of trials, see `batches`
    chunk-000012.npz  the metrics of one chunk of trials, named by its first trial
    round-000012.npz  a population after 12 rounds, see `grujax.sweep.populations.state`

Each file is written atomically. A trial is part of one chunk, so a sweep resumes by running the
trials that are in no chunk; the size of chunks may differ from call to call. Several processes that
share one sweep may write to its directory at the same time.

Chunks and rounds say which sweep they belong to, and what computed them (`Origin`), so that a
damaged sweep.json is written anew where they prove whose it is. Damaged files are moved aside, to
`NAME.damaged`, and computed anew; nothing is deleted.

`arrays` has the .npz files, `locking` the lock, `claims` sweep.json, `chunks` the rest of a sweep's
files, `batches` those of a search, and `saving` what happens on a disk that refuses them.
"""

from grujax.sweep.storage.arrays import (
    DamagedFileError,
    add_prefix,
    read_arrays,
    with_prefix,
    write_arrays,
)
from grujax.sweep.storage.batches import (
    Asked,
    Batch,
    Opened,
    as_arrays,
    drop_chunks,
    load_search,
    new_name,
    open_search,
    write_batch,
)
from grujax.sweep.storage.chunks import (
    Chunk,
    load_sweep,
    missing_trials,
    open_sweep,
    write_chunk,
)
from grujax.sweep.storage.claims import (
    claim,
    describe_key,
    describe_sweep,
    identify,
    read_origin,
    write_origin,
)
from grujax.sweep.storage.files import Damage, numbered_files, set_aside
from grujax.sweep.storage.locking import check_writable, locked
from grujax.sweep.storage.saving import Saver

__all__ = [
    "Asked",
    "Batch",
    "Chunk",
    "Damage",
    "DamagedFileError",
    "Opened",
    "Saver",
    "add_prefix",
    "as_arrays",
    "check_writable",
    "claim",
    "describe_key",
    "describe_sweep",
    "drop_chunks",
    "identify",
    "load_search",
    "load_sweep",
    "locked",
    "missing_trials",
    "new_name",
    "numbered_files",
    "open_search",
    "open_sweep",
    "read_arrays",
    "read_origin",
    "set_aside",
    "with_prefix",
    "write_arrays",
    "write_batch",
    "write_chunk",
    "write_origin",
]
