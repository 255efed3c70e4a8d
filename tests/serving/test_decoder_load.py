"""A real decoder under load: two compiled lengths, answers as long as asked for, and right afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.store.results import ResultsStore

pytestmark = pytest.mark.real


def test_a_decoder_answers_requests_of_mixed_lengths(compose, run_cells, tmp_path):
    trace = tmp_path / "trace.csv"
    lines = [f"{0.04 * number},{(5, 30)[number % 2]},{1 + number % 8}" for number in range(24)]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]), encoding="utf-8")
    experiment = compose(
        *("model=llama_tiny", "compiler=eager", "scenario=server", "input_length=32", "output_length=8"),
        *(f"scenario.trace={trace}", "scenario.prompt_lengths=[8]", "scenario.max_batch=2"),
        *("scenario.ttft_ms=5000", "sampling.warmup_s=0"),
    )
    (row,) = run_cells(experiment)
    assert row["status"] == "ok"  # also of the answers that were made after the short generations
    found = ResultsStore(experiment.store_root).loads(row["run_id"])
    seen = {name: np.array(found[name][0].as_py()) for name in found.column_names if name.endswith("_ns")}
    padded, output = (np.array(found[name][0].as_py()) for name in ("padded_to", "output_tokens"))
    alone = np.array(found["batch_room"][0].as_py()) == 1
    assert padded[alone].tolist() == np.where(np.arange(24) % 2, 32, 8)[alone].tolist()
    assert (seen["started_ns"] < seen["first_token_ns"]).all()
    assert ((seen["ended_ns"] > seen["first_token_ns"]) == (output > 1)).all()
    assert row["output_tokens_mean"] == 4.5
    assert row["first_token_p50_ms"] > row["tpot_p50_ms"] > 0
