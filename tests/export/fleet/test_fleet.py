"""`signs fleet report` on what the real commands print: which devices run what, which failed, how speeds spread."""

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs

STORED = Path(__file__).parents[2] / "runtime/bundle/stored/schema6"
Json = Any  # a document


def run(*words: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in words])


@pytest.fixture(scope="module")
def verified() -> Json:
    result = run("verify", STORED, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def timed() -> Json:
    result = run("benchmark", STORED, "--threads", 1, "--rounds", 1, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def write(path: Path, document: Json, **device: str) -> Json:
    document = copy.deepcopy(document)
    document["device" if "checks" in document else "machine"] |= device
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return document


def failing(verified: Json) -> Json:
    document = copy.deepcopy(verified)
    document["passed"] = document["checks"][-1]["passed"] = document["variants"][0]["passed"] = False
    document["checks"][-1]["says"] = "this device computes wrongly"
    document["variants"][0]["max_difference"] = 0.5
    return document


def test_devices_are_told_apart_and_summed_up(tmp_path: Path, verified: Json, timed: Json) -> None:
    for i, median in enumerate((4.0, 2.0, 9.0)):
        write(tmp_path / f"pi-{i}/verify.json", verified, cpu="Cortex-A76")
        own = copy.deepcopy(timed)
        for each in own["variants"]:
            for timing in each["timings"]:
                timing["median"] = median if timing["batch"] == 1 else 0.1
        write(tmp_path / f"pi-{i}/benchmark.json", own, cpu="Cortex-A76")
    write(tmp_path / "kitchen.verify.json", failing(verified), cpu="Atom")
    page = tmp_path / "fleet.html"
    result = run("fleet", "report", tmp_path, "--bundle", STORED, "--html", page, "--json")
    assert result.exit_code == 3, result.output
    document = json.loads(result.stdout)
    assert [each["name"] for each in document["devices"]] == ["kitchen", "pi-0", "pi-1", "pi-2"]
    assert (document["passed"], document["failed"], document["with_another_bundle"]) == (False, ["kitchen"], [])
    of_cpu = {(each["cpu"], each["variant"]): each for each in document["by_cpu"]}
    name = verified["variants"][0]["variant"]
    assert of_cpu["Cortex-A76", name]["milliseconds"] == [2.0, 4.0, 9.0]
    assert (of_cpu["Atom", name]["failed"], of_cpu["Atom", name]["max_difference"]) == (1, 0.5)
    assert of_cpu["Atom", name]["milliseconds"] is None
    shown = run("fleet", "report", tmp_path)
    assert "2.00, 4.00, 9.00" in shown.stdout
    assert "kitchen failed:\n  answers: this device computes wrongly" in shown.stdout
    html = page.read_text(encoding="utf-8")
    assert all(each in html for each in ("4 devices", "1 failed", "Cortex-A76", "this device computes wrongly"))


def test_all_passed_ends_with_0_and_another_bundle_with_3(tmp_path: Path, verified: Json) -> None:
    folder = tmp_path / "said"
    write(folder / "a.json", verified)
    assert run("fleet", "report", folder, "--bundle", STORED).exit_code == 0
    other = {**verified, "digest": "f" * 64}
    write(folder / "b.json", other)
    result = run("fleet", "report", folder, "--bundle", STORED)
    assert (result.exit_code, "With another bundle: b" in result.stdout) == (3, True), result.output
    assert run("fleet", "report", folder).exit_code == 0
    assert f"{open_bundle(STORED).manifest.digest}" in result.stdout


def test_the_latest_file_of_a_kind_counts(tmp_path: Path, verified: Json) -> None:
    write(tmp_path / "pi/2.json", verified)
    write(tmp_path / "pi/1.json", failing(verified))
    os.utime(tmp_path / "pi/1.json", (1, 1))
    assert run("fleet", "report", tmp_path).exit_code == 0
    os.utime(tmp_path / "pi/2.json", (0, 0))
    assert run("fleet", "report", tmp_path).exit_code == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"7", b'{"checks": 7}', b'{"checks": [], "device": {}}', b"\xff\xfe", b"[" * 100_000,
     b'{"machine": null, "variants": []}', b'{"checks": [], "device": {"cpu": 1, "cpu": 2}}'],
)  # fmt: skip
def test_a_device_whose_file_cannot_be_read_failed(tmp_path: Path, verified: Json, content: bytes) -> None:
    """As signs verify leaves it for a bundle that is damaged: the reason is on stderr, and stdout is empty."""
    (tmp_path / "odd.verify.json").write_bytes(content)
    write(tmp_path / "pi.json", verified)
    result = run("fleet", "report", tmp_path)
    assert (result.exit_code, "odd failed:\n  odd.verify.json: " in result.stdout) == (3, True), result.output
    assert "Traceback" not in result.output


def test_devices_keep_their_names_apart(tmp_path: Path, verified: Json) -> None:
    for name in ("192.168.1.5.verify", "192.168.1.6.verify", "pi.kitchen", "pi.hall"):
        write(tmp_path / f"{name}.json", verified)
    document = json.loads(run("fleet", "report", tmp_path, "--json").stdout)
    assert [each["name"] for each in document["devices"]] == ["192.168.1.5", "192.168.1.6", "pi.hall", "pi.kitchen"]


def test_times_of_another_bundle_do_not_count(tmp_path: Path, verified: Json, timed: Json) -> None:
    write(tmp_path / "pi/verify.json", verified)
    write(tmp_path / "pi/benchmark.json", {**timed, "digest": "0" * 64})
    (spread, *_) = json.loads(run("fleet", "report", tmp_path, "--json").stdout)["by_cpu"]
    assert spread["milliseconds"] is None


def test_a_link_that_leads_nowhere_is_a_failure_and_control_characters_stay_out(tmp_path: Path, verified: Json) -> None:
    (tmp_path / "away.json").symlink_to(tmp_path / "none")
    write(tmp_path / "pi.json", verified, cpu="\x1b[2J evil")
    result = run("fleet", "report", tmp_path)
    assert (result.exit_code, "away failed:" in result.stdout) == (3, True), result.output
    assert "\x1b" not in result.output


def test_what_a_device_says_is_text_on_the_page(tmp_path: Path, verified: Json) -> None:
    write(tmp_path / "said/<b>.json", verified, cpu="<script>alert(1)</script>")
    assert run("fleet", "report", tmp_path / "said", "--html", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_no_folder_and_no_files_are_errors(tmp_path: Path) -> None:
    assert run("fleet", "report", tmp_path / "none").exit_code == 1
    assert "has no file from" in run("fleet", "report", tmp_path).stderr
    shutil.copytree(STORED, tmp_path / "bundle")  # its manifest is no device's
    assert run("fleet", "report", tmp_path).exit_code == 3
