"""A device says what it computes with, in Linux's words on every kind of CPU."""

import platform

import onnxruntime
import pytest

from signs_runtime.engine.device import describe_cpu, this_device

INTEL = """\
processor\t: 0
model name\t: Intel(R) Core(TM) i5
flags\t\t: fpu sse4_2 f16c avx2 fma avx_vnni

processor\t: 1
model name\t: another
flags\t\t: avx512f
"""
RASPBERRY = """\
processor\t: 0
Features\t: fp asimd evtstrm asimdhp asimddp
CPU implementer\t: 0x41

Model\t\t: Raspberry Pi 5 Model B
"""


@pytest.mark.parametrize(
    ("cpuinfo", "name", "features"),
    [
        (INTEL, "Intel(R) Core(TM) i5", ("avx2", "fma", "f16c", "avx_vnni")),
        (RASPBERRY, "Raspberry Pi 5 Model B", ("asimd", "asimdhp", "asimddp")),
        ("", "", ()),
    ],
)
def test_a_cpu_is_known_by_its_first_core(cpuinfo: str, name: str, features: tuple[str, ...]) -> None:
    assert describe_cpu(cpuinfo) == (name, features)


def test_this_device_can_be_described() -> None:
    device = this_device("cpu", threads=2)
    assert device.cpu
    assert (device.machine, device.onnxruntime) == (platform.machine(), onnxruntime.__version__)
    assert (device.provider, device.threads) == ("CPUExecutionProvider", 2)
