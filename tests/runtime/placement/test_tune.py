"""Tuning: only what answers as Keras did can win, and what won is what a start then chooses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner, Result

from signs_runtime import Classifier, OptionError, ProviderError, VerificationError
from signs_runtime.bundle.folder import open_bundle
from signs_runtime.commands.signs import signs
from signs_runtime.errors import SignsError
from signs_runtime.placement.limits import find_limits
from signs_runtime.placement.profiles import Measurement, Profile, find_profile, keep_profile
from signs_runtime.placement.timing import Candidate, Timer, TimingError, time_side_by_side
from signs_runtime.placement.tune import TuneConfig, list_candidates, tune

from ..colours import LABELS, SIZE, plain
from ..tiny_onnx import colour_classifier

QUICK = 0.02  # seconds of a round


def run(*arguments: object) -> Result:
    return CliRunner().invoke(signs, [str(each) for each in arguments])


def measured(variant: str, milliseconds: float | None, *, threads: int = 1, passed: bool = True) -> Measurement:
    return Measurement(variant, "cpu", threads, passed, "", milliseconds, milliseconds, 10**8)


def test_a_variant_that_answers_wrongly_is_never_chosen_however_fast(
    three_variants: Path, reseal: Callable[..., None], cache: Path
) -> None:
    (three_variants / "int8.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(three_variants)
    for _ in range(2):  # that it failed is known the second time
        tuning = tune(three_variants, TuneConfig(threads=(1,), seconds=QUICK))
    assert tuning.winner.variant in ("fp32", "fp16")
    wrong = next(each for each in tuning.profile.measured if each.variant == "int8")
    assert (wrong.passed, wrong.milliseconds, "3 of 3 labels, off by" in wrong.says) == (
        False,
        None,
        True,
    )
    assert Classifier(three_variants).placement.variant == tuning.winner.variant
    with pytest.raises(ProviderError, match="no setting within the requested limits answers"):
        tune(three_variants, TuneConfig(variants=("int8",), threads=(1,), seconds=QUICK))
    assert "measured" not in Classifier(three_variants).placement.why
    result = run("tune", three_variants, "--variant", "int8", "--threads", 1)
    assert (result.exit_code, "labels, off by" in result.stderr) == (1, True)


def test_the_command_shows_a_table_and_later_starts_choose_what_won(three_variants: Path, cache: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    tune(three_variants, TuneConfig(("fp32",), ("cpu",), (1,), seconds=QUICK), on_step=lambda *step: steps.append(step))
    assert [step for step in steps if step[1] == step[2]] == [
        ("first look", 1, 1),
        ("rounds", 5, 5),
        ("batches", 12, 12),
    ]
    assert "the fastest that `signs tune` measured here" in Classifier(three_variants).placement.why
    document = json.loads(run("tune", three_variants, "--variant", "fp16", "--threads", 2, "--json").stdout)
    assert (document["winner"]["variant"], document["winner"]["threads"], document["kept"]) == ("fp16", 2, True)
    assert (document["winner"]["peak_memory"] or 1) < 10**9  # None where the system does not tell
    placement = Classifier(three_variants).placement
    assert (placement.variant, placement.threads) == ("fp16", 2)
    assert "fp16 on cpu" in run("info", three_variants).stdout


def test_what_is_asked_for_by_name_is_the_fastest_of_its_kind(bundle: Path, cache: Path) -> None:
    limits, digest = find_limits(), open_bundle(bundle).manifest.digest
    profile = Profile((measured("fp32", 2.0), measured("fp32", 1.0, threads=2), measured("fp32", 3.0, threads=3)), 4)
    assert keep_profile(digest, limits, profile)
    assert find_profile(digest, limits) == profile
    assert Classifier(bundle).placement.threads == 2
    assert Classifier(bundle, threads=3).placement.threads == 3
    assert "measured here: 3.00 ms" in Classifier(bundle, threads=3).placement.why
    assert "measured" not in Classifier(bundle, threads=4).placement.why
    assert "measured" not in Classifier(bundle, cache=False).placement.why
    assert Classifier(bundle).predict(plain("red")).label == "red"


def test_a_failed_setting_is_no_choice_though_it_is_the_fastest() -> None:
    profile = Profile((measured("wrong", 0.1, passed=False), measured("slow", 5.0), measured("untimed", None)), None)
    assert [each.variant for each in profile.passed(None, None, None)] == ["slow"]
    assert profile.passed("wrong", None, None) == profile.passed("untimed", None, None) == []
    assert profile.has_failed("wrong", "cpu")
    assert not profile.has_failed("slow", "cpu")


def test_where_the_fastest_device_is_gone_the_next_that_passed_is_chosen_and_no_pair_that_failed(
    three_variants: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    limits, digest = find_limits(), open_bundle(three_variants).manifest.digest
    on_cuda = replace(measured("int8", 0.5), device="cuda")
    failed = replace(measured("int8", None, passed=False))
    keep_profile(digest, limits, Profile((on_cuda, measured("fp16", 4.0), measured("fp32", 2.0), failed), 4))
    placement = Classifier(three_variants).placement
    assert (placement.variant, placement.device) == ("fp32", "cpu")
    assert placement.why.startswith(
        "the next fastest that `signs tune` measured here: 2.00 ms; int8 on cuda was skipped"
    )
    assert Classifier(three_variants, variant="fp16").placement.variant == "fp16"


def test_what_failed_here_and_is_asked_for_must_prove_itself(
    three_variants: Path, reseal: Callable[..., None], cache: Path
) -> None:
    (three_variants / "int8.onnx").write_bytes(colour_classifier(LABELS, SIZE, sharpness=0.01))
    reseal(three_variants)
    digest = open_bundle(three_variants).manifest.digest
    assert Classifier(three_variants, variant="int8").placement.variant == "int8"  # nothing is known of it
    keep_profile(digest, find_limits(), Profile((measured("int8", None, passed=False),), None))
    with pytest.raises(VerificationError, match="failed its proof"):
        Classifier(three_variants, variant="int8")


def test_where_nothing_passes_any_more_an_earlier_profile_is_forgotten(bundle: Path, cache: Path) -> None:
    tune(bundle, TuneConfig(threads=(1,), seconds=QUICK))
    assert len(list((cache / "profiles").iterdir())) == 1
    with pytest.raises(ProviderError):
        tune(bundle, TuneConfig(threads=(1,), max_memory=1))
    assert list((cache / "profiles").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"measured": [], "batch": -1}',
        '{"measured": [], "batch": 0}',
        '{"measured": [{}], "batch": null}',
        "\xff",
    ],
)
def test_a_damaged_profile_is_none(bundle: Path, cache: Path, text: str) -> None:
    limits, digest = find_limits(), open_bundle(bundle).manifest.digest
    keep_profile(digest, limits, Profile((measured("fp32", 1.0, threads=2),), 4))
    (path,) = (cache / "profiles").iterdir()
    path.write_text(text, encoding="latin-1")
    assert find_profile(digest, limits) is None
    assert "measured" not in Classifier(bundle).placement.why


def test_a_profile_is_of_one_bundle_and_of_what_the_process_may_use(bundle: Path, cache: Path) -> None:
    limits, digest = find_limits(), open_bundle(bundle).manifest.digest
    keep_profile(digest, limits, Profile((measured("fp32", 1.0),), 4))
    assert find_profile("0" * 64, limits) is None
    assert find_profile(digest, replace(limits, cores=limits.cores + 1)) is None


def test_what_takes_more_memory_than_allowed_is_no_choice(bundle: Path, cache: Path) -> None:
    with pytest.raises(ProviderError, match=r"takes more than 1 MB|this system does not report memory"):
        tune(bundle, TuneConfig(threads=(1,), max_memory=10**6))
    assert run("tune", bundle, "--max-memory", "1M", "--threads", 1).exit_code == 1
    assert run("tune", bundle, "--max-memory", "much").exit_code == 2


def test_candidates_are_all_there_are_or_those_named(three_variants: Path) -> None:
    bundle = open_bundle(three_variants)
    limits = replace(find_limits(), cores=6, quota=None)
    found = list_candidates(bundle, TuneConfig(devices=("cpu",)), limits)
    assert {each.variant for each in found} == {"fp32", "int8", "fp16"}
    assert [each.threads for each in found if each.variant == "fp32"] == [1, 2, 4, 6]
    assert len(list_candidates(bundle, TuneConfig(("int8",), ("cpu",), (3,)), limits)) == 1
    assert list_candidates(bundle, TuneConfig(devices=("cpu",)), replace(limits, quota=1.5))[0].threads == 1
    with pytest.raises(SignsError, match="it has fp32, int8, fp16"):
        list_candidates(bundle, TuneConfig(variants=("int4",)), limits)
    with pytest.raises(ProviderError, match="TensorrtExecutionProvider"):
        list_candidates(bundle, TuneConfig(devices=("tensorrt",)), limits)


def test_where_nothing_can_be_kept_the_command_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    result = run("tune", bundle, "--threads", 1)
    assert (result.exit_code, "was not saved" in result.stdout) == (0, True)
    assert "->  fp32     cpu     1" in result.stdout


def test_each_candidate_is_timed_in_each_round(bundle: Path) -> None:
    done: list[int] = []
    candidates = {name: Candidate(str(bundle / "fp32.onnx"), threads=1) for name in ("one", "other")}
    timed = time_side_by_side(candidates, rounds=2, on_done=done.append)
    assert timed.keys() == candidates.keys()
    assert min(each.milliseconds for each in timed.values()) > 0
    assert all(10**7 < (each.peak_memory or 10**8) < 10**9 for each in timed.values())
    assert sum(done) == 4


def test_a_candidate_that_cannot_start_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TimingError, match=r"missing\.onnx could not be timed: No model"):
        time_side_by_side({"odd": Candidate(str(tmp_path / "missing.onnx"))}, rounds=1)


def test_a_candidate_that_is_killed_is_an_error(bundle: Path) -> None:
    with Timer(Candidate(str(bundle), threads=1)) as timer:
        timer.start()
        timer._process.kill()  # as the system does where memory runs out
        timer._process.wait()
        with pytest.raises(TimingError, match="ended with exit code -9"):
            timer.milliseconds()


def test_a_device_that_sees_pictures_alone_runs_what_is_fastest_then(three_variants: Path, cache: Path) -> None:
    limits, digest = find_limits(), open_bundle(three_variants).manifest.digest
    burst = replace(measured("fp32", 1.0, threads=2), lone_milliseconds=10.0)
    alone = replace(measured("int8", 2.0, threads=1), lone_milliseconds=6.0)
    for rate, variant, words in (
        (None, "fp32", "measured here: 1.00 ms"),
        (0.5, "int8", "0.5 pictures a second: 6.00 ms"),
    ):
        keep_profile(digest, limits, Profile((burst, alone), 4, rate))
        placement = Classifier(three_variants).placement
        assert placement.variant == variant
        assert words in placement.why


def test_bursts_and_pictures_that_come_alone_are_both_measured_and_kept(three_variants: Path, cache: Path) -> None:
    config = TuneConfig(("fp32", "fp16"), ("cpu",), (1,), rate=20.0, seconds=QUICK)
    assert config.pause == pytest.approx(0.05)
    tuning = tune(three_variants, config)
    kept = find_profile(tuning.digest, tuning.limits)
    assert kept == tuning.profile
    assert kept is not None
    assert kept.rate == 20.0
    assert all(each.milliseconds and each.lone_milliseconds for each in kept.measured)
    assert tuning.winner in kept.measured
    shown = run("tune", three_variants, "--variant", "fp32", "--threads", 1, "--rate", 50).stdout
    assert "in a burst" in shown
    assert "alone" in shown
    assert run("tune", three_variants, "--rate", 0).exit_code == 2
    with pytest.raises(OptionError, match="rate=-1"):
        TuneConfig(rate=-1.0)
