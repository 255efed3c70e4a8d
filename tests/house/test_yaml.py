"""YAML of conf/ is as yamllint wants it: `make check` says the same."""

from __future__ import annotations

from yamllint import linter
from yamllint.config import YamlLintConfig

from benchmark.config.folder import CONF


def test_yaml_has_no_finding():
    settings = YamlLintConfig(file=str(CONF.parent / ".yamllint"))
    found = [
        f"{file.relative_to(CONF)}:{problem.line}: {problem.desc}"
        for file in sorted(CONF.rglob("*.yaml"))
        for problem in linter.run(file.read_text(encoding="utf-8"), settings, str(file))
    ]
    assert found == []
