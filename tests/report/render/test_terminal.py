"""The report in a terminal: within its width, and texts are neither markup nor commands."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from benchmark.report.render import terminal
from tests.report.render import sample


def printed(document, **options):
    console = Console(file=io.StringIO(), width=80, **options)
    terminal.page(document, console)
    return console.file.getvalue()


def test_it_fits_80_columns_and_is_plain_without_a_terminal():
    text = printed(sample.document())
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "─" not in text


def test_findings_come_first_then_tables_then_failures():
    text = printed(sample.document())
    places = [
        text.index(one)
        for one in ("Findings", "BERT bert-base-uncased", "2.0ms SIM", "Failures", "NCC_EVRF001")
    ]
    assert places == sorted(places)


def test_hostile_texts_are_printed_as_they_are():
    text = printed(replace(sample.document(), findings=("[red]not red[/red] [link=https://x]y[/link]",)))
    assert "[red]not red[/red] [link=https://x]y[/link]" in text
    assert sample.SCRIPT in text
    coloured = printed(sample.document(), force_terminal=True, color_system="truecolor")
    assert "\x07" not in coloured
    assert "\x1b]" not in coloured


def test_origins_are_said_apart_without_colours():
    text = " ".join(printed(sample.document()).split())
    assert "3.9ms°" in text
    assert "° published by others" in text
    assert "SIM simulated" in text
