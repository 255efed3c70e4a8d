"""Which cells of a large space are looked at: proposed by Optuna's sampler, decided between by the race.

Half of each round's proposals are the sampler's. The others are the nearest neighbours of the best so far,
for a sampler proposes known cells again and again once it has settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MOST: Final = 300
"""Candidates that a race looks at; of a larger space this many are proposed."""
_FIRST: Final = 60
_EACH_ROUND: Final = 20
_TRIES: Final = 5
"""Proposals of cells that are known already or don't exist, for each new one."""


class Proposals:
    """Asks a seeded sampler (TPE) for candidates, and shows it what the looks found."""

    def __init__(self, options: Sequence[Mapping[str, str]], seed: int = 0) -> None:
        """`options` has the values of each candidate by key.

        Raises:
            ImportError: optuna isn't installed.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=_FIRST)
        )
        keys = sorted({key for one in options for key in one})
        values = {key: sorted({one.get(key, "") for one in options}) for key in keys}
        self._spaces: Any = {
            key: optuna.distributions.CategoricalDistribution(texts)
            for key, texts in values.items()
            if texts[1:]
        }
        self._options = [tuple(one.get(key, "") for key in self._spaces) for one in options]
        self._index = {one: index for index, one in enumerate(self._options)}
        self._trials: dict[int, Any] = {}

    def next(self, found: Mapping[int, float]) -> list[int]:
        """New candidates for the next round; `found` has the logarithms of what is known so far."""
        for index, log in found.items():
            if (trial := self._trials.get(index)) is not None:
                self._study.tell(trial, log)
                self._trials[index] = None
        left = min(MOST, len(self._options)) - len(self._trials)
        wanted = min(left, _EACH_ROUND if self._trials else _FIRST)
        new = self._sampled(wanted // 2 if found else wanted)
        return [*new, *self._neighbours(wanted - len(new), found)]

    def _sampled(self, wanted: int) -> list[int]:
        new: list[int] = []
        for _ in range(wanted * _TRIES):
            if len(new) == wanted:
                break
            trial = self._study.ask(self._spaces)
            index = self._index.get(tuple(trial.params[key] for key in self._spaces))
            if index is None or index in self._trials:
                self._drop(trial)
                continue
            self._trials[index] = trial
            new.append(index)
        return new

    def _neighbours(self, wanted: int, found: Mapping[int, float]) -> list[int]:
        """Candidates with the fewest options that differ from those of the best."""
        best = self._options[min(found, key=found.__getitem__)] if found else ()
        unknown = [index for index in range(len(self._options)) if index not in self._trials]
        unknown.sort(key=lambda index: sum(a != b for a, b in zip(self._options[index], best, strict=False)))
        self._trials |= dict.fromkeys(unknown[:wanted])
        return unknown[:wanted]

    def _drop(self, trial: Any) -> None:
        import optuna

        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
