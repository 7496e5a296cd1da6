"""Scoring saved models, and asking any model whether it knows what it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recae.cli.shared import (
    By,
    Columns,
    Diversity,
    Json,
    ModelRef,
    Popularity,
    Source,
    data_recipe,
    named_columns,
    named_model,
    print_json,
)
from recae.errors import RecaeError

if TYPE_CHECKING:
    from recae.leaks import HeldOut
    from recae.models.rules import Rules
    from recae.recipes import DataRecipe, Recipe
    from recae.splits import Holdout


def evaluate(
    model: ModelRef,
    data: Source = None,
    history: Annotated[
        str | None,
        typer.Option(help="Ratings that may be seen; --data are then all to be predicted."),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Without --history: the share of each user's ratings to predict.")
    ] = 0.2,
    recipe: Annotated[
        Path | None, typer.Option(help="Instead of --data: the test ratings of this recipe.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Length of the lists; none: 10, or the recipe's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the share.")] = 0,
    by: By = None,
    diversity: Diversity = 0.0,
    popularity: Popularity = 0.0,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Score a saved model on held-out ratings."""
    from recae.evaluation import evaluate as score

    _check_asked(data, recipe, history, seed)
    fitted = named_model(model)
    relevant = None
    if recipe is not None:
        holdout, read = _test_of(recipe, model)
        n, relevant = n or read.evaluation.n, read.evaluation.relevant
    else:
        holdout = _holdout(data_recipe(model, data, columns), history, share, seed)
    rules: Rules = {"by": by, "diversity": diversity, "popularity": popularity}
    length = 10 if n is None else n
    result = score(fitted, holdout, n=length, relevant=relevant, **rules)
    if as_json:
        print_json(
            {"metrics": result.metrics, "counts": result.counts, "protocol": result.protocol}
        )
        return
    print(result)
    trained = fitted.fitted.users.find(holdout.target.users.values) >= 0
    changed = fitted.known(holdout.history.over(fitted.fitted.items)) < 0
    if overlap := int((trained & changed).sum()):
        print(
            f"note: the model was trained on {overlap:,} of these users with other histories; where"
            " the targets here were in its training data, this error is not a held-out one"
        )


def leak(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model's folder, a tracked run, or FILE.py:NAME for what a Python file calls so "
            "(the file is run): a function (train, test) -> stars, or a model with fit and "
            "predict, as a class or an object.",
        ),
    ],
    data: Source = None,
    history: Annotated[
        str | None,
        typer.Option(help="Ratings to see or to train on; --data are then all to be predicted."),
    ] = None,
    share: Annotated[
        float, typer.Option(help="Without --history: the share of each user's ratings to predict.")
    ] = 0.2,
    recipe: Annotated[
        Path | None, typer.Option(help="Instead of --data: the test ratings of this recipe.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the share, and of what is changed.")] = 0,
    columns: Columns = None,
    as_json: Json = False,
) -> None:
    """Look for held-out ratings in what a model predicts.

    It is asked six times; what is in a Python file is trained each time.

    Exit code 0: no leak; 1: a leak; 2: a mistake, or equal runs differ too much to tell.
    """
    import numpy as np

    from recae.leaks import from_script, guarded, leak_test

    _check_asked(data, recipe, history, seed)
    rng = np.random.default_rng(seed)
    script = _script(model)
    if script is None:
        fitted = named_model(model)
        holdout = (
            _holdout(data_recipe(model, data, columns), history, share, seed)
            if recipe is None
            else _test_of(recipe, model)[0]
        )
        report = leak_test(fitted, holdout, rng=rng)
    else:
        tested = from_script(*script)
        held_out = _to_train_on(data, history, share, recipe, seed, columns)
        with guarded(script[0]):
            report = leak_test(tested, held_out, rng=rng)
    print_json(report.to_dict()) if as_json else print(report)
    if report.leaks or not report.deterministic:
        raise typer.Exit(1 if report.leaks else 2)


def _check_asked(data: str | None, recipe: Path | None, history: str | None, seed: int) -> None:
    """What is held out is said once."""
    if (data is None) == (recipe is None):
        raise RecaeError("say what to predict: --data RATINGS, or --recipe RECIPE.toml")
    if recipe is not None and history is not None:
        raise RecaeError("--history goes with --data: a recipe has its own")
    if seed < 0:
        raise RecaeError(f"--seed must not be negative, and {seed} is")


def _test_of(path: Path, model: str | None = None) -> tuple[Holdout, Recipe]:
    """The test ratings of a recipe, which is that of the model if there is one."""
    from recae.recipes import read_recipe

    recipe = read_recipe(path)
    if model is not None:
        recipe = _of_its_split(model, recipe)
    return recipe.split.split(recipe.data.load(), recipe.data).test, recipe


def _holdout(data: DataRecipe, history: str | None, share: float, seed: int) -> Holdout:
    import numpy as np

    from recae.splits import Holdout, part_of_each

    if history is not None:
        return Holdout.of(data.of(history).load(), data.load())
    return part_of_each(data.load(), target=share, rng=np.random.default_rng(seed))


def _of_its_split(model: str, recipe: Recipe) -> Recipe:
    """A tracked model is scored on its own split only, and of several folds on its own: on
    another, its training ratings would be taken for held-out ones. Raises RecaeError."""
    if Path(model).is_dir():
        return recipe
    from recae.recipes import parse_data
    from recae.tracking import Store, load_run_recipe

    trained = load_run_recipe(Store(), model)
    recipe = recipe.of_fold(trained["split"].get("fold"))
    # What was tracked went through JSON, which knows no tuples.
    asked = json.loads(json.dumps(recipe.resolved))
    same = {
        "data": parse_data(trained["data"]) == recipe.data,
        "split": trained["split"] == asked["split"],
    }
    for part, is_same in same.items():
        if not is_same:
            raise RecaeError(
                f"{model} was trained with other {part} settings than this recipe's, so its "
                "training ratings would count as held-out: use the recipe it was trained with"
            )
    return recipe


def _script(model: str) -> tuple[Path, str] | None:
    """The file and the name in FILE.py:NAME."""
    file, _, name = model.rpartition(":")
    if model.endswith(".py"):
        raise RecaeError(f"say what to test in {model}: {model}:NAME, a function or a model")
    return (Path(file), name) if file.endswith(".py") else None


def _to_train_on(
    data: str | None,
    history: str | None,
    share: float,
    recipe: Path | None,
    seed: int,
    columns: str | None,
) -> HeldOut:
    """Two tables stay as they are: what stands in both is for the test to find."""
    from recae.leaks import frame_of
    from recae.recipes import DataRecipe

    if recipe is not None:
        return _test_of(recipe)[0]
    assert data is not None
    ratings = DataRecipe(data, **named_columns(columns))
    if history is None:
        return _holdout(ratings, None, share, seed)
    return frame_of(ratings.of(history).load()), frame_of(ratings.load())
