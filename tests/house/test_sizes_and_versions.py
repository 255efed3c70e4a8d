"""Small promises about the house itself."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 500


def test_the_installed_version_is_that_of_pyproject():
    stated = re.search(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert stated[1] == metadata.version("benchmark-orchestrator"), "run `make setup`"


def test_no_module_is_a_drawer():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "benchmark").rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_an_init_holds_a_docstring_and_no_code_but_for_the_one_that_notebooks_import():
    for path in (ROOT / "benchmark").glob("*/**/__init__.py"):
        assert re.fullmatch(r'"""[^"]+"""\n?', path.read_text(encoding="utf-8")), path


def test_verbs_print_by_what_makes_texts_harmless():
    """`say` and `Screen` leave out terminal codes of rows; ruff refuses `print`."""
    bare = re.compile(r"\btyper\.echo\(|\bConsole\(|sys\.std(out|err)\.write")
    files = [path for name in ("cli", "report") for path in (ROOT / "benchmark" / name).rglob("*.py")]
    assert [path.name for path in files if bare.search(path.read_text("utf-8"))] == []


def test_the_package_speaks_plainly():
    """Code and tests use no word of this list; `tells` is allowed in tests, for one that distinguishes."""
    avoided = {"benchmark": "told|tells|somebody|nobody|becomes of", "tests": "told|somebody|nobody"}
    hits = [
        path
        for folder, words in avoided.items()
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
        if re.search(rf"(?<![a-z])({words})(?![a-z])", path.read_text("utf-8"))
    ]
    assert hits == []
