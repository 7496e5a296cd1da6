"""Scoring a fitted model on a holdout: errors, lists, and every single answer."""

from recae.evaluation.scoring import ERRORS, RANKING, Evaluation, evaluate
from recae.evaluation.shortening import shortened

__all__ = ["ERRORS", "RANKING", "Evaluation", "evaluate", "shortened"]
