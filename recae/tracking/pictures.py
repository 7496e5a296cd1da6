"""What a run looks like: pictures that are kept with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recae.comparison.facets import FACETS
from recae.comparison.slices import calibration, sliced
from recae.errors import DataError
from recae.evaluation import Evaluation
from recae.models import Recommender
from recae.running import Outcome

if TYPE_CHECKING:
    from recae.plots import Figure

_NAMED_FROM: Final = 20
"""Ratings that an item needs to be on the map: of fewer, little is known."""


def write_pictures(
    outcome: Outcome, curves: Mapping[str, Mapping[int, float]], folder: Path
) -> None:
    """PNG files: curves, calibration, slices and latent, each where there is something to see.

    curves: `train/rmse` and `val/rmse`, step -> value.
    """
    for name, figure in _pictures(outcome, curves):
        figure.savefig(folder / f"{name}.png")


def _pictures(
    outcome: Outcome, curves: Mapping[str, Mapping[int, float]]
) -> Iterator[tuple[str, Figure]]:
    from recae import plots

    if any(curves.values()):
        yield "curves", plots.curves(curves)
    if outcome.model.predicts_stars:
        yield "calibration", plots.calibration({"": calibration([outcome.evaluation])})
    yield (
        "slices",
        _slices(outcome.evaluation, "rmse" if outcome.model.predicts_stars else "recall"),
    )
    drawn = _latent(outcome.model)
    if drawn is not None:
        yield "latent", drawn


def _slices(evaluation: Evaluation, measure: str) -> Figure:
    from recae import plots

    found = [sliced({"": [evaluation]}, by, baseline="", measure=measure) for by in FACETS]
    return plots.slices([each for each in found if each is not None])


def _latent(model: Recommender) -> Figure | None:
    from recae import maps, plots

    try:
        drawn = maps.map_items(model, colour="genre", method="pca", least=_NAMED_FROM)
    except DataError:
        # A model without codes, items without genres, or hardly any items.
        return None
    return plots.latent(drawn)
