"""A compiled model that answers wrongly is refused, however fast it is."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmark.cell import cell_of
from benchmark.errors import WrongAnswer
from benchmark.measurement import Harness, Measurement, Noise, Timing
from benchmark.records import Arithmetic, Quality, Shape, Workload
from benchmark.stages.verify import compare, cosine, judge
from benchmark.stats.intervals import summary


@pytest.fixture
def compared(tmp_path):
    """Compare answers with a reference, both lists of arrays; and perhaps those to the second inputs."""

    def save(folder, reference):
        folder.mkdir(exist_ok=True)
        names = [f"{place:03d}-output" for place in range(len(reference))]
        stored = {name: np.asarray(array, np.float32) for name, array in zip(names, reference, strict=True)}
        save_file(stored, folder / "outputs.safetensors")

    def against(answers, reference, second=None, tolerance="none"):
        save(tmp_path, reference)
        both = measured(*answers)
        if second:
            save(tmp_path / "second", second[1])
            arrays = tuple(np.asarray(answer, np.float32) for answer in second[0])
            both = replace(both, second_answers=arrays)
        return compare(workload(tmp_path), both, tolerance)

    return against


def workload(reference):
    return Workload(
        load_module=int,
        input_names=(),
        input_shapes={},
        input_dtypes={},
        reference=reference,
        weights_digest="0",
        parameters=1,
        flops_per_call=None,
        weight_bytes=None,
        padding_share=None,
        shape=Shape(batch_size=1),
        threads=None,
        torch_device="cpu",
    )


def measured(*answers):
    return Measurement(
        timing=Timing(
            nanoseconds=(1,),
            warmup_calls=0,
            warmup_s=0,
            wall_s=1e-9,
            cpu_s=0,
            steady=True,
            stop_reason="enough",
        ),
        summary=summary(np.ones(1)),
        noise=Noise(),
        attempts=1,
        retries_s=0,
        harness=Harness(timer_ns=60, affinity=(), allocator="glibc", denormals="kept"),
        first_call_ns=1,
        answers=tuple(np.asarray(answer, np.float32) for answer in answers),
        arithmetic=Arithmetic(model_dtype="fp32", matmul_dtype="fp32", other_dtype="fp32", autocast="none"),
        load_s=0,
        process_s=0,
        peak_host_bytes=0,
    )


def test_equal_answers_are_perfect(compared):
    answers = [[[1, 2, 3], [4, 5, 6]]]
    quality = compared(answers, answers)
    assert quality.cosine == pytest.approx(1)
    assert (quality.max_abs_error, quality.top1_agreement) == (0, 1)


def test_the_cosine_is_the_least_over_the_items_not_their_mean(compared):
    quality = compared([[[1, 0], [1, 0], [1, 0]]], [[[1, 0], [1, 0], [1, 1]]])
    assert quality.cosine == pytest.approx(math.sqrt(0.5))


def test_the_cosine_is_the_least_over_the_outputs(compared):
    quality = compared([[[1, 0]], [[1, 0]]], [[[1, 0]], [[0, 1]]])
    assert quality.cosine == pytest.approx(0)


def test_one_wrong_item_in_a_large_batch_shows(compared):
    reference = np.random.default_rng(0).normal(size=(64, 10))
    answer = reference.copy()
    answer[17] = -answer[17]
    assert compared([answer], [reference]).cosine == pytest.approx(-1)


def test_a_cosine_does_not_see_scale_but_the_error_does(compared):
    quality = compared([[[2, 4]]], [[[1, 2]]])
    assert quality.cosine == pytest.approx(1)
    assert quality.max_abs_error == 2


def test_the_error_is_the_greatest_over_outputs_and_entries(compared):
    quality = compared([[[1, 2]], [[1, 5]]], [[[1, 2.5]], [[1, 2]]])
    assert quality.max_abs_error == 3


def test_top1_counts_the_items_of_the_first_output_with_the_same_greatest_entry(compared):
    reference = [[0, 1], [1, 0], [0, 1], [0, 1]]
    answer = [[0, 9], [9, 0], [1, 0], [0, 1]]
    assert compared([answer, [[1]]], [reference, [[1]]]).top1_agreement == 0.75


def test_the_error_is_relative_to_the_distance_between_answers_to_different_inputs(compared):
    quality = compared([[[0, 0.3]]], [[[0, 0]]], second=([[[4, 3]]], [[[4, 3]]]))
    assert quality.relative_error == pytest.approx(0.3 / 5)
    assert quality.verify_flags == ()


def test_the_second_inputs_answers_count_as_much(compared):
    quality = compared([[[1, 0]]], [[[1, 0]]], second=([[[0, 1]]], [[[1, 1]]]))
    assert quality.relative_error == pytest.approx(1)
    assert quality.cosine == pytest.approx(math.sqrt(0.5))
    assert quality.max_abs_error == 1


def test_the_relative_error_is_the_greatest_over_items_and_outputs(compared):
    reference, other = [[[0.0], [0.0]], [[0.0], [0.0]]], [[[1.0], [1.0]], [[1.0], [1.0]]]
    answers = copy.deepcopy(reference)
    answers[1][1] = [0.5]
    apart = math.sqrt(2 * 4 * 0.25 / 3)  # of two answers of 0 and two of 1, over all pairs
    assert compared(answers, reference, (other, other)).relative_error == pytest.approx(0.5 / apart)


@pytest.mark.parametrize(("apart", "tolerance"), [(0, "none"), (5e-4, "none"), (0.04, "all")])
def test_where_the_reference_answers_alike_the_check_says_so(simulated, compared, apart, tolerance):
    quality = compared([[[1, 1]]], [[[1, 1]]], ([[[1, 1 + apart]]], [[[1, 1 + apart]]]), tolerance)
    assert quality.relative_error is None
    assert quality.verify_flags == ("untellable",)
    judge(cell_of(simulated()), quality)


def test_an_output_that_is_alike_is_flagged_beside_one_that_differs(compared):
    reference, other = [[[1, 1]], [[1]]], [[[1, 1]], [[2]]]
    quality = compared(reference, reference, (other, other))
    assert (quality.relative_error, quality.verify_flags) == (0, ("untellable",))


def test_beside_a_relative_error_the_cosine_of_few_numbers_counts_no_more(simulated):
    cell = cell_of(simulated())
    judge(cell, Quality(cosine=-1.0, relative_error=0.001))
    with pytest.raises(WrongAnswer, match="cosine to the fp32 reference is -1"):
        judge(cell, Quality(cosine=-1.0, relative_error=0.001, verify_flags=("untellable",)))


def test_answers_to_one_input_only_are_flagged(compared):
    quality = compared([[[1, 1]]], [[[1, 1]]])
    assert (quality.relative_error, quality.verify_flags) == (None, ("one_input",))


def test_one_logit_of_the_right_sign_is_not_right(simulated, compared):
    quality = compared([[[0.5]]], [[[0.4]]], second=([[[0.8]]], [[[0.9]]]))
    assert quality.cosine == pytest.approx(1)
    with pytest.raises(WrongAnswer, match=r"the error is 0.2 times .* above verify.max_relative_error.none"):
        judge(cell_of(simulated()), quality)


def test_a_relative_error_that_is_no_number_is_refused(simulated):
    with pytest.raises(WrongAnswer, match="the error is nan"):
        judge(cell_of(simulated()), Quality(cosine=1.0, relative_error=math.nan))


def test_outputs_of_any_rank_are_compared_item_by_item():
    reference = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert cosine(reference, reference) == pytest.approx(1)
    turned = reference.copy()
    turned[1] *= -1
    assert cosine(turned, reference) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("answers", "reference"),
    [
        ([np.ones((2, 3))], [np.ones((2, 4))]),
        ([np.ones((1, 3))], [np.ones((2, 3))]),
        ([np.ones((3,))], [np.ones((1, 3))]),
        ([np.ones((2, 3))], [np.ones((2, 3)), np.ones((2, 3))]),
        ([], [np.ones((2, 3))]),
    ],
)
def test_outputs_of_another_number_or_shape_are_wrong(compared, answers, reference):
    with pytest.raises(WrongAnswer, match="outputs have the shapes"):
        compared(answers, reference)


def test_where_nothing_was_computed_nothing_is_compared_or_refused(simulated):
    quality = compare(workload(None), measured())
    assert quality == Quality()
    judge(cell_of(simulated()), quality)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ([[1, math.nan]], [[1, 1]]),
        ([[1, 1]], [[math.nan, 1]]),
        ([[math.inf, 1]], [[1, 1]]),
        ([[math.inf, 1]], [[math.inf, 1]]),
    ],
)
def test_answers_that_are_no_numbers_are_refused_without_a_warning(simulated, compared, answer, reference):
    quality = compared([answer], [reference])
    assert math.isnan(quality.cosine)
    with pytest.raises(WrongAnswer, match="cosine to the fp32 reference is nan"):
        judge(cell_of(simulated()), quality)


def test_equal_zeros_are_equal(simulated, compared):
    quality = compared([[[0, 0], [1, 2]]], [[[0, -0.0], [1, 2]]])
    assert quality.cosine == pytest.approx(1)
    judge(cell_of(simulated()), quality)


@pytest.mark.parametrize("answer", [[[1, 1]], [[0, 0]]])
def test_a_zero_has_nothing_in_common_with_another_answer(simulated, compared, answer):
    quality = compared([answer], [np.ones((1, 2)) - answer])
    assert quality.cosine == 0
    with pytest.raises(WrongAnswer, match="cosine to the fp32 reference is 0"):
        judge(cell_of(simulated()), quality)


@pytest.mark.parametrize("reference", [[[1], [2]], [1, 2], 1, np.zeros((2, 0))])
def test_one_entry_is_no_choice_so_its_top1_is_null(compared, reference):
    assert compared([reference], [reference]).top1_agreement is None


@pytest.mark.parametrize("broken", [0, 1])
def test_a_number_that_is_none_shows_in_whichever_output_it_stands(compared, broken):
    answers = [np.ones((2, 3)), np.ones((2, 3))]
    answers[broken][1, 2] = math.nan
    quality = compared(answers, [np.ones((2, 3)), np.ones((2, 3))])
    assert math.isnan(quality.cosine)
    assert math.isnan(quality.max_abs_error)


@pytest.mark.parametrize("fast_math", ["none", "matmult", "all"])
def test_the_threshold_is_that_of_the_arithmetic_asked_for(simulated, fast_math):
    floors = {"none": 0.9, "matmult": 0.8, "all": 0.7, "int8": 0.6, "int4": 0.5}
    experiment = simulated(f"compiler.fast_math={fast_math}")
    cell = cell_of(replace(experiment, verify=replace(experiment.verify, min_cosine=floors)))
    judge(cell, Quality(cosine=floors[fast_math]))
    with pytest.raises(WrongAnswer, match=rf"below verify\.min_cosine\.{fast_math}={floors[fast_math]}"):
        judge(cell, Quality(cosine=floors[fast_math] - 1e-6))


@pytest.mark.parametrize(
    ("asked", "floor"),
    [
        (("compiler=eager", "compiler.dtype=bf16"), "all"),
        (("compiler=onnxruntime", "compiler.quantization=int8"), "int8"),
        (("compiler=onnxruntime",), "none"),
    ],
)
def test_the_threshold_is_that_of_the_least_exact_option(compose, asked, floor):
    experiment = compose(*asked)
    least = experiment.verify.min_cosine[floor]
    cell = cell_of(experiment)
    judge(cell, Quality(cosine=least))
    with pytest.raises(WrongAnswer, match=rf"below verify\.min_cosine\.{floor}={least:g}"):
        judge(cell, Quality(cosine=least - 1e-6))


def test_true_fp32_is_held_to_more_than_casts_are_and_they_to_more_than_int8(simulated):
    floors = simulated().verify.min_cosine
    assert 1 > floors["none"] > floors["matmult"] >= floors["all"] > floors["int8"] > 0.8


def test_int4_is_judged_by_whether_answers_differ_as_the_reference_s_do(compared, compose):
    """Rounding to 4 bits changes an answer by as much as one that doesn't depend on the input at all."""
    rng = np.random.default_rng(0)
    one, two, noise, more = rng.normal(size=(4, 1, 1000))
    cell = cell_of(compose("compiler=openvino", "compiler.quantization=int4"))
    rounded = compared([one + noise], [one], ([two + more], [two]), "int4")
    assert rounded.relative_error > 0.7
    assert rounded.difference_cosine == pytest.approx(0.7, abs=0.05)
    judge(cell, rounded)
    mean = (one + two) / 2
    for said in (([mean], [mean]), ([two], [one]), ([one], [one]), ([0 * one], [0 * one])):
        wrong = compared(said[0], [one], (said[1], [two]), "int4")
        with pytest.raises(
            WrongAnswer, match=r"differences of answers .* below verify.min_difference_cosine"
        ):
            judge(cell, wrong)
