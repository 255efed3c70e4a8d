"""What Neuron's logs and errors say: sentences as the documentation and the SDK's issues have them."""

from __future__ import annotations

import logging

import pytest

from benchmark.errors import CompileFailed, OutOfDeviceMemory, UnsupportedOperator
from benchmark.neuron import compiler_logs

INF1 = """\
There are 2 ops of 1 different types in the TorchScript that are not compiled by neuron-cc: aten::embedding, (For more
Number of arithmetic operators (pre-compilation) before = 249, fused = 242, percent fused = 97.19%
The neuron partitioner created 15 sub-graphs
Neuron successfully compiled 15 sub-graphs, Total fused subgraphs = 15, Percent of model sub-graphs successfully \
compiled = 100.0%
 => aten::Int: 9 [supported]
 => aten::repeat: 1 [not supported]
"""  # noqa: E501 - a log
PARTITIONER = """\
Neuron: The following operations are currently supported:
Neuron: aten::linear
Neuron: aten::log_softmax
Neuron: The following operations are currently not supported:
Neuron: aten::sort, unsup.py(28): <stack_trace>
Neuron: 85.71% of arithmetic operations (6 of 7) are supported
Neuron: Num Partitions: 2
"""


def test_a_log_of_inf1_states_subgraphs_operators_and_their_share():
    message = compiler_logs.read(INF1)
    assert message.subgraphs == 15
    assert message.ops_on_device_fraction == 242 / 249
    assert message.unsupported_ops == ("aten::embedding", "aten::repeat")


def test_a_log_of_the_partitioner_states_the_same():
    message = compiler_logs.read(PARTITIONER)
    assert message.subgraphs == 2
    assert message.ops_on_device_fraction == 6 / 7
    assert message.unsupported_ops == ("aten::sort",)


def test_the_other_wording_of_the_share_is_understood():
    words = (
        "Neuron has determined that the model has 85.71% of arithmetic operations (6 of 7) that are supported"
    )
    assert compiler_logs.read(words).ops_on_device_fraction == 6 / 7


def test_a_log_that_says_nothing_leaves_all_unknown():
    message = compiler_logs.read("Compiler status PASS\n")
    assert (message.subgraphs, message.ops_on_device_fraction, message.unsupported_ops) == (None, None, ())


def test_nothing_of_nothing_is_no_share():
    assert compiler_logs.read("(pre-compilation) before = 0, fused = 0").ops_on_device_fraction is None


@pytest.mark.parametrize(
    "sentence",
    [
        "torch.neuron.trace failed on _NeuronGraph$551; falling back to native python function call",
        "No operator is placed on Neuron runtime; returning a CPU trace",
        "Neuron successfully compiled 0 sub-graphs, Total fused subgraphs = 1",
    ],
)
def test_a_silent_fallback_is_heard(sentence):
    assert compiler_logs.fallback_sentence(f"{INF1}{sentence}\nmore") == sentence
    assert compiler_logs.fallback_sentence(INF1) is None


def test_what_analyze_answers_is_read_from_its_texts():
    answer = {"support_percentage": "85.71%", "unsupported_operators": [{"kind": "aten::sort"}]}
    assert compiler_logs.analysis(answer) == (0.8571, ("aten::sort",))
    assert compiler_logs.analysis({}) == (None, ())


CODES = [
    (
        "[NCC_EVRF001] Operator topk is not supported. Locate the operator in source",
        UnsupportedOperator,
        "NCC_EVRF001",
        ("topk",),
    ),
    ("[NCC_EUOC002] An unsupported operator was used.", UnsupportedOperator, "NCC_EUOC002", ()),
    (
        "NCC_EOOM002] Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB",
        OutOfDeviceMemory,
        "NCC_EOOM002",
        (),
    ),
    ("NCC_EMOD025: Dynamic shape is not supported: instruction 'x'", CompileFailed, "NCC_EMOD025", ()),
    (
        "Neuron compile failed.  Operator prim::PythonOp is not supported",
        UnsupportedOperator,
        "RuntimeError",
        ("prim::PythonOp",),
    ),
]


@pytest.mark.parametrize(("said", "kind", "raised", "names"), CODES)
def test_a_compilers_error_is_reported_by_its_code(said, kind, raised, names):
    failure = compiler_logs.failure(RuntimeError(f"neuronx-cc failed with exit status 70\n{said}\nmore"), "")
    assert type(failure) is kind
    assert (failure.raised, failure.operators) == (raised, names)
    assert str(failure) == said


def test_a_code_in_the_log_is_found_where_the_error_has_none():
    failure = compiler_logs.failure(
        RuntimeError("exit status 70"), "…\n[NCC_EVRF007] too many instructions\n"
    )
    assert (type(failure), failure.raised) == (CompileFailed, "NCC_EVRF007")
    assert str(failure) == "[NCC_EVRF007] too many instructions"


def test_an_error_that_says_nothing_of_neuron_is_left_alone():
    assert compiler_logs.failure(MemoryError("std::bad_alloc"), "Compiler status PASS") is None


def test_an_error_that_means_an_unknown_operator_gets_its_names_from_the_log():
    failure = compiler_logs.failure(AttributeError("no attribute 'embedding'"), INF1, unknown_operator=True)
    assert type(failure) is UnsupportedOperator
    assert failure.operators == ("aten::embedding", "aten::repeat")
    assert str(failure) == "no attribute 'embedding' (aten::embedding, aten::repeat)"


def test_listening_keeps_messages_and_leaves_the_logger_as_it_was():
    logger = logging.getLogger("Neuron")
    before = (logger.level, [*logger.handlers])
    with compiler_logs.capture_logs() as messages:
        logger.info("Num Partitions: %d", 2)
        logger.debug("not this")
    logger.warning("nor that")
    assert messages == ["Num Partitions: 2"]
    assert (logger.level, [*logger.handlers]) == before


def test_logs_of_the_compiler_are_shown_by_their_ends(tmp_path, capsys):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "log-neuron-cc.txt").write_text("\n".join(map(str, range(100))))
    message = compiler_logs.show_logs(tmp_path)
    assert message.splitlines()[:2] == ["--- end of sub/log-neuron-cc.txt", "60"]
    assert capsys.readouterr().err == message


def test_the_size_of_what_is_loaded_is_that_of_all_neffs(tmp_path):
    assert compiler_logs.neff_bytes(tmp_path) is None
    (tmp_path / "sub").mkdir()
    for name in ("a.neff", "sub/b.neff"):
        (tmp_path / name).write_bytes(b"1234")
    assert compiler_logs.neff_bytes(tmp_path) == 8


def test_what_a_library_warns_of_on_standard_error_is_seen(capfd):
    import os

    os.write(2, b"before: ** NOT CALCULATED **\n")
    words = compiler_logs.ProcessLog()
    assert not words.says_not_calculated()
    os.write(2, b"Warning: Tensor output are ** NOT CALCULATED ** during CPU execution\n")
    assert words.says_not_calculated()
    capfd.readouterr()
