"""Commands work with streams that are closed, unread, or of an encoding that lacks characters."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from benchmark.store.results import ResultsStore

GRID = (
    "-m",
    "hardware=simulated",
    "batch=range(1,400)",
    "sampling=quick",
    "sampling.repeats=1",
    "campaign=unread",
)
OPENED = """
import os, sys
from benchmark.cli.streams import make_usable
make_usable()
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
print("lost"); print("lost", file=sys.stderr); sys.stdout.flush()
os.write(file, b"%d" % file)
"""


def test_a_grid_whose_output_is_no_longer_read_stops_and_says_how_to_resume(tmp_path):
    command = [sys.executable, "-m", "benchmark", *GRID]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not process.stdout.readline().startswith("[1/399]"):
            assert process.poll() is None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert re.fullmatch(r"stopped: the output is no longer read; to resume: .* campaign=unread\n", said)
    assert set(ResultsStore(tmp_path / "outputs" / "results").statuses().values()) == {"ok"}


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    file = tmp_path / "file"
    script = f"exec {sys.executable} -c '{OPENED}' {file} <&- >&- 2>&-"
    subprocess.run(["sh", "-c", script], check=True, timeout=30)
    assert int(file.read_text()) > 2


def test_a_character_that_the_encoding_lacks_is_a_question_mark():
    script = "from benchmark.cli.streams import make_usable; make_usable(); print('0.5 ± 1')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "0.5 ? 1\n"
