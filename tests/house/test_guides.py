"""README and the guides stay what they are: short, complete, with links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 200
MOST_NOUNS = 15
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")


GUIDES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("[a-z]*/README.md")),
    *sorted(ROOT.glob("conf/*/README.md")),
    *sorted((ROOT / "benchmark").glob("C*.md")),
    ROOT / "benchmark" / "recipes" / "README.md",
]


def anchors(page):
    """Names of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.relative_to(ROOT).as_posix())
def test_a_link_of_a_guide_leads_somewhere(guide):
    for path, anchor in LINK.findall(guide.read_text(encoding="utf-8")):
        target = guide.parent / path if path else guide
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), anchor


def test_readme_is_a_first_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_architecture_lists_every_package_and_module_and_few_nouns():
    text = (ROOT / "benchmark" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", text, re.MULTILINE)
    modules = {path.stem for path in (ROOT / "benchmark").glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in (ROOT / "benchmark").glob("*/__init__.py")} | {"plugins"}
    assert sorted(listed) == sorted(modules | packages)
    _, _, glossary = text.partition("## Glossary")
    nouns = re.findall(r"^\| (\w+) \|", glossary.partition("\n## ")[0], re.MULTILINE)
    assert len(nouns[1:]) <= MOST_NOUNS
