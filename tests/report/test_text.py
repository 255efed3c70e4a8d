from __future__ import annotations

import pytest

from benchmark.errors import ConfigError
from benchmark.report.document import Span
from benchmark.report.text import figure, filled, spans, stem


def test_values_stand_in_a_text_as_its_formats_ask():
    values = {"usd": 0.1874, "p95": 12345.6, "n": 3.0, "share": 0.748, "none": None}
    assert filled("${n}", values) == "$3"
    assert filled("{usd:$.3f} {p95:.3r} {share:.0%} {none:.2f}", values) == "$0.187 12,346 75% -"
    assert figure(0.00123, "{:.3r}ms") == "0.00123ms"
    assert figure(1234.5, "{:$,.2f}") == "$1,234.50"


def test_no_attribute_of_a_value_can_be_read_and_a_missing_name_is_an_error():
    with pytest.raises(ConfigError, match=r"\{x.__class__\}: no such value: use one of x"):
        filled("{x.__class__}", {"x": 1})
    with pytest.raises(ConfigError, match=r"Unknown format code"):
        filled("{x:.2f}", {"x": "text"})


def test_a_heading_has_code_and_links_and_a_value_can_be_neither():
    found = spans("`{m}` [{id}](https://h/{id}) / p95", {"m": "[x](http://evil)", "id": "a`b"})
    assert found == (
        Span(text="[x](http://evil)", code=True),
        Span(text="a`b", link="https://h/a`b"),
        Span(text="/ p95"),
    )


def test_a_file_name_has_nothing_that_a_path_could_be_made_of():
    assert stem("../../etc/<script>") == "etc-script"
    assert stem("///") == "unnamed"
