"""Comparisons as tables and records, for people and for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from recae.comparison import Comparison, Difference, Row, direction
from recae.comparison.agreement import Agreement
from recae.comparison.slices import Gap, Sliced, Value
from recae.errors import RecaeError
from recae.reports.markup import Section
from recae.running import Cost

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN: Final = ("rmse", "mae", "ndcg", "recall")
"""What stands in a leaderboard beside its metric."""

Costs: TypeAlias = Mapping[str, Cost]
"""By group."""


def records(comparison: Comparison, costs: Costs, sort: str = "rmse") -> list[dict[str, Any]]:
    """One flat dict a group: name, runs, every metric's mean and spread, differences, cost.

    Sorted by the metric `sort`, best first (the largest, where that is a matter of taste), groups
    without it last. Raises RecaeError for an unknown metric.
    """
    check_metric(comparison, sort, "sort by")
    sign = 1 if direction(sort) < 0 else -1

    def place(row: Row) -> float:
        value = row.metric(sort)[0]
        return math.inf if math.isnan(value) else sign * value

    return [_record(row, costs.get(row.name)) for row in sorted(comparison.rows, key=place)]


def as_records(comparison: Comparison, costs: Costs, sort: str = "rmse") -> dict[str, Any]:
    """Everything that the comparison holds, ready for JSON."""
    return {
        "baseline": comparison.baseline,
        "protocol": comparison.protocol,
        "models": records(comparison, costs, sort),
    }


def check_metric(comparison: Comparison, metric: str, what: str) -> None:
    """Raises RecaeError for an unknown metric; `what` cannot be done with it."""
    known = comparison.metrics
    if metric not in known:
        raise RecaeError(f"cannot {what} {metric!r}: the metrics are {', '.join(known)}")


def _record(row: Row, cost: Cost | None) -> dict[str, Any]:
    record: dict[str, Any] = {"model": row.name, "runs": row.runs}
    for name, (mean, spread) in row.metrics.items():
        record |= {name: mean, f"{name}_sd": spread}
    for name, difference in row.differences.items():
        record[f"{name}_difference"] = difference.value
        told = asdict(difference)
        record |= {f"{name}_{key}": told[key] for key in told if key not in ("value", "p")}
    took = {"seconds": math.nan, "megabytes": math.nan} if cost is None else asdict(cost)
    return record | took


def to_json(value: Any) -> str:
    """JSON text; what is not a number, as RMSE of a model that only ranks, becomes null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value


def short_table(comparison: Comparison, costs: Costs, sort: str = "rmse") -> Section:
    """The columns that answer most questions. Raises RecaeError for an unknown metric."""
    n = comparison.protocol["n"]
    header = ["model", "RMSE", f"vs {comparison.baseline} (95 %)", "MAE"]
    header += [f"NDCG@{n}", f"Recall@{n}", "coverage", "seconds", "MB"]
    rows = []
    for record in records(comparison, costs, sort):
        row = comparison[record["model"]]
        rows.append(
            [
                row.name,
                _mean(row.metric("rmse"), 4),
                interval(row.differences.get("rmse"), row.name == comparison.baseline),
                _mean(row.metric("mae"), 4),
                _mean(row.metric(f"ndcg_at_{n}"), 4),
                _mean(row.metric(f"recall_at_{n}"), 4),
                _mean(row.metric(f"item_coverage_at_{n}"), 3),
                number(record["seconds"], ".1f"),
                number(record["megabytes"], ",.0f"),
            ]
        )
    return Section("", header, rows)


def verdicts_table(comparison: Comparison, metrics: Sequence[str], sort: str = "rmse") -> Section:
    """A line a group: each metric, its difference to the baseline, and whether that is luck.

    Raises RecaeError for an unknown metric.
    """
    header = ["model"]
    for metric in metrics:
        header += [titled(metric), f"vs {comparison.baseline} (95 %)", "verdict"]
    rows = []
    for record in records(comparison, {}, sort):
        row = comparison[record["model"]]
        cells = [row.name]
        for metric in metrics:
            found = row.differences.get(metric)
            cells.append(_mean(row.metric(metric), 4))
            cells.append(interval(found, row.name == comparison.baseline))
            cells.append("" if found is None else found.verdict)
        rows.append(cells)
    return Section("Verdicts", header, rows)


