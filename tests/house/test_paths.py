"""Files of this repository that messages and comments name are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<![\w/.-])(?:benchmark|conf)/[\w/.-]*\w\.(?:py|csv|md|yaml)\b")
ELSEWHERE = {"published"}
"""Config groups whose comments name files of other repositories."""


def test_every_named_file_exists():
    files = [*(ROOT / "benchmark").rglob("*.py")]
    files += [file for file in (ROOT / "conf").rglob("*.yaml") if file.parent.name not in ELSEWHERE]
    named = {(name, file) for file in files for name in NAMED.findall(file.read_text(encoding="utf-8"))}
    missing = [f"{file.relative_to(ROOT)}: {name}" for name, file in named if not (ROOT / name).exists()]
    assert len(named) > 5
    assert sorted(missing) == []
