"""Known faults of onnxruntime versions that affect picture classifiers on CPUs, each with its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A known fault of some versions of onnxruntime, on CPUs with any of `features`."""

    since: str  # a version
    before: str  # the first version without it
    features: tuple[str, ...]
    goes_wrong: str
    url: str
    fix: str


FAULTS = (
    Fault(  # AVX512-VNNI alone is not among these: 1.23.2 and 1.24.4 computed exactly on an AMD EPYC that has it
        since="0",
        before="1.25",
        features=("amx_int8", "avx_vnni"),
        goes_wrong="int8 convolutions can be wrong on CPUs with AMX or AVX-VNNI",
        url="https://github.com/microsoft/onnxruntime/pull/27671",
        fix="upgrade onnxruntime to 1.25 or newer; until then, choose a float32 variant",
    ),
    Fault(
        since="1.24",
        before="1.27",
        features=("sme",),
        goes_wrong="each new picture leaks memory on ARM CPUs with SME",
        url="https://github.com/microsoft/onnxruntime/pull/28363",
        fix="upgrade onnxruntime to 1.27.1 or newer",
    ),
    Fault(
        since="1.27",
        before="1.27.1",
        features=("sme",),
        goes_wrong="convolutions with unequal padding are wrong on ARM CPUs with SME",
        url="https://github.com/microsoft/onnxruntime/pull/28571",
        fix="upgrade onnxruntime to 1.27.1 or newer",
    ),
)
