"""What recae raises when it is used wrongly: one sentence each, with the remedy in it."""


class RecaeError(Exception):
    """Base of every error that a person can mend; the command line prints it and exits with 2."""


class DataError(RecaeError):
    """Ratings, ids or titles that cannot be used as given."""


class NotFittedError(RecaeError):
    """A model was asked for predictions before `fit` or `load`."""


class RecipeError(RecaeError):
    """A setting that does not exist, has the wrong type, or conflicts with another."""


class ComparisonError(RecaeError):
    """Runs that must not stand in one table: another split, scale, candidate set or averaging."""