def leaderboard(comparison: Comparison, costs: Costs, metric: str) -> Section:
    """The best first, with what each is behind the first; whoever is tested and not told from it
    shares its rank. The comparison's baseline is the first. Raises RecaeError for an unknown
    metric."""
    header = ["rank", "model", "seeds", titled(metric), "behind (95 %)", "wins / ties / losses"]
    others = [name for name in _SHOWN if not metric.startswith(name)]
    n = comparison.protocol["n"]
    shown = [name if name in comparison.metrics else f"{name}_at_{n}" for name in others]
    header += [*map(titled, shown), "seconds", "MB"]
    rows = []
    for place, record in enumerate(records(comparison, costs, metric), 1):
        row = comparison[record["model"]]
        found = row.differences.get(metric)
        rank = "1" if found is not None and found.verdict == "no difference" else str(place)
        users = "" if found is None else _users(found)
        cells = ["-" if math.isnan(row.metric(metric)[0]) else rank, row.name, str(row.runs)]
        cells += [_mean(row.metric(metric), 4), "" if found is None else interval(found)]
        cells += [users, *(_mean(row.metric(name), 4) for name in shown)]
        cells += [number(record["seconds"], ".1f"), number(record["megabytes"], ",.0f")]
        rows.append(cells)
    return Section("", header, rows, left=2)


def differences(comparison: Comparison, metric: str, sort: str = "rmse") -> Section:
    """One metric in full: how much, for how many users, and whether it is luck.

    Raises RecaeError for an unknown metric.
    """
    check_metric(comparison, metric, "compare")
    against = f"vs {comparison.baseline}"
    header = ["model", titled(metric), f"{against} (95 %)", "effect", "wins / ties / losses"]
    header += ["p (Holm)", "verdict"]
    rows = []
    for record in records(comparison, {}, sort):
        row = comparison[record["model"]]
        found = row.differences.get(metric)
        cells = [row.name, _mean(row.metric(metric), 4)]
        cells.append(interval(found, row.name == comparison.baseline))
        if found is None:
            rows.append([*cells, "", "", "", ""])
            continue
        told = [f"{found.effect:+.2f}", _users(found), p_value(found.p_holm), found.verdict]
        rows.append([*cells, *told])
    return Section(titled(metric), header, rows)


def every_metric(comparison: Comparison) -> Section:
    """Means over seeds with their spread, a column a group."""
    header = ["metric", *(row.name for row in comparison.rows)]
    rows = [
        [titled(metric), *(_mean(row.metric(metric), 4) for row in comparison.rows)]
        for metric in comparison.metrics
    ]
    return Section("Every metric", header, rows)


def settings_table(settings: Mapping[str, Mapping[str, str]], groups: Sequence[str]) -> Section:
    """The parameters in which groups differ, a column a group."""
    rows = [[name, *(of.get(group, "-") for group in groups)] for name, of in settings.items()]
    return Section("Settings that differ", ["setting", *groups], rows)


def slices_table(found: Sliced) -> Section:
    """Slices of a facet: the baseline's value, and each other group's difference."""
    others = [name for name in found.slices[0].values if name != found.baseline]
    # A baseline that only ranks has no RMSE to subtract: then the others stand as they are.
    against = f" less {found.baseline}" if found.slices[0].gaps else ""
    ratings = "relevant" if found.measure == "recall" else "ratings"
    header = [found.by, "users", ratings, found.baseline]
    header += [name + against for name in others]
    rows = [
        [
            each.label,
            f"{each.users:,}",
            f"{each.ratings:,}",
            _within(each.values[found.baseline]) if found.baseline in each.values else "-",
            *(_gap(each.gaps[name]) if against else _within(each.values[name]) for name in others),
        ]
        for each in found.slices
    ]
    return Section(f"{titled(found.measure)} by {found.by}", header, rows)


