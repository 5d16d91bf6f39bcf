"""Finds what this process may use of its machine: cores by affinity and quota, memory, and whether it may spin."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_NO_LIMIT = 2**60  # cgroup v1 expresses "no memory limit" as a number near 2**63

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Limits:
    """The part of a machine that a process may use; None: no limit."""

    host_cores: int  # logical cores of the whole machine
    cores: int  # distinct physical cores in the process's affinity
    quota: float | None  # time that its cgroups allow, in cores
    memory: int | None  # bytes that its cgroups allow
    is_shared: bool  # others may compute on these cores: there is a quota, or an affinity for part of the machine
    has_battery: bool  # it has a battery, or is an ARM board of the kind that often runs on one

    @property
    def threads(self) -> int:
        """How many threads can compute at once without being throttled."""
        return max(1, min(self.cores, self.cores if self.quota is None else int(self.quota)))

    @property
    def may_spin(self) -> bool:
        """Whether waiting threads may spin in a loop, which is fastest if nobody else needs the core."""
        return not (self.is_shared or self.has_battery)


def find_limits(root: Path = Path("/")) -> Limits:
    """Read the limits of this process from /proc and /sys; what a system does not report counts as no limit."""
    host = os.cpu_count() or 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(host))
    groups = _groups(root)
    quota = _smallest(_quota(group) for group in groups)
    return Limits(
        host_cores=host,
        cores=_physical(root, allowed),
        quota=quota,
        memory=_smallest(_memory(group) for group in groups),
        is_shared=len(allowed) < host or (quota is not None and quota < len(allowed)),
        has_battery=_has_battery(root),
    )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that are available without swapping, from /proc/meminfo; None if the system does not report it."""
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _groups(root: Path) -> list[Path]:
    """The folders of this process's cgroups, version 1 and 2, and of all their parents: each of them sets limits.

    Inside a container, the path may be the host's and not exist; the top of the mount is then the container's cgroup.
    """
    folders: list[Path] = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        mounts = [root / "sys/fs/cgroup" / each for each in (controllers, *controllers.split(","))]
        if not controllers:  # version 2, alone or together with version 1
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        for mount in mounts:
            inner = Path(path.lstrip("/"))
            folders += [mount / each for each in (inner, *inner.parents) if ".." not in each.parts]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _quota(group: Path) -> float | None:
    """A cgroup's quota in cores (https://docs.kernel.org/scheduler/sched-bwc.html, .../admin-guide/cgroup-v2.html)."""
    quota, period, *_ = [*_text(group / "cpu.max").split(), "", ""]
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _memory(group: Path) -> int | None:
    limit = (_text(group / "memory.max") or _text(group / "memory.limit_in_bytes")).strip()
    return int(limit) if limit.isdigit() and int(limit) < _NO_LIMIT else None


def _physical(root: Path, allowed: set[int]) -> int:
    """Count physical cores: two hardware threads of a core share its arithmetic units."""
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_text(root / topology.format(cpu)).strip() or str(cpu) for cpu in allowed})


def _has_battery(root: Path) -> bool:
    for supply in (root / "sys/class/power_supply").glob("*"):  # scope "Device": the battery of a mouse or the like
        if _text(supply / "type").strip() == "Battery" and _text(supply / "scope").strip() != "Device":
            return True
    board = _text(root / "proc/device-tree/model")  # a Raspberry Pi or Jetson; ARM servers have ACPI instead
    return bool(board) and platform.machine() in ("aarch64", "armv7l")


def _smallest(limits: Iterable[Number | None]) -> Number | None:
    return min((each for each in limits if each is not None), default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
