"""Where a model runs: what is asked for by name is used or refused, and what is chosen says why."""

import json
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner

from signs_runtime import Classifier, OptionError, ProviderError
from signs_runtime.commands.signs import signs
from signs_runtime.engine.session import PROVIDERS

TELLS = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")  # from onnxruntime 1.24 on


def test_a_placement_says_what_was_asked_for_what_was_chosen_and_counts_the_nodes(bundle: Path) -> None:
    placement = Classifier(bundle).placement
    assert (placement.requested, placement.device, placement.provider) == ("auto", "cpu", "CPUExecutionProvider")
    assert placement.why == "this onnxruntime has no other device"
    assert placement.variant == "fp32"
    if TELLS:
        assert placement.nodes is not None
        assert placement.nodes.keys() == {"CPUExecutionProvider"}
        assert placement.nodes["CPUExecutionProvider"] > 1
    named = Classifier(bundle / "fp32.onnx", device="cpu", threads=3).placement
    assert (named.requested, named.why, named.threads) == ("cpu", "requested by name", 3)


@pytest.mark.parametrize("device", [each for each in PROVIDERS if each != "cpu"])
def test_a_device_that_the_build_lacks_is_refused_with_what_it_has(bundle: Path, device: str) -> None:
    if PROVIDERS[device] in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {PROVIDERS[device]}")
    with pytest.raises(ProviderError, match=rf"{PROVIDERS[device]}.*this onnxruntime has .*CPUExecutionProvider"):
        Classifier(bundle, device=device)
    result = CliRunner().invoke(signs, ["predict", str(bundle), str(bundle), "--device", device])
    assert (result.exit_code, PROVIDERS[device] in result.stderr) == (1, True)


def test_a_provider_that_the_build_lists_and_cannot_start_is_refused_by_name_and_passed_over_by_auto(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        Classifier(bundle, device="cuda")
    placement = Classifier(bundle).placement
    assert placement.device == "cpu"
    assert "fp32 on cuda was skipped: " in placement.why


def test_a_provider_that_takes_no_node_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "AzureExecutionProvider"  # in every wheel for a CPU, and for remote models alone
    if name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {name}")
    monkeypatch.setitem(PROVIDERS, "azure", name)
    with pytest.raises(ProviderError, match="takes none of the model's nodes"):
        Classifier(bundle, device="azure")


def test_threads_that_compute_nothing_are_refused(bundle: Path) -> None:
    for threads in (0, 3000, 2**31):  # more than the system grants would wait for ever
        with pytest.raises(OptionError, match=f"threads={threads}"):
            Classifier(bundle, threads=threads)
    result = CliRunner().invoke(signs, ["info", str(bundle), "--threads", "3000"])
    assert (result.exit_code, "threads=3000" in result.stderr) == (1, True)


def test_info_shows_how_a_bundle_would_run_here(bundle: Path) -> None:
    shown = CliRunner().invoke(signs, ["info", str(bundle)])
    assert "fp32 on cpu (requested: auto)" in shown.stdout
    assert ("nodes on CPUExecutionProvider" in shown.stdout) == TELLS
    assert "100 MB" in shown.stdout  # the memory that the manifest states
    document = json.loads(CliRunner().invoke(signs, ["info", str(bundle), "--threads", "1", "--json"]).stdout)
    assert document["placement"]["threads"] == 1
    assert not TELLS or document["placement"]["nodes"]["CPUExecutionProvider"] > 1
    assert document["refusal"] is None