def slices_overview(facets: Sequence[Sliced]) -> Section:
    """In how many slices of each facet a group is better and worse than the baseline, by more than
    luck. All of one measure, and with differences."""
    first = facets[0]
    rows = [
        [name, *(_better_and_worse(each, name) for each in facets)] for name in first.slices[0].gaps
    ]
    title = f"Slices in which {titled(first.measure)} is better + or worse − than that of"
    return Section(f"{title} {first.baseline}", ["model", *(each.by for each in facets)], rows)


def _better_and_worse(facet: Sliced, name: str) -> str:
    """`+3 −1 of 10`."""
    verdicts = [each.gaps[name].verdict for each in facet.slices]
    counts = (("+", verdicts.count("better")), ("−", verdicts.count("worse")))
    told = " ".join(f"{sign}{count}" for sign, count in counts if count)
    return f"{told or 0} of {len(verdicts)}"


def agreement_tables(found: Sequence[Agreement], groups: Sequence[str]) -> list[Section]:
    """How alike lists are, a row and a column a group: without and with regard to ranks."""
    by_pair = {(each.one, each.other): each for each in found}
    by_pair |= {(each.other, each.one): each for each in found}

    def tabled(title: str, measure: Callable[[Agreement], float]) -> Section:
        rows = [
            [
                one,
                *(
                    number(measure(by_pair[one, other]), ".2f") if (one, other) in by_pair else "-"
                    for other in groups
                ),
            ]
            for one in groups
        ]
        return Section(title, ["model", *groups], rows)

    return [
        tabled("Items in both lists, of those in either", lambda each: each.overlap),
        tabled("The same, the first places weighing most", lambda each: each.rank_biased),
    ]


def p_value(p: float, *, sign: bool = False) -> str:
    """To three digits; `sign`: with = or < in front."""
    if p < 0.001:
        return "< 0.001" if sign else "<0.001"
    return f"= {p:.3f}" if sign else f"{p:.3f}"


def titled(metric: str) -> str:
    """A metric as it is written in headers: `ndcg_at_10` as NDCG@10."""
    stem, at, n = metric.partition("_at_")
    known = {"rmse": "RMSE", "mae": "MAE", "ndcg": "NDCG", "map": "MAP", "mrr": "MRR"}
    whole, _, rest = stem.partition("_")
    name = known.get(whole, whole.capitalize()) + (f" {rest.replace('_', ' ')}" if rest else "")
    return f"{name}@{n}" if at else name


def table(tabled: Section) -> Table:
    """For a terminal."""
    return rich_table(tabled.header, tabled.rows, left=tabled.left)


def rich_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Table:
    """A plain table; the first `left` columns hold text, the others numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    built = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        # Numbers and the first column are never cut: on a narrow terminal long lines go over.
        width = max(len(cells[place]) for cells in (header, *rows))
        whole = place >= left or not place
        built.add_column(
            name,
            justify="left" if place < left else "right",
            no_wrap=whole,
            min_width=width if whole else None,
        )
    for row in rows:
        built.add_row(*(Text(cell) for cell in row))
    return built


def number(value: float, form: str) -> str:
    """Formatted, `-` where it is none."""
    return "-" if math.isnan(value) else format(value, form)


def _mean(value: tuple[float, float], digits: int) -> str:
    mean, spread = value
    if math.isnan(mean):
        return "-"
    if math.isnan(spread):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ±{spread:.{digits}f}"


def interval(difference: Difference | None, is_baseline: bool = False) -> str:
    """A difference with its interval, where there is one."""
    if difference is None:
        return "baseline" if is_baseline else "-"
    if math.isnan(difference.low):
        return f"{difference.value:+.4f}"
    return f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _users(difference: Difference) -> str:
    return f"{difference.wins:,} / {difference.ties:,} / {difference.losses:,}"


def _within(value: Value) -> str:
    if not math.isfinite(value.low):
        return number(value.value, ".4f")
    return f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"


def _gap(gap: Gap) -> str:
    sign = {"better": " +", "worse": " −"}.get(gap.verdict, "")
    if not math.isfinite(gap.low):
        return number(gap.value, "+.4f")
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]{sign}"
