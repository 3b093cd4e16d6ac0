"""What this machine's processor is."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

from grujax.implementations.native.compiling import LEVELS, LEVELS_OF


@functools.cache
def architecture() -> str:
    """Such as "x86_64" or "aarch64"."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


@functools.cache
def features() -> frozenset[str]:
    """The features that all processors of the machine have, as Linux names them; else empty."""
    lines = [line.partition(":") for line in _cpuinfo() if line.startswith(("flags", "Features"))]
    sets = [set(values.split()) for _, _, values in lines]
    return frozenset(set.intersection(*sets)) if sets else frozenset()


@functools.cache
def model() -> str:
    """The processor's name."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def identity() -> str:
    """Everything that a library for exactly this machine depends on."""
    return "\0".join([architecture(), model(), *sorted(features())])


def levels() -> list[str]:
    """The levels of instructions that this processor has, the fastest first."""
    known = LEVELS_OF.get(architecture(), ())
    return [level for level in known if features().issuperset(LEVELS[level])]


def is_fast_enough() -> bool:
    """Whether the kernel is faster here than the scan: on x86, not without AVX2 and FMA."""
    return architecture() != "x86_64" or features() >= {"avx2", "fma"} or not features()


def usable_cores() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def cgroup_limit(folder: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The processors whose time the process's control group may use; None without a limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            names = ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
            quota, period = ((folder / name).read_text(encoding="utf-8") for name in names)
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" means no limit
        return None
