"""Traces of requests: both spellings of their columns, and what is said about files that hold none."""

from __future__ import annotations

import pytest

from benchmark import request_trace
from benchmark.request_trace import TraceError

HEADER = "arrival_s,prompt_tokens,output_tokens\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "trace.csv"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


def test_a_trace_has_times_and_lengths_in_order(written):
    trace = request_trace.read(written(f"user,{HEADER}a,0,5,2\nb,0.5,7,1\nc,2,3,3\n"))
    assert trace.arrival_s.tolist() == [0, 0.5, 2]
    assert trace.first(2.0).lengths.tolist() == [[5, 2], [7, 1]]


def test_a_trace_of_azure_counts_from_its_first_request(written):
    """The first lines of AzureLLMInferenceTrace_conv.csv."""
    trace = request_trace.read(
        written(
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
            "2023-11-16 18:15:50.9951690,396,109\n"
        )
    )
    assert trace.arrival_s.tolist() == pytest.approx([0, 4.314579])
    assert trace.lengths.tolist() == [[374, 44], [396, 109]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "lacks arrival_s, prompt_tokens, output_tokens: its first line must name the columns arrival_s,",
        ),
        ("arrival_s,prompt_tokens\n1,2\n", "lacks output_tokens:"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "lacks GeneratedTokens:"),
        (HEADER, "has no request"),
        (f"{HEADER}-1,2,2\n", "has the time -1 s"),
        (f"{HEADER}nan,2,2\n", "has the time nan s"),
        (f"{HEADER}noon,2,2\n", "has the time 'noon' in line 2"),
        (f"{HEADER}2,2,2\n1,2,2\n", "isn't in order of arrival: request 2, at 1 s, comes after 2 s"),
        (f"{HEADER}1,2,2\n1,0,2\n", "has prompt_tokens='0' in line 3: use a whole number"),
        (f"{HEADER}1,2\n", "has output_tokens=None in line 2"),
    ],
)
def test_a_file_that_holds_no_trace_is_refused_with_its_line(written, text, said):
    with pytest.raises(TraceError) as error:
        request_trace.read(written(text))
    assert said in str(error.value)


def test_a_missing_file_is_no_trace(tmp_path):
    with pytest.raises(TraceError, match="can't be read: No such file"):
        request_trace.read(str(tmp_path / "none.csv"))
