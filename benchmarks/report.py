"""Medians, ratios, and whether an aim is met."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

Values = Mapping[str, float]

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {"<=": operator.le, ">=": operator.ge}


@attrs.frozen
class Aim:
    """What golem_nb's figure should be.

    Parameters
    ----------
    figure
        Which one.
    relation
        ``"<="`` or ``">="``.
    limit
        Of the figure itself, or of its ratio to another side's.
    side
        The other side; None: the figure itself is meant.
    """

    figure: str
    relation: str
    limit: float
    side: str | None = None

    def judge(self, medians: Mapping[str, Values]) -> dict[str, Any]:
        """Say how it stands."""
        measured = medians["golem_nb"][self.figure]
        if self.side is not None:
            measured = ratio(measured, medians[self.side][self.figure])
        times = f" x {self.side}" if self.side else ""
        return {
            "aim": f"{self.figure} {self.relation} {self.limit:g}{times}",
            "measured": rounded(measured),
            "met": _COMPARE[self.relation](measured, self.limit),
        }


def ratio(value: float, other: float) -> float:
    """Give `value` as a multiple of `other`."""
    return value / other if other else float("inf")


def rounded(value: float) -> float:
    """Give four significant digits."""
    return float(f"{value:.4g}")


def summary(case: str, rounds: Mapping[str, Sequence[Values]], aims: Iterable[Aim]) -> dict[str, Any]:
    """Put a case together.

    Parameters
    ----------
    case
        Its name.
    rounds
        What each side has measured in each round.
    aims
        What golem_nb should reach.
    """
    medians = {
        side: {figure: statistics.median(values[figure] for values in runs) for figure in runs[0]}
        for side, runs in rounds.items()
    }
    ours = medians["golem_nb"]
    return {
        "case": case,
        "rounds": len(rounds["golem_nb"]),
        "medians": {
            side: {figure: rounded(value) for figure, value in values.items()}
            for side, values in medians.items()
        },
        "spread": {
            side: {
                figure: [rounded(choose(values[figure] for values in runs)) for choose in (min, max)]
                for figure in runs[0]
            }
            for side, runs in rounds.items()
        },
        "ratios": {
            side: {
                figure: rounded(ratio(ours[figure], value))
                for figure, value in values.items()
                if figure in ours and value
            }
            for side, values in medians.items()
            if side != "golem_nb"
        },
        "aims": [aim.judge(medians) for aim in aims],
    }
