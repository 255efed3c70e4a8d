"""Generations of decoder families are right, or refused with a reason; broken ones are seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
REFUSED = {"Mamba": "keeps a recurrent state", "BERT, an encoder": "set is_decoder: true"}
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def rows():
    """Results by family, from one child; a table of them is printed (`pytest -s`)."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.models.decoders"]
    root = Path(__file__).parents[2]
    child = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    found = json.loads(child.stdout)
    sys.stdout.write(f"\n{_table(found)}\n")
    return found


def _table(rows) -> str:
    lines = [
        "family            generate  without cache  first error  last error  lost column  no window",
    ]
    for row in rows:
        if row["refused"]:
            lines.append(f"{row['family']:16}  refused: {row['refused']}")
            continue
        same = {path: _share(row["tokens"], row[path]) for path in ("generate", "without_cache")}
        seen = {what: "seen" if row[what] else "-" for what in ("broken", "no_window")}
        lines.append(
            f"{row['family']:16}  {same['generate']:>8}  {same['without_cache']:>13}  {row['first']:11.1e}"
            f"  {row['last']:10.1e}  {seen['broken']:>11}  {seen['no_window']:>9}"
        )
    return "\n".join(lines)


def _share(tokens, others) -> str:
    pairs = [pair for item in zip(tokens, others, strict=True) for pair in zip(*item, strict=True)]
    return f"{sum(a == b for a, b in pairs)}/{len(pairs)}"


def test_tokens_are_those_of_generate_and_of_a_forward_without_a_cache(rows):
    for row in rows:
        if row["family"] not in REFUSED:
            assert row["refused"] is None
            assert row["tokens"] == row["generate"] == row["without_cache"], row["family"]
            assert max(row["first"], row["last"]) < ROUNDING, row["family"]


def test_models_that_cannot_be_decoded_are_refused_with_the_reason(rows):
    refused = {row["family"]: row["refused"] for row in rows if row["refused"]}
    assert refused.keys() == REFUSED.keys()
    for family, reason in REFUSED.items():
        assert reason in refused[family]


def test_the_check_sees_a_lost_column_and_an_ignored_window(rows):
    windowed = {"Mistral", "Mixtral", "Gemma 2", "Gemma 3", "GPT-Neo", "Phi-3", "Qwen2, sliding", "GPT-OSS"}
    windowed |= {"Llama 4, chunked"}
    for row in rows:
        if row["refused"] is None:
            assert "gives other logits" in row["broken"], row["family"]
            assert (row["no_window"] is not None) == (row["family"] in windowed), row["family"]
