"""What this machine's processor is."""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path

from grujax.implementations.native.compiling import LEVELS, LEVELS_OF


@functools.cache
def architecture() -> str:
    """Such as "x86_64" or "aarch64"."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


@functools.cache
def features() -> frozenset[str]:
    """The features that all processors of the machine have, as Linux names them; else empty."""
    if sys.platform == "darwin" and architecture() == "aarch64":
        return frozenset({"asimd"})  # every ARM processor of Apple's; macOS has no /proc
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
    return architecture() != "x86_64" or features() >= {"avx2", "fma"}


def has_wide_vectors() -> bool:
    """Whether vectors have 512 bits."""
    return features().issuperset(LEVELS["x86-64-v4"])


def thread_count(devices: int = 1) -> int:
    """The threads of XLA's pool on this machine, which the kernel uses too."""
    chosen = os.environ.get("PJRT_NPROC", os.environ.get("NPROC", ""))
    threads = int(chosen) if chosen.strip().isdecimal() else usable_cores()
    return max(threads, devices)


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


def cgroup_limit(
    root: Path = Path("/sys/fs/cgroup"), of: str = "/proc/self/cgroup"
) -> float | None:
    """The processors whose time the process's control group may use; None without a limit.

    Each group is bounded by the groups around it.
    """
    limits = [_limit(folder) for folder in _control_groups(root, Path(of))]
    return min((limit for limit in limits if limit is not None), default=None)


def _control_groups(root: Path, of: Path) -> list[Path]:
    """The folders that may hold the limits of this process's group and of those around it."""
    try:
        lines = of.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    folders = [root, root / "cpu"]
    for line in lines:  # "hierarchy:controllers:/path"
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "" or "cpu" in controllers.split(","):
            base = root / "cpu" if controllers else root
            group = base / path.lstrip("/")
            folders += [group, *(folder for folder in group.parents if folder.is_relative_to(base))]
    return folders


def _limit(folder: Path) -> float | None:
    """The limit that one folder states: by version 2 of Linux's control groups, or by version 1."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / name).read_text(encoding="utf-8") for name in names)
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" means no limit
        return None
