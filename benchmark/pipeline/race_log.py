"""The log of a race, in the folder of its campaign: what raced, what every round found, who left and why.

It makes a resumed race the same race, and `report tune` draws it. Rows remain the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.errors import ConfigError
from benchmark.paths import CampaignPaths, write_whole
from benchmark.pipeline.looks import Wanted
from benchmark.sealed import opened, sealed
from benchmark.tuning.candidates import Candidate, Look, Question
from benchmark.tuning.race import Race, Round


class RaceLog:
    """Writes the file whole after every round."""

    def __init__(self, file: Path, asked: Mapping[str, Any], labels: Sequence[str]) -> None:
        """`asked` is what must be equal when the race is resumed."""
        self._file, self._asked, self._labels = file, dict(asked), list(labels)
        self._candidates: list[dict[str, Any]] = []
        self._rounds: list[dict[str, Any]] = []

    def candidates(self, estimated: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of the race: those of the log where there is one, else these.

        Raises:
            ConfigError: the log is of another race, or damaged.
        """
        self._candidates = [asdict(one) for one in estimated]
        if self._file.exists():
            kept = read(self._file)
            if changed := [key for key, value in self._asked.items() if kept["asked"].get(key) != value]:
                raise ConfigError(
                    f"{self._file}: this campaign is a race with other {' and '.join(changed)}: choose "
                    "another campaign=, or give the same options"
                )
            self._candidates = kept["candidates"]
        else:
            self._write({})
        return [Candidate(**one) for one in self._candidates]

    def add(self, turn: Round, looks: Mapping[int, Look], race: Race, sentence: str) -> None:
        """Write what a round found, and where the race stands then."""
        leader = race.standing.front[0] if race.standing.front else None
        self._rounds.append(
            {
                "confirms": turn.confirms,
                "starts": list(turn.starts),
                "looks": {str(index): list(one.values) for index, one in looks.items()},
                "leader": leader,
                "rivals": len(race.standing.rivals),
            }
        )
        now = race.standing
        self._write(
            {
                "dropped": {str(index): one._asdict() for index, one in race.dropped.items()},
                "front": list(now.front),
                "resting": list(now.resting),
                "within": now.within if math.isfinite(now.within) else None,
                "sentence": sentence,
            }
        )

    def _write(self, standing: Mapping[str, Any]) -> None:
        content = {
            "asked": self._asked,
            "labels": self._labels,
            "candidates": self._candidates,
            "rounds": self._rounds,
            **(
                standing
                or {"dropped": {}, "front": [], "resting": [], "sentence": "no round is complete yet"}
            ),
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._file, sealed(content))


def asked(question: Question, wanted: Wanted, names: Sequence[str]) -> dict[str, Any]:
    """What defines a race, as JSON has it."""
    return {
        "space": list(names),
        "objective": list(wanted.objectives),
        "tolerance": question.tolerance,
        "limits": {"p95_ms": question.p95_ms, "cosine_floor": wanted.cosine_floor},
    }


def file_of(output_folder: str) -> Path:
    """The log in the folder of a campaign."""
    return CampaignPaths(folder=Path(output_folder)).race


def read(file: Path) -> dict[str, Any]:
    """The content of a log.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    try:
        return opened(file.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: no race has run in this campaign: run `tune` with its name first"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}: remove the file, and the race resumes by its rows") from error
