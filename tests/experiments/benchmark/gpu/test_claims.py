"""The claims of the documentation about GPUs: they are there, and each verdict can be either."""

from pathlib import Path

import pytest

from experiments.benchmark.gpu.claims import CLAIMS, judge_all
from experiments.benchmark.gpu.programs import Shape
from experiments.benchmark.gpu.verdicts import Verdict, check_step, newton_step, speed_step
from tests.experiments.benchmark.gpu.conftest import LONG, times_of
from tests.helpers import ROOT

F256 = speed_step(Shape("float32", 1000, 256, 256))
F128 = speed_step(Shape("float32", 1000, 16, 128))
B128 = speed_step(Shape("bfloat16", 1000, 256, 128))
RIGHT = check_step("cuda")
WRONG = {"dtype": "float32", "outputs": 1e-2, "derivatives": 2e-2, "is_right": False}
OPTION = {"microseconds": 5.0, "launches": 3, "transposes": 1}


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text[:30])
def test_a_claim_has_the_words_of_its_page(claim):
    page = Path(ROOT / claim.page).read_text(encoding="utf-8")
    assert words(claim.text) in words(page)


def verdicts(results):
    return {claim.text: verdict for claim, verdict in judge_all(results)}


def test_on_a_gpu_as_described_all_that_is_measured_holds(measured):
    found = verdicts(measured())
    # The mean over cuDNN is not that of the page where all shapes have the same ratio.
    judged = {text: verdict for text, verdict in found.items() if isinstance(verdict, Verdict)}
    failing = [text for text, verdict in judged.items() if not verdict.holds]
    assert [text for text in failing if "1.25 times" not in text and "21 and 39" not in text] == []
    unmeasured = found.keys() - judged.keys()
    assert len(unmeasured) == 4, unmeasured  # a test, a test, a profiler, and GPUs before Hopper


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("faster than cuDNN", {F128: times_of(16, kernel=3.5)}),
        ("exchanged their states", {F256: times_of(256, kernel=6.0)}),
        ("tensor cores", {B128: times_of(256, kernel=1.5)}),
        ("it takes 12 to 23", {F128: times_of(600)}),
        ("larger batches", {F256: times_of(2560), B128: times_of(2560)}),
        ("It is meant for accelerators", {newton_step(*LONG): None}),
        ("at most 2.5e-7", {RIGHT: [{"name": "one block", **WRONG}]}),
        ("exact to float32", {RIGHT: [{"name": "one block", **WRONG}]}),
        ("that of the kernels runs", {RIGHT: [{"name": "forward mode", **WRONG}]}),
        ("9.0 and later", {RIGHT: [{"name": "one block", **WRONG}]}),
        ("9.0 and later", {"self-test": {"most_units": {"float32": 128, "bfloat16": 512}}}),
        ("side by side", {"models": {"grujax": 30.0, "grujax, one model": 1.0}}),
        ("about 20", {"memory": {"newton/training": {"temporaries": 30.0, "peak": None}}}),
        ("gradient stores", {"memory": {"plain/training": {"temporaries": 30.0, "peak": None}}}),
        ("projected inputs", {"memory": {"cuda/forward": {"temporaries": 9.0, "peak": None}}}),
    ],
)
def test_a_claim_that_the_figures_contradict_does_not_hold(measured, text, changes):
    if None in changes.values():
        changes = {name: {"milliseconds": {"scan": 1.0, "diagonal": 2.0}} for name in changes}
    (verdict,) = [found for claim, found in verdicts(measured(changes)).items() if text in claim]
    assert isinstance(verdict, Verdict)
    assert not verdict.holds


def test_launches_and_transposes_are_counted(measured):
    options = dict(measured()["options"]) | {"zoneout": OPTION, "batch-major": OPTION}
    found = verdicts(measured({"options": options}))
    wrong = ["add no launches", "read in place", "is two launches"]
    for text, verdict in found.items():
        if any(words in text for words in wrong):
            assert not verdict.holds
    assert found["each pass over the whole sequence is one CUDA kernel"].holds


def test_what_is_not_measured_says_why(measured):
    found = verdicts(measured({"memory": None}))
    assert 'the time was over before the step "memory"' in found["about 20·T·B·H"]
    found = verdicts(measured(device="NVIDIA A100", capability=[8, 0]))
    assert [v for v in found.values() if v == "it is about GPUs from Hopper"]
    assert [v for v in found.values() if str(v).startswith("it is about an H100, and this is")]
    without = {F128: {mode: {"scan": 1.0, "lax.scan": 1.0} for mode in ("forward", "training")}}
    found = verdicts(measured(without, shapes=[["float32", 1000, 16, 128]]))
    assert found[CLAIMS[0].text] == "the kernel and cuDNN were not both timed"
    found = verdicts(measured(dry_run=True))
    assert set(found.values()) == {"a dry run says nothing about a GPU"}
