"""The doctor finds what is staged for it: broken installations in environments of their own, devices below a folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import metadata, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.doctor import doctor
from signs_runtime.doctor.examine import (
    OLDEST_ONNXRUNTIME,
    PYTHONS,
    Finding,
    check_cache,
    check_cpu,
    check_gpu,
    check_limits,
    check_memory,
    check_onnxruntime,
    check_providers,
    check_python,
    check_telemetry,
    check_version,
    needed_memory,
)
from signs_runtime.doctor.known_faults import FAULTS
from signs_runtime.engine.device import describe_cpu
from signs_runtime.engine.provider_libraries import Onnxruntime, find_onnxruntime, how_to_get_library, why_not_loadable
from signs_runtime.placement.limits import find_limits

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"
EXAMINE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from signs_runtime.doctor.examine import examine
device, root = sys.argv[1:]
print(json.dumps([asdict(each) for each in examine(device=device or None, root=Path(root))]))
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the loader's words are Linux's")


@dataclass
class Environment:
    """A Python environment without onnxruntime, and a root without anything in it."""

    python: Path
    packages: Path
    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    def install(self, distribution: str, version: str, *, code: str = "", providers: Sequence[str] = (CPU,)) -> Path:
        """Install an onnxruntime of a few lines, as pip would: the package and what is written down of it."""
        package = self.packages / "onnxruntime"
        (package / "capi").mkdir(parents=True, exist_ok=True)
        lines = f"__version__ = {version!r}\ndef get_available_providers(): return {list(providers)!r}\n{code}\n"
        (package / "__init__.py").write_text(lines)
        self.register(distribution, version, "onnxruntime/__init__.py")
        return package / "capi"

    def register(self, distribution: str, version: str, file: str) -> None:
        info = self.packages / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "RECORD").write_text(f"{file},,\n")
        (info / "top_level.txt").write_text(Path(file).parts[0])  # as setuptools does; Python 3.10 reads no RECORD

    def run(self, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(self.packages), **self.variables}
        command = [str(self.python), "-c", code, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    def examine(self, device: str = "") -> dict[str, Finding]:
        child = self.run(EXAMINE, device, str(self.root))
        assert child.returncode == 0, child.stderr
        return {each["check"]: Finding(**each) for each in json.loads(child.stdout)}


def folder_of(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (place,) = spec.submodule_search_locations
    return Path(place)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has signs_runtime, click, Pillow and packaging: no numpy, no onnxruntime."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages") if os.name == "posix" else [folder / "Lib/site-packages"]
    for name in ("signs_runtime", "click", "PIL", "packaging"):  # onnxruntime brings the last
        (packages / name).symlink_to(folder_of(name))
    if (libraries := folder_of("PIL").with_name("pillow.libs")).is_dir():
        (packages / libraries.name).symlink_to(libraries)
    return folder / ("bin/python" if os.name == "posix" else "Scripts/python.exe")


@pytest.fixture
def environment(bare: Path, tmp_path: Path) -> Environment:
    (tmp_path / "root").mkdir()
    return Environment(bare, tmp_path / "packages", tmp_path / "root", {"XDG_CACHE_HOME": str(tmp_path / "cache")})


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def library(name: bytes = b"", needs: bytes = b"") -> bytes:
    """A real library, with another name of its own or another need than libstdc++."""
    content = (folder_of("onnxruntime") / "capi" / "libonnxruntime_providers_shared.so").read_bytes()
    for old, new in ((b"libonnxruntime_providers_shared.so", name), (b"libstdc++.so.6", needs)):
        assert content.count(old + b"\0") == 1
        content = content.replace(old + b"\0", new.ljust(len(old), b"\0") + b"\0") if new else content
    return content


# onnxruntime


def test_a_device_without_onnxruntime_is_examined_all_the_same(environment: Environment) -> None:
    findings = environment.examine()
    assert findings["onnxruntime"].level == "problem"
    assert "No module named 'onnxruntime'" in findings["onnxruntime"].says
    for package in ("onnxruntime (any CPU)", "onnxruntime-gpu", "onnxruntime-openvino"):
        assert package in findings["onnxruntime"].fix
    assert [each.check for each in findings.values() if each.level == "problem"] == ["onnxruntime"]
    assert findings.keys() >= {"python", "gpu", "cpu", "limits", "memory", "cache", "telemetry", "pictures"}


def test_the_command_ends_with_1_on_a_problem_and_shows_its_fix(environment: Environment) -> None:
    command = "from signs_runtime.commands.doctor import doctor; doctor()"
    child = environment.run(command)
    assert (child.returncode, child.stderr) == (1, "")
    (line,) = [n for n, text in enumerate(child.stdout.splitlines()) if text.startswith("PROBLEM  onnxruntime")]
    assert "-> pip install one of onnxruntime (any CPU)" in child.stdout.splitlines()[line + 1]


def test_two_onnxruntimes_over_each_other_are_a_problem(environment: Environment) -> None:
    environment.install("onnxruntime", "1.32.0")
    environment.install("onnxruntime-gpu", "1.31.1")
    finding = environment.examine()["onnxruntime"]
    assert finding.level == "problem"
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are installed" in finding.says
    assert "an import finds 1.31.1" in finding.says
    assert finding.fix.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")


def test_a_plugin_with_a_like_name_is_not_a_second_onnxruntime(environment: Environment) -> None:
    environment.install("onnxruntime", "1.31.1")
    environment.register("onnxruntime-extensions", "0.15.2", "onnxruntime_extensions/__init__.py")
    assert environment.examine()["onnxruntime"].level == "ok"


def test_files_of_another_version_than_is_written_down_are_a_problem(environment: Environment) -> None:
    environment.install("onnxruntime", "1.31.1", code="__version__ = '1.30.0'")
    finding = environment.examine()["onnxruntime"]
    assert (finding.level, "files of two installations are mixed" in finding.says) == ("problem", True)


@pytest.mark.skipif(os.name != "posix", reason="a signal ends it")
def test_an_import_that_crashes_does_not_crash_the_doctor(environment: Environment) -> None:
    environment.install("onnxruntime", "1.31.1", code=f"import os; os.kill(os.getpid(), {int(signal.SIGILL)})")
    finding = environment.examine()["onnxruntime"]
    assert finding.level == "problem"
    assert "onnxruntime 1.31.1 cannot be imported: SIGILL ended the process" in finding.says
    assert "instructions that the CPU lacks" in finding.fix


def test_an_import_that_fails_is_a_problem_in_its_own_words(environment: Environment) -> None:
    words = "libonnxruntime.so: cannot enable executable stack as shared object requires: Invalid argument"
    environment.install("onnxruntime", "1.31.1", code=f"raise ImportError({words!r})")
    finding = environment.examine()["onnxruntime"]
    assert (finding.level, words in finding.says) == ("problem", True)
    assert "glibc 2.41" in finding.fix


@pytest.mark.parametrize(
    ("bits", "host", "says"),
    [(32, "arm-linux-gnueabihf", "has 32 bits"), (64, "x86_64-pc-linux-musl", "has no wheels")],
)
def test_a_system_that_has_no_wheels_is_told_so(bits: int, host: str, says: str) -> None:
    missing = Onnxruntime("", (), "", "ModuleNotFoundError: No module named 'onnxruntime'")
    (finding,) = check_onnxruntime(missing, {}, bits, host)
    assert (finding.level, says in finding.says) == ("problem", True)


def test_the_onnxruntime_of_these_tests_is_well() -> None:
    found = find_onnxruntime()
    assert (found.error, CPU in found.providers, Path(found.folder).name) == ("", True, "onnxruntime")


# versions


@pytest.mark.parametrize(
    ("version", "cpuinfo", "url"),
    [
        ("1.23.2", "flags : avx2 avx512_vnni amx_int8", "27671"),
        ("1.24.4", "flags : avx2 avx_vnni", "27671"),
        ("1.26.0", "Features : asimd asimddp sme", "28363"),
        ("1.27.0", "Features : asimd asimddp sme", "28571"),
    ],
)
def test_a_version_with_a_known_fault_on_this_cpu_is_a_problem(
    environment: Environment, version: str, cpuinfo: str, url: str
) -> None:
    environment.install("onnxruntime", version)
    write(environment.root, {"proc/cpuinfo": f"processor : 0\n{cpuinfo}\n"})
    finding = environment.examine()["version"]
    assert finding.level == "problem"
    assert f"https://github.com/microsoft/onnxruntime/pull/{url}" in finding.says
    assert "upgrade" in finding.fix


@pytest.mark.parametrize(
    ("version", "features"),
    [
        ("1.23.2", {"avx2", "avx512_vnni"}),
        ("1.25.0", {"amx_int8", "avx_vnni"}),
        ("1.27.1", {"sme"}),
        ("1.31.1", {"amx_int8", "avx_vnni", "sme"}),
    ],
)
def test_a_version_without_a_fault_on_this_cpu_is_well(version: str, features: set[str]) -> None:
    assert [each.level for each in check_version(version, features)] == ["ok"]


def test_a_version_older_than_the_extras_demand_is_a_problem() -> None:
    (finding,) = check_version("1.22.1", set())
    assert (finding.level, "needs 1.23 or newer" in finding.says) == ("problem", True)


def test_every_known_fault_names_its_source_and_its_fix() -> None:
    for fault in FAULTS:
        assert fault.since < fault.before
        assert fault.url.startswith("https://github.com/microsoft/onnxruntime/")
        assert fault.fix


def test_the_oldest_versions_are_those_that_the_wheel_demands() -> None:
    first, beyond = (".".join(map(str, each)) for each in PYTHONS)
    assert sorted(metadata("signs-runtime")["Requires-Python"].split(",")) == [f"<{beyond}", f">={first}"]
    demanded = [each for each in requires("signs-runtime") or [] if each.startswith("onnxruntime")]
    assert len(demanded) == 3
    assert {match[1] for each in demanded if (match := re.search(r">=([\d.]+)", each))} == {OLDEST_ONNXRUNTIME}


@pytest.mark.parametrize(("version", "level"), [((3, 9), "problem"), ((3, 10), "ok"), ((3, 14), "problem")])
def test_a_python_outside_the_range_is_a_problem(version: tuple[int, int], level: str) -> None:
    assert [each.level for each in check_python(version)] == [level]


# execution providers and their libraries


@linux
def test_a_provider_library_that_is_no_library_is_told_in_the_loader_s_words(environment: Environment) -> None:
    capi = environment.install("onnxruntime-gpu", "1.31.1", providers=(CUDA, CPU))
    (capi / "libonnxruntime_providers_cuda.so").write_bytes(b"garbage" * 1000)
    finding = environment.examine()["providers"]
    assert finding.level == "problem"
    assert "invalid ELF header" in finding.says
    assert "--force-reinstall" in finding.fix


@linux
def test_a_library_that_the_loader_misses_is_named_with_where_to_get_it(environment: Environment) -> None:
    capi = environment.install("onnxruntime-gpu", "1.31.1", providers=(CUDA, CPU))
    (capi / "libonnxruntime_providers_shared.so").write_bytes(library())
    (capi / "libonnxruntime_providers_cuda.so").write_bytes(library(needs=b"libcublas.so.1"))
    finding = environment.examine()["providers"]
    assert finding.level == "problem"
    assert "libcublas.so.1: cannot open shared object file" in finding.says
    assert "onnxruntime-gpu[cuda,cudnn]" in finding.fix
    assert environment.examine("cpu")["providers"].level == "note"  # not what was asked for


@linux
def test_a_cuda_provider_needs_cudnn_though_its_library_loads_without(environment: Environment) -> None:
    capi = environment.install("onnxruntime-gpu", "1.31.1", providers=(CUDA, CPU))
    (capi / "libonnxruntime_providers_cuda.so").write_bytes(library())
    finding = environment.examine("cuda")["providers"]
    if finding.level == "ok":
        pytest.skip("this machine has cuDNN")
    assert "libcudnn.so.9: cannot open shared object file" in finding.says


@linux
def test_a_library_that_onnxruntime_can_preload_is_not_missed(environment: Environment) -> None:
    preload = "def preload_dlls():\n    import ctypes; print('noise'); ctypes.CDLL(__path__[0] + '/of-pip.so')"
    capi = environment.install("onnxruntime-openvino", "1.24.1", providers=(OPENVINO, CPU), code=preload)
    (capi / "libonnxruntime_providers_openvino.so").write_bytes(library(needs=b"libcublas.so.1"))
    assert environment.examine()["providers"].level == "problem"
    (capi.parent / "of-pip.so").write_bytes(library(name=b"libcublas.so.1"))
    assert environment.examine()["providers"].level == "ok"


def test_a_provider_without_a_library_of_its_own_has_nothing_to_load() -> None:
    assert why_not_loadable(CPU) is None
    assert why_not_loadable("NonsenseExecutionProvider") is None


@pytest.mark.parametrize(
    ("library", "fix"),
    [
        ("libcudart.so.13", "onnxruntime-gpu[cuda,cudnn]"),
        ("libcudnn.so.9", "onnxruntime-gpu[cuda,cudnn]"),
        ("libcuda.so.1", "docker run --gpus all"),
        ("libnvinfer.so.10", "pip install 'tensorrt-cu13<11'"),
        ("libc.so.6", "--force-reinstall"),
    ],
)
def test_each_library_has_its_source(library: str, fix: str) -> None:
    assert fix in how_to_get_library(f"{library}: cannot open shared object file: No such file or directory")


def test_a_device_that_is_asked_for_and_missing_is_a_problem() -> None:
    found = Onnxruntime("1.31.1", (CPU,), "", "")
    assert [each.level for each in check_providers(found, None, "linux")] == ["ok"]
    (finding,) = check_providers(found, "cuda", "linux")
    assert (finding.level, f"needs {CUDA}" in finding.says) == ("problem", True)
    (finding,) = check_providers(found, "openvino", "linux")
    assert "pip install onnxruntime-openvino" in finding.fix


def test_a_build_for_macos_without_coreml_is_worth_a_note() -> None:
    (finding,) = check_providers(Onnxruntime("1.31.1", (CPU,), "", ""), None, "darwin")
    assert (finding.level, "CoreMLExecutionProvider" in finding.says) == ("note", True)


@pytest.mark.parametrize(
    ("files", "providers", "device", "level", "says"),
    [
        ([], (CPU,), None, "ok", "no NVIDIA GPU"),
        (["dev/nvidia0", "proc/driver/nvidia/version"], (CUDA, CPU), None, "ok", "an NVIDIA GPU"),
        (["dev/nvidia0"], (CPU,), None, "note", "no CUDA provider"),
        (["etc/nv_tegra_release"], (CPU,), None, "note", "no CUDA provider"),
        (["proc/driver/nvidia/version"], (CUDA, CPU), "cuda", "problem", "/dev/nvidia0 does not exist"),
        ([], (CUDA, CPU), "cuda", "problem", "no NVIDIA GPU"),
        ([], (CUDA, CPU), None, "note", "no NVIDIA GPU"),
    ],
)
def test_a_gpu_that_is_not_used_or_not_there_is_told(
    tmp_path: Path, files: list[str], providers: tuple[str, ...], device: str | None, level: str, says: str
) -> None:
    root = write(tmp_path, dict.fromkeys(files, ""))
    (finding,) = check_gpu(Onnxruntime("1.31.1", providers, "", ""), device, root)
    assert (finding.level, says in finding.says) == (level, True)
    assert ("jetson" in finding.fix) is ("etc/nv_tegra_release" in files)


# the machine


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "level", "says"),
    [
        ("x86_64", "model name : QEMU Virtual CPU\nflags : sse4_2 fma", "problem", "no AVX2"),
        ("x86_64", "model name : old\nflags : avx2 fma f16c", "note", "avx_vnni or avx512_vnni"),
        ("x86_64", "model name : new\nflags : avx2 avx_vnni", "ok", "avx_vnni"),
        ("aarch64", "Features : fp asimd\nModel : Raspberry Pi 4 Model B", "note", "Raspberry Pi 4"),
        ("aarch64", "Features : fp asimd asimddp\nModel : Raspberry Pi 5 Model B", "ok", "asimddp"),
        ("arm64", "", "ok", "does not report"),
    ],
)
def test_a_cpu_is_judged_by_what_int8_needs(machine: str, cpuinfo: str, level: str, says: str) -> None:
    (finding,) = check_cpu(machine, *describe_cpu(cpuinfo))
    assert (finding.level, says in finding.says) == (level, True)


def test_a_quota_is_told_with_the_threads_that_follow(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"})
    limits = replace(find_limits(tmp_path), host_cores=8, cores=4, is_shared=True)
    (finding,) = check_limits(limits)
    assert finding.level == "note"
    assert "4 of this machine's cores (8 logical), a quota of 1: the runtime computes with 1 thread" in finding.says
    (finding,) = check_limits(replace(limits, quota=0.5))
    assert (finding.level, "0.5 of one core" in finding.says) == ("note", True)
    (finding,) = check_limits(replace(limits, quota=None, is_shared=False))
    assert finding.level == "ok"


def test_too_little_memory_for_a_variant_is_a_problem(three_variants: Path, reseal: Callable[..., None]) -> None:
    manifest = open_bundle(three_variants).manifest
    reseal(three_variants, run=replace(manifest.run, peak_memory={"fp32": 10**8, "int8": 10**8}))
    manifest, needed = open_bundle(three_variants).manifest, 10**8
    assert max(needed_memory(each, manifest.run) for each in manifest.variants) == needed
    for limit, available in ((needed, None), (None, needed), (None, None)):
        assert [each.level for each in check_memory(three_variants, limit, available)] == ["ok"]
    (finding,) = check_memory(three_variants, needed - 1, None)
    assert (finding.level, "fp32" in finding.says, "int8" in finding.says) == ("problem", True, True)
    reseal(three_variants, run=replace(manifest.run, peak_memory={"fp32": 10**8, "int8": 10**7}))
    (finding,) = check_memory(three_variants, needed - 1, None)
    assert (finding.level, finding.fix) == ("problem", "choose --variant int8")


def test_a_bundle_that_cannot_be_opened_is_a_problem(bundle: Path, tmp_path: Path) -> None:
    (finding,) = check_memory(tmp_path / "none", None, None)
    assert (finding.check, finding.level, "No bundle at" in finding.says) == ("bundle", "problem", True)


def test_a_cache_that_cannot_be_written_to_is_worth_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file" / "cache", *([Path("/proc/cache")] if Path("/proc").exists() else [])):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        (finding,) = check_cache()
        assert (finding.level, "proves the model again" in finding.says) == ("note", True)
        assert "set XDG_CACHE_HOME" in finding.fix
        assert "owned by user" in finding.says


def test_a_cache_is_looked_at_and_left_as_it_was(cache: Path) -> None:
    assert [each.level for each in check_cache()] == ["ok"]
    assert not cache.exists()
    cache.mkdir(parents=True, mode=0o700)
    assert [each.level for each in check_cache()] == ["ok"]
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no owners of folders")
def test_a_cache_that_others_can_write_to_is_a_problem(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    (finding,) = check_cache()
    assert (finding.level, "nothing in it is used" in finding.says) == ("problem", True)
    assert f"chmod -R go-w {cache}" in finding.fix
    cache.chmod(0o700)
    (cache / "profiles").mkdir()
    (cache / "profiles").chmod(0o770)
    (finding,) = check_cache()
    assert (finding.level, str(cache / "profiles") in finding.says) == ("problem", True)


def test_telemetry_that_is_left_on_is_told(tmp_path: Path) -> None:
    assert [each.level for each in check_telemetry(None, "1.31.1", tmp_path)] == ["ok"]
    assert [each.level for each in check_telemetry("1", "1.31.1", tmp_path)] == ["ok"]
    assert [each.level for each in check_telemetry("0", "1.31.1", tmp_path)] == ["note"]
    (finding,) = check_telemetry("0", "1.29.0", tmp_path)  # without /bin/sh
    assert (finding.level, "crashes" in finding.says) == ("problem", True)
    write(tmp_path, {"bin/sh": ""})
    assert [each.level for each in check_telemetry("0", "1.29.0", tmp_path)] == ["note"]


def test_a_pillow_that_cannot_be_imported_is_a_problem(environment: Environment) -> None:
    words = "libjpeg.so.62: cannot open shared object file"
    write(environment.packages, {"PIL/__init__.py": f"raise ImportError({words!r})"})
    finding = environment.examine()["pictures"]
    assert (finding.level, words in finding.says) == ("problem", True)


# all together


def test_a_check_that_fails_itself_is_a_problem_among_the_others(environment: Environment) -> None:
    environment.install("onnxruntime", "1.31.1")
    write(environment.root, {"proc/self/cgroup": "no kernel writes this\n"})
    findings = environment.examine()
    for check in ("limits", "memory"):
        assert findings[check].level == "problem"
        assert re.search(r"this check itself failed: ValueError: .*limits\.py:\d+", findings[check].says)
    assert findings["onnxruntime"].level == "ok"


def test_the_command_speaks_json_and_its_exit_code_says_if_there_is_a_problem(bundle: Path, cache: Path) -> None:
    result = CliRunner().invoke(doctor, [str(bundle), "--json"])
    document = json.loads(result.stdout)
    problems = [each for each in document["findings"] if each["level"] == "problem"]
    assert (document["problems"], result.exit_code) == (len(problems), 1 if problems else 0)
    assert all(each.keys() == {"check", "level", "says", "fix"} for each in document["findings"])
    shutil.rmtree(bundle)
    result = CliRunner().invoke(doctor, [str(bundle)])
    assert (result.exit_code, "PROBLEM  bundle" in result.stdout) == (1, True)


def test_an_unknown_device_is_wrong_usage() -> None:
    assert CliRunner().invoke(doctor, ["--device", "abacus"]).exit_code == 2
