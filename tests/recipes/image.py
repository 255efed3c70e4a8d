"""The steps of a Dockerfile without a Docker daemon: in a folder and an environment of their own.

python -m tests.recipes.image [--file benchmark/recipes/Dockerfile] [--extras report]

COPY and RUN are done in an empty folder instead of WORKDIR; what needs the base image (FROM, apt-get, users)
is listed as not done. So it shows that the files that are copied suffice, and that they install and start.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
OF_THE_BASE = ("apt-get", "useradd")


def instructions(file):
    """Each instruction with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def copy(words, folder):
    """COPY of files and folders of the checkout that git knows."""
    *sources, target = [word for word in shlex.split(words) if not word.startswith("--")]
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *sources], cwd=ROOT, text=True,
                             capture_output=True, check=True).stdout.splitlines()  # fmt: skip
    assert tracked, f"COPY {words}: nothing to copy"
    for name in tracked:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)
    assert target == "./" or (folder / target).exists()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--file", type=Path, default=ROOT / "benchmark/recipes/Dockerfile")
    options.add_argument("--extras", help="install these instead of the file's, to be quicker")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "srv")
        folder.mkdir()
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        for name, words in instructions(asked.file):
            if name == "COPY":
                copy(words, folder)
                print(f"done: COPY {words}")
            elif name == "RUN" and not any(word in words for word in OF_THE_BASE):
                command = re.sub(r"'\.\[.*?\]'", f"'.[{asked.extras}]'", words) if asked.extras else words
                since = time.monotonic()
                ran = subprocess.run(["bash", "-c", command], cwd=folder, env=clean, check=False,
                                     capture_output=True, text=True)  # fmt: skip
                assert ran.returncode == 0, f"RUN {command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
                print(f"done in {time.monotonic() - since:.0f} s: RUN {command}")
            elif name == "CMD":
                command = re.findall(r'"([^"]*)"', words)
                clean["PATH"] = f"{folder}/.venv/bin:{clean['PATH']}"
                ran = subprocess.run(
                    command, cwd=folder, env=clean, check=True, capture_output=True, text=True
                )
                print(f"done: CMD {words}: {ran.stdout.splitlines()[0][:80]}")
            else:
                print(f"not done: {name} {words[:100]}")
        one = ["python", "-m", "benchmark", "hardware=simulated", "batch=2"]
        ran = subprocess.run(one, cwd=folder, env=clean, check=True, capture_output=True, text=True)
        print(f"a cell in it: {[line for line in ran.stdout.splitlines() if 'ok p50' in line]}")


if __name__ == "__main__":
    main()
