"""The limits of a process are read as the kernel writes them, in every arrangement of cgroups."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from signs_runtime.placement.limits import Limits, available_memory, find_limits

GIB = 2**30
CGROUPS = "sys/fs/cgroup"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_system_that_says_nothing_sets_no_limit(tmp_path: Path) -> None:
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory, limits.has_battery) == (None, None, False)
    assert 1 <= limits.threads == limits.cores <= limits.host_cores
    assert available_memory(tmp_path) is None


def test_a_cgroup_of_version_2_limits_time_and_memory(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/app\n",
            f"{CGROUPS}/user.slice/app/cpu.max": "50000 100000\n",
            f"{CGROUPS}/user.slice/app/memory.max": f"{GIB}\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory, limits.is_shared, limits.threads) == (0.5, GIB, True, 1)
    assert not limits.may_spin


def test_no_limit_is_written_as_max_in_version_2(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/app\n",
            f"{CGROUPS}/app/cpu.max": "max 100000\n",
            f"{CGROUPS}/app/memory.max": "max\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory) == (None, None)


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_a_cgroup_of_version_1_limits_time_and_memory(tmp_path: Path, mount: str) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n1:name=systemd:/docker/1\n",
            f"{CGROUPS}/{mount}/docker/1/cpu.cfs_quota_us": "150000\n",
            f"{CGROUPS}/{mount}/docker/1/cpu.cfs_period_us": "100000\n",
            f"{CGROUPS}/memory/docker/1/memory.limit_in_bytes": f"{GIB}\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory) == (1.5, GIB)


def test_no_limit_is_written_as_minus_one_and_as_a_huge_number_in_version_1(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:cpu:/\n3:memory:/\n",
            f"{CGROUPS}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{CGROUPS}/cpu/cpu.cfs_period_us": "100000\n",
            f"{CGROUPS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory) == (None, None)


def test_both_versions_beside_each_other_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "3:memory:/app\n0::/app\n",
            f"{CGROUPS}/memory/app/memory.limit_in_bytes": f"{GIB}\n",
            f"{CGROUPS}/unified/app/cpu.max": "200000 100000\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory) == (2.0, GIB)


def test_a_group_above_limits_those_in_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/container\n",
            f"{CGROUPS}/pod/cpu.max": "100000 100000\n",
            f"{CGROUPS}/pod/memory.max": f"{2 * GIB}\n",
            f"{CGROUPS}/pod/container/cpu.max": "400000 100000\n",
            f"{CGROUPS}/pod/container/memory.max": f"{GIB}\n",
        },
    )
    limits = find_limits(tmp_path)
    assert (limits.quota, limits.memory) == (1.0, GIB)


@pytest.mark.parametrize("path", ["/docker/of-the-host", "/../other"])
def test_a_path_that_only_the_host_has_means_the_container_s_own_top(tmp_path: Path, path: str) -> None:
    write(
        tmp_path / "root",
        {
            "proc/self/cgroup": f"0::{path}\n",
            f"{CGROUPS}/cpu.max": "100000 100000\n",
            f"{CGROUPS}/memory.max": f"{GIB}\n",
        },
    )
    write(tmp_path, {"root/sys/fs/other/cpu.max": "10000 100000\n"})  # outside the mount: another's
    limits = find_limits(tmp_path / "root")
    assert (limits.quota, limits.memory) == (1.0, GIB)


def test_two_threads_of_one_core_are_one_core(tmp_path: Path) -> None:
    everyone = ",".join(map(str, range(os.cpu_count() or 1)))
    for cpu in range(os.cpu_count() or 1):
        write(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{everyone}\n"})
    assert find_limits(tmp_path).cores == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has it")
def test_an_affinity_limits_the_cores_that_count() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = (
        f"import json, os; os.sched_setaffinity(0, [{cpu}])\n"
        "from signs_runtime.placement.limits import find_limits; limits = find_limits()\n"
        "print(json.dumps([limits.cores, limits.threads, limits.is_shared]))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) == [1, 1, (os.cpu_count() or 1) > 1]


@pytest.mark.parametrize(
    ("supply", "runs_on_it"),
    [
        ({"type": "Battery\n"}, True),
        ({"type": "Battery\n", "scope": "System\n"}, True),
        ({"type": "Battery\n", "scope": "Device\n"}, False),  # a wireless mouse's
        ({"type": "Mains\n"}, False),
    ],
)
def test_a_battery_counts_if_the_machine_runs_on_it(tmp_path: Path, supply: dict[str, str], runs_on_it: bool) -> None:
    write(tmp_path, {f"sys/class/power_supply/BAT0/{name}": text for name, text in supply.items()})
    limits = find_limits(tmp_path)
    assert limits.has_battery is runs_on_it
    assert not (limits.may_spin and runs_on_it)


def test_a_raspberry_pi_saves_power_like_a_battery(tmp_path: Path) -> None:
    write(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert find_limits(tmp_path).has_battery is (platform.machine() in ("aarch64", "armv7l"))


def test_threads_are_the_whole_cores_of_the_quota_and_at_least_one() -> None:
    def threads(cores: int, quota: float | None) -> int:
        return Limits(8, cores, quota, None, is_shared=True, has_battery=False).threads

    assert [threads(4, quota) for quota in (None, 8.0, 2.5, 1.0, 0.3)] == [4, 4, 2, 1, 1]


def test_available_memory_is_what_can_be_had_without_swapping(tmp_path: Path) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal:  8000000 kB\nMemFree:  1000 kB\nMemAvailable:  2048 kB\n"})
    assert available_memory(tmp_path) == 2048 * 1024
