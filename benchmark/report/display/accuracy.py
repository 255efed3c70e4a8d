"""Columns of a table about measured accuracies: figure, interval, and what the paired comparison says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import pandas as pd

from benchmark.formatting import counted, significant
from benchmark.store.accuracies import COMPARISONS, VERDICT, is_measured, judged

FIGURE: Final = "accuracy ±"
AGAINST: Final = "against\nfp32"
_SHORT: Mapping[str, str] = {
    "no measurable difference": "same",
    "worse": "worse",
    "better": "better",
    "too few to tell": "few items",
}
_MEANING: Mapping[str, str] = {
    "same": "no measurable difference to the fp32 reference on the same items{}",
    "worse": "worse than the fp32 reference on the same items (95 %){}",
    "better": "better than the fp32 reference on the same items (95 %){}",
    "few items": "too few items were answered differently from the fp32 reference to tell",
}
_SHARES: Final = frozenset({"accuracy", "exact_match"})


def columns(lines: pd.DataFrame) -> pd.DataFrame:
    """The figure that counts with the wider half of its interval, and the verdict; no columns without any."""
    measured = is_measured(lines)
    if not measured.any():
        return pd.DataFrame(index=lines.index)
    verdicts = judged(lines)
    shown = pd.DataFrame(index=lines.index, columns=[FIGURE, AGAINST], dtype=object)
    for index in lines.index[measured]:
        line = lines.loc[index]
        value, lo, hi = (float(line[f"metric_value{bound}"]) for bound in ("", "_lo", "_hi"))
        half = max(value - lo, hi - value)
        shown.loc[index, FIGURE] = (
            f"{value:.2%} ±{100 * half:.1f}"
            if line["metric"] in _SHARES
            else f"{line['metric']} {significant(value)} ±{significant(half)}"
        )
        shown.loc[index, AGAINST] = _SHORT.get(str(verdicts.loc[index, VERDICT]))
    return shown


def legend(lines: pd.DataFrame, shown: pd.DataFrame) -> Iterator[str]:
    """Explain the verdicts that occur, and how many comparisons they are of."""
    if AGAINST not in shown:
        return
    compared = judged(lines)[COMPARISONS].dropna()
    most = max(compared, default=1)
    several = f", p adjusted for {counted(most, 'comparison')}" if most > 1 else ""
    for word, meaning in _MEANING.items():
        if word in set(shown[AGAINST].dropna()):
            yield f"{word}: {meaning.format(several)}"
