"""LaTeX pages: every special character is text, and where pdflatex is installed the page compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from benchmark.report.render import latex
from benchmark.report.render.images import png
from tests.report.render import sample


def test_every_special_character_is_text():
    page = latex.page(
        replace(sample.document(), intro=(r"\input{x} 50% & $5 #1 a_b ~ ^ < > | ` ' 中 ≥ [x] *",))
    )
    message = next(line for line in page.splitlines() if "50" in line)
    assert message == (
        r"\textbackslash{}input\{x\} 50\% \& \$5 \#1 a\_b \textasciitilde{} \textasciicircum{} \textless{} "
        r"\textgreater{} \textbar{} \textasciigrave{} \textquotesingle{} {[}U+4E2D{]} $\geq$ {[}x{]} {*}\par"
    )


def test_a_hostile_error_commands_nothing():
    page = latex.page(sample.document())
    assert r"\input{" not in page
    assert "\x1b" not in page
    assert {*re.findall(r"(?<!\\)\\input", page)} == set()


def test_long_tables_break_and_others_do_not():
    table = sample.latency_table()
    long = replace(table, lines=table.lines * 6)
    section = replace(sample.document().sections[0], tables=(long,))
    page = latex.page(replace(sample.document(), sections=(section,)))
    assert page.count(r"\begin{longtable}") == page.count(r"\end{longtable}") == 1
    assert r"\begin{longtable}" not in latex.page(sample.document())


def test_published_figures_are_italic():
    assert r"\textit{3.9ms}" in latex.page(sample.document())


@pytest.mark.real
def test_it_compiles(tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed: escaping is tested, compiling is not")
    have = {subprocess.run(["kpsewhich", f"{one}.sty"], capture_output=True, check=False).returncode
            for one in ("booktabs", "iftex", "longtable")}  # fmt: skip
    if have != {0}:
        pytest.skip("this TeX lacks booktabs, iftex or longtable")
    chart = sample.costs()
    (tmp_path / "cost_bars.png").write_bytes(png(chart))
    odd = "≥ ± × “q” – — … ★ 中 \\ % $ # _ { } ~ ^ ° µ"  # noqa: RUF001
    document = replace(sample.document(), intro=(odd,))
    (tmp_path / "page.tex").write_text(latex.page(document, {"cost_bars": "cost_bars.png"}), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
