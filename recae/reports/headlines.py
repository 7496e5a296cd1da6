"""What a comparison says in sentences: what is best, by how much, for how many, and is it luck."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recae.comparison import Comparison, Difference, Row, direction
from recae.reports.rendering import p_value, titled


@dataclass(frozen=True)
class Headline:
    """One metric in two lines."""

    metric: str
    best: str
    """Which group is best, and what that is worth."""
    verdicts: list[tuple[str, list[str]]]
    """Verdict -> groups, `better` first; those without one left out."""


def headlines(comparison: Comparison, metrics: Sequence[str]) -> list[Headline]:
    """On each of the metrics that any group has."""
    return [
        _headline(comparison, metric, rows)
        for metric in metrics
        if (rows := _ranked(comparison, metric))
    ]


def _ranked(comparison: Comparison, metric: str) -> list[Row]:
    """The groups that have the metric, best first."""
    able = [row for row in comparison.rows if not math.isnan(row.metric(metric)[0])]
    return sorted(able, key=lambda row: -direction(metric) * row.metric(metric)[0])


def _headline(comparison: Comparison, metric: str, rows: Sequence[Row]) -> Headline:
    first, name = rows[0], titled(metric)
    which = "lowest" if direction(metric) < 0 else "highest"
    best = f"{first.name} has the {which} {name}, {first.metric(metric)[0]:.4f}"
    compared = next((row for row in rows if metric in row.differences), None)
    if compared is None:
        told = f"{best}."
    else:
        difference = compared.differences[metric]
        who = "" if compared is first else f"; next is {compared.name},"
        told = f"{best}{who or ','} {_worth(difference, comparison.baseline)}"
    return Headline(metric, told, list(_by_verdict(rows, metric)))


def _worth(found: Difference, baseline: str) -> str:
    users = found.wins + found.ties + found.losses
    side = "above" if found.value > 0 else "below"
    luck = "This may be luck" if found.verdict == "no difference" else "This is more than luck"
    within = f" (95 % interval {found.low:+.4f} to {found.high:+.4f})"
    return (
        f"{abs(found.value):.4f} {side} {baseline}{'' if math.isnan(found.low) else within}: "
        f"better for {found.wins:,} of {users:,} users, worse for {found.losses:,}. "
        f"{luck} (p {p_value(found.p_holm, sign=True)})."
    )


def _by_verdict(rows: Sequence[Row], metric: str) -> Iterator[tuple[str, list[str]]]:
    for verdict in ("better", "worse", "no difference"):
        names = [
            row.name
            for row in rows
            if metric in row.differences and row.differences[metric].verdict == verdict
        ]
        if names:
            yield verdict, names
