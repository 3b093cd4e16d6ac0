"""Searching for the best hyperparameters: Optuna asks, a sweep answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from grujax.checks import check_bool, check_choice, check_integer, check_path, check_string
from grujax.sweep.contract import Train, check_takes
from grujax.sweep.distributions import Distribution
from grujax.sweep.executors import Engine, pack
from grujax.sweep.loggers import check_log
from grujax.sweep.plan import Plan, choose_devices, choose_workers, key_type
from grujax.sweep.programs import shapes_of
from grujax.sweep.searches.loop import Search, SearchResult, Workers, run_search
from grujax.sweep.searches.space import check_space, describe_space
from grujax.sweep.searches.studies import check_study, opened_study
from grujax.sweep.storage import describe_key
from grujax.sweep.trials import check_static
from grujax.sweep.values import MOST

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler


def search(
    train: Train,
    space: Mapping[str, Distribution],
    *,
    trials: int,
    batch: int,
    key: Array,
    metric: str,
    direction: str = "min",
    sampler: BaseSampler | None = None,
    study: Study | None = None,
    strategy: str | None = None,
    devices: Sequence[jax.Device] | int | None = None,
    directory: str | Path | None = None,
    resume: str = "checked",
    progress: bool = True,
    static: Sequence[str] = (),
    executor: Any = None,
    retries: int = 2,
    log_to: Any = None,
) -> SearchResult:
    """Searches for the hyperparameters with the best metric: Optuna asks, `run`'s programs answer.

    Each time, Optuna asks for a batch of trials, these run as a sweep does, in one compiled program
    for each combination of static values, and Optuna is told their metrics. Trial i computes
    `train(trial_key(key, i), **{name: values[i]})`, as in `run`.

    Args:
        train: `train(key, **hyperparameters) -> metrics`, as for `run`.
        space: a distribution for each hyperparameter: `uniform`, `log_uniform`, `integer`,
            `choice`, or any function from numbers in [0, 1) to values; Optuna then searches for the
            number. Every trial has all hyperparameters: there are no conditional spaces.
        trials: the number of trials. With a `directory`, a call with more trials continues there.
        batch: how many trials Optuna asks for before it learns their metrics. A larger batch keeps
            more devices busy, and a smaller one lets Optuna learn more from the same trials.
        key: a JAX random key, from which the key of each trial is derived, and the seeds of the
            default sampler.
        metric: the scalar metric to search by. A trial where it is NaN is told as failed.
        direction: whether the least ("min") or the greatest ("max") metric is best.
        sampler: a sampler of Optuna. By default that of `study`, or without a `study`
            `TPESampler(constant_liar=True)`, which is seeded for each batch from `key`: the same
            call asks for the same trials.
        study: a study of Optuna, with earlier trials or without. Several machines search together
            in a study whose storage all of them reach; each has a `key` and a `directory` of its
            own. By default a new study in memory.
        strategy, devices, resume, progress: as for `run`.
        directory: where each batch is written when Optuna has asked for it, and each chunk of
            trials when it has run. The same call resumes there after the process was stopped or
            killed: it runs the trials that were asked for and have not run, and tells those that
            were not told. A study in memory is made again from the directory. With the default
            sampler, the result is that of a call that was never stopped. Without a directory, an
            error or Ctrl-C tells the trials that have not run as failed.
        static: the hyperparameters that set shapes, or that Python branches on, as for `run`.
        executor, retries: as for `run`: the trials of a batch run on the workers of an executor,
            which a function makes once for all batches.
        log_to: as for `run`.

    Returns:
        A `SearchResult`: a `SweepResult` with the `study`, and the `numbers` `[trials]` of the
        trials in it.

    Raises:
        ValueError: for an empty space, something in it that is not a distribution, or values that
            `run` would not take; an unknown metric, direction or strategy; a study of several
            values or of the other direction, or where a search with the same key has run; a
            `train` that `run` would not take; or a `directory` that belongs to another search or
            another `train`, that has more trials already, that another process works in, or that
            cannot be read or written; or an unknown logger.
        RuntimeError: trials that failed on an `executor`, or it is broken; see `run`.
        ImportError: without Optuna, or the package of a logger.
        KeyboardInterrupt: after Ctrl-C, with a line that says what is saved.

    Example:
        >>> def train(key, learning_rate):  # gradient descent on (w − 1)², from w = 0
        ...     w = jax.lax.fori_loop(0, 5, lambda _, w: w - learning_rate * 2 * (w - 1), 0.0)
        ...     return {"loss": (w - 1) ** 2}
        >>> from grujax.sweep import log_uniform
        >>> result = search(
        ...     train,
        ...     {"learning_rate": log_uniform(1e-3, 1.0)},
        ...     trials=16,
        ...     batch=4,
        ...     key=jax.random.key(0),
        ...     metric="loss",
        ...     progress=False,
        ... )
        >>> result.metrics["loss"].shape, len(result.study.trials)
        ((16,), 16)

    Reference:
        Akiba et al. 2019, "Optuna: A Next-generation Hyperparameter Optimization Framework",
        https://arxiv.org/abs/1907.10902
    """
    static = check_static(static)
    values = check_space(space, static)
    check_takes("train", train, ("key",), space)
    trials = check_integer("trials", trials, 1, MOST)
    batch = check_integer("batch", batch, 1, MOST)
    check_string("metric", metric)
    check_choice("direction", direction, ("min", "max"))
    kind = key_type(key)
    retries = check_integer("retries", retries, 0, MOST)
    places: tuple[jax.Device, ...] = ()
    workers = None
    if executor is None:
        places, strategy = choose_devices(devices, strategy)
    else:
        engine, packed = Engine(executor, stays=True), pack(train)
        count, strategy = choose_workers(devices, strategy, is_shared=False)
        workers = Workers(engine, packed, count, retries)
    folder = None if directory is None else check_path("directory", directory)
    check_choice("resume", resume, ("checked", "anyway"))
    progress = check_bool("progress", progress)
    loggers = check_log(log_to, folder, 0, 1)
    check_study(study, sampler, direction)
    dtypes = {
        name: jax.dtypes.canonicalize_dtype(array.dtype).name
        for name, array in values.items()
        if name not in static
    }
    plan = Plan(
        trials=min(batch, trials),
        traced=tuple(dtypes.items()),
        key=kind,
        strategy=strategy,
        devices=places,
        fit_memory=True,
    )
    _check_metric(train, plan, {name: values[name][0].item() for name in static}, metric)
    search = Search(
        train=train,
        space=space,
        trials=trials,
        batch=batch,
        key=key,
        metric=metric,
        plan=plan,
        static=static,
        directory=folder,
        resume=resume,
        progress=progress,
        workers=workers,
        loggers=loggers,
    )
    about = {
        "static": sorted(static),
        "metric": metric,
        "direction": direction,
        "key": describe_key(key),
        "space": describe_space(space),
        "hyperparameters": dict.fromkeys(sorted(space), "searched"),
    }
    reseeds = study is None and sampler is None
    with opened_study(study, sampler, direction) as opened:
        try:
            return run_search(search, about, opened, reseeds)
        finally:
            if workers is not None:
                workers.engine.close(wait=False)


def _check_metric(train: Train, plan: Plan, static: dict[str, Any], metric: str) -> None:
    """Raises ValueError unless `train`, with some static values, returns this scalar metric."""
    shapes = shapes_of(train, plan._replace(static=tuple(static.items())))
    if metric not in shapes:
        names = ", ".join(f"`{name}`" for name in shapes)
        raise ValueError(f"`metric` is {metric!r}, but the metrics of `train` are {names}.")
    if shapes[metric].shape or jnp.issubdtype(shapes[metric].dtype, jnp.complexfloating):
        kind = f"{shapes[metric].dtype} {list(shapes[metric].shape)}"
        raise ValueError(f"`metric` must name a real scalar, but `{metric}` is {kind}.")
