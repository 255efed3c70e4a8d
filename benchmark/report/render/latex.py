"""A report as a LaTeX article for pdfLaTeX, XeLaTeX and LuaLaTeX, with booktabs tables and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmark.report.document import (
    MEANINGS,
    Document,
    Field,
    Section,
    Span,
    Table,
    must_mark,
    of_document,
    of_table,
)
from benchmark.report.sanitize import clean, one_line

_LONG = 30
"""A table with more lines may break across pages."""
_WORDY = 28
"""A column with longer texts, in characters, breaks lines."""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": "{-}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
"""Brackets and stars stand in braces, else they are arguments of a line's end; hyphens, else they join."""
_NAMED = {
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "\u00d7": r"$\times$",
    "→": r"$\rightarrow$",
    "≈": r"$\approx$",
    "µ": r"\textmu{}",
    "μ": r"\textmu{}",
    "Δ": r"$\Delta$",
    "★": r"$\star$",
    "°": r"\textdegree{}",
    "\u2013": "--",
    "\u2014": "---",
    "…": r"\ldots{}",
    "\u201c": "``",
    "\u201d": "''",
    "\u2018": "`",
    "\u2019": "'",
    "\u00a0": "~",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "¹": r"\textsuperscript{1}",
    "\u03c3": r"$\sigma$",
    "▲": r"$\triangle$",
    "▼": r"$\triangledown$",
    "✗": r"$\times$",
    "†": r"\dag{}",
    "€": r"\texteuro{}",
}
_LAST_KNOWN = 0x17F
"""Last letter that the standard fonts have (Latin); of later ones the code is written."""
_HEAD = r"""\documentclass[a4paper]{article}
\usepackage[margin=2.2cm]{geometry}
\usepackage{iftex}
\ifPDFTeX\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\fi
\usepackage{textcomp,amssymb,array,booktabs,longtable,graphicx}
\setlength{\emergencystretch}{3em}
"""


def page(document: Document, pictures: Mapping[str, str] | None = None) -> str:
    """Write a report as LaTeX; `pictures` are paths of PNG files relative to it, by name of chart."""
    return "\n".join([_HEAD, *_body(document, pictures or {}), r"\end{document}", ""])


def _body(document: Document, pictures: Mapping[str, str]) -> Iterator[str]:
    yield rf"\title{{{_words(document.title)}}}\author{{}}\date{{{document.made_at:%Y-%m-%d}}}"
    yield "\\begin{document}\n\\maketitle"
    yield from map(_paragraph, document.intro)
    origins = of_document(document)
    marked = must_mark(origins)
    if marked:
        looks = {
            "measured": "Upright: measured",
            "published": r"\textit{Italic}: published",
            "simulated": r"\underline{Underlined}: simulated,",
        }
        yield _end("; ".join(f"{looks[origin]} {MEANINGS[origin]}" for origin in origins) + ".")
    yield from _listed("Findings", document.findings)
    yield from _listed("Warnings", document.warnings)
    for section in document.sections:
        yield from _section(section, pictures, marked=marked)
    yield from _tabled("Coverage", document.coverage)
    yield from _tabled("Failures", document.failures)
    yield from _tabled("Provenance", document.provenance)
    if document.reproduce:
        yield r"\section*{How to reproduce}"
        yield from (rf"\par\noindent\texttt{{{_words(command)}}}" for command in document.reproduce)


def _section(section: Section, pictures: Mapping[str, str], *, marked: bool) -> Iterator[str]:
    kind = "section" if section.level == 2 else "subsection"  # noqa: PLR2004 - a document's first is 2
    yield rf"\{kind}*{{{' '.join(map(_span, section.title))}}}"
    yield from map(_paragraph, section.sentences)
    for table in section.tables:
        yield from _table(table, marked=marked)
    for chart in section.charts:
        if chart.name in pictures:
            yield "\\begin{figure}[htbp]\\centering"
            yield rf"\includegraphics[width=.9\linewidth]{{\detokenize{{{_path(pictures[chart.name])}}}}}"
            yield rf"\caption{{{_words(chart.title)}. {_words(chart.alt)}}}" + "\n\\end{figure}"


def _tabled(title: str, table: Table) -> Iterator[str]:
    if table.lines:
        yield rf"\section*{{{title}}}"
        yield from _table(table, marked=False)


def _listed(title: str, sentences: Sequence[str]) -> Iterator[str]:
    if sentences:
        yield rf"\section*{{{title}}}" + "\n\\begin{itemize}"
        yield from (rf"\item {_words(sentence)}" for sentence in sentences)
        yield r"\end{itemize}"


def _table(table: Table, *, marked: bool) -> Iterator[str]:
    """A table that fits a page, or one that breaks across pages."""
    marked = marked and bool(of_table(table))
    columns = "".join(_columns(table))
    heads = " & ".join(rf"\textbf{{{_words(head.text)}}}" for head in table.heads) + r" \\"
    lines = [" & ".join(_field(field, marked=marked) for field in line) + r" \\" for line in table.lines]
    caption = rf"\textit{{{_words(table.caption)}}}"
    if len(lines) > _LONG:
        yield rf"\par\noindent {caption}" + rf"{{\small\begin{{longtable}}{{{columns}}}\toprule"
        yield f"{heads}\n\\midrule\\endhead"
        yield from lines
        yield r"\bottomrule\end{longtable}}"
    else:
        yield rf"\par\medskip\noindent {caption}\par\smallskip\noindent"
        yield rf"{{\small\begin{{tabular}}{{{columns}}}\toprule"
        yield f"{heads}\n\\midrule"
        yield from lines
        yield r"\bottomrule\end{tabular}}\par\smallskip"
    yield from (_end(rf"{{\footnotesize {_words(note)}}}") for note in table.notes)


def _columns(table: Table) -> Iterator[str]:
    longest = [
        max((len(line[place].text) for line in table.lines), default=0) for place in range(len(table.heads))
    ]
    wordy = sum(length > _WORDY for length in longest)
    for head, length in zip(table.heads, longest, strict=True):
        width = 0.55 / max(1, wordy)
        broken = rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}"
        yield "r" if head.figures else broken if length > _WORDY else "l"


def _field(field: Field, *, marked: bool) -> str:
    text = _words(field.text)
    if marked and field.origin == "published":
        text = rf"\textit{{{text}}}"
    if marked and field.origin == "simulated":
        text = rf"\underline{{{text}}}"
    return rf"\textbf{{{text}}}" if field.best else text


def _span(span: Span) -> str:
    return rf"\texttt{{{_words(span.text)}}}" if span.code else _words(span.text)


def _paragraph(text: str) -> str:
    return _end(_words(text))


def _end(text: str) -> str:
    return f"{text}\\par"


def _words(text: str) -> str:
    """A text on one line, with every special character escaped."""
    return "".join(_SPECIAL.get(one) or _NAMED.get(one) or _known(one) for one in one_line(text))


def _known(character: str) -> str:
    return character if ord(character) <= _LAST_KNOWN else f"{{[}}U+{ord(character):04X}{{]}}"


def _path(path: str) -> str:
    """A path without characters that end the argument."""
    return "".join(one for one in clean(path) if one not in "{}%#\\")
