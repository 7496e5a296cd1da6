"""Comparisons and recommendations as people and scripts read them: table, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from recae.comparison import Comparison, Difference, Row
from recae.errors import RecaeError

if TYPE_CHECKING:
    from rich.table import Table

FORMATS: Final = ("table", "md", "csv", "json")


def records(
    comparison: Comparison, seconds: Mapping[str, float], sort: str = "rmse"
) -> list[dict[str, Any]]:
    """One flat dict a group: name, runs, every metric's mean and spread, differences, seconds.

    Sorted by the metric `sort`, best first, groups without it last. Raises RecaeError for an
    unknown metric.
    """
    known = list(comparison.rows[0].metrics)
    if sort not in known:
        raise RecaeError(f"cannot sort by {sort!r}: the metrics are {', '.join(known)}")
    sign = 1 if sort.startswith(("rmse", "mae")) else -1

    def place(row: Row) -> float:
        value = row.metrics[sort][0]
        return math.inf if math.isnan(value) else sign * value

    return [
        _record(row, seconds.get(row.name, math.nan)) for row in sorted(comparison.rows, key=place)
    ]


def _record(row: Row, seconds: float) -> dict[str, Any]:
    record: dict[str, Any] = {"model": row.name, "runs": row.runs}
    for name, (mean, spread) in row.metrics.items():
        record |= {name: mean, f"{name}_sd": spread}
    for name, difference in row.differences.items():
        record |= {
            f"{name}_difference": difference.value,
            f"{name}_low": difference.low,
            f"{name}_high": difference.high,
            f"{name}_p_holm": difference.p_holm,
        }
    return record | {"seconds": seconds}


def render(
    comparison: Comparison, seconds: Mapping[str, float], *, form: str, sort: str = "rmse"
) -> str:
    """The comparison as `md`, `csv` or `json` text. Raises RecaeError for an unknown metric."""
    flat = records(comparison, seconds, sort)
    if form == "json":
        return to_json(
            {"baseline": comparison.baseline, "protocol": comparison.protocol, "models": flat}
        )
    if form == "csv":
        columns = list(dict.fromkeys(name for record in flat for name in record))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue().rstrip("\n")
    header, rows = cells(comparison, seconds, sort)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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


def cells(
    comparison: Comparison, seconds: Mapping[str, float], sort: str = "rmse"
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the short table: the columns that answer most questions."""
    n = comparison.protocol["n"]
    header = ["model", "RMSE", f"vs {comparison.baseline} (95 %)", "MAE"]
    header += [f"NDCG@{n}", f"Recall@{n}", "coverage", "seconds"]
    rows = []
    for record in records(comparison, seconds, sort):
        row = comparison[record["model"]]
        rows.append(
            [
                row.name,
                _mean(row.metrics["rmse"], 4),
                _interval(row.differences.get("rmse"), row.name == comparison.baseline),
                _mean(row.metrics["mae"], 4),
                _mean(row.metrics.get(f"ndcg_at_{n}"), 4),
                _mean(row.metrics.get(f"recall_at_{n}"), 4),
                _mean(row.metrics.get(f"item_coverage_at_{n}"), 3),
                "-" if math.isnan(record["seconds"]) else f"{record['seconds']:.1f}",
            ]
        )
    return header, rows


def table(comparison: Comparison, seconds: Mapping[str, float], sort: str = "rmse") -> Table:
    """The short table for a terminal."""
    header, rows = cells(comparison, seconds, sort)
    return rich_table(header, rows, left=1)


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


def _mean(value: tuple[float, float] | None, digits: int) -> str:
    """Of a metric that pooled folds lack: nothing."""
    mean, spread = value or (math.nan, math.nan)
    if math.isnan(mean):
        return "-"
    if math.isnan(spread):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ±{spread:.{digits}f}"


def _interval(difference: Difference | None, is_baseline: bool) -> str:
    if difference is None:
        return "baseline" if is_baseline else "-"
    return f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
