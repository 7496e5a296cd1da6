"""What the loop trains: learners, and the network of two sides and a head that most of them are."""

from __future__ import annotations

from typing import Final, NamedTuple

from torch import Tensor, nn

from recae.nn.heads import Head, Loss, Squares
from recae.nn.sides import Codes, Seen, Side, Sum, Table, Tied

_PLACES: Final = ("positions", "offsets")


class Lesson(NamedTuple):
    """What a step of training came to."""

    loss: Loss
    penalty: Tensor | float
    """Summed over rows, like that of `Codes`."""
    measured: dict[str, Tensor]


class Learner(nn.Module):
    """Contract of what can be trained: a loss at some entries, given what is seen of the others."""

    @property
    def metric(self) -> str:
        """The name of what is reported."""
        return "rmse"

    def summary(self, error: float) -> float:
        """What is reported of `Loss.error`, a mean over steps."""
        return error

    @property
    def takes_batches(self) -> bool:
        """It can learn from some rows at a time, because nothing else is learned of a row."""
        return False

    def renew(self) -> None:
        """A round of training begins: that of `Training.alternate`, or a pass over the rows."""

    def turns(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """What learns in turn where `Training.alternate` asks for turns. Raises ValueError."""
        raise ValueError("this network has no sides that could take turns: leave alternate out")

    def lesson(self, data: Seen, seen: Seen, counted: Tensor | None) -> Lesson:
        """The loss at the entries of `data` where `counted` [E] is 1, None: at all of them, for a
        network that reads what is `seen`."""
        raise NotImplementedError

    def shrunk(self, *, biases: bool) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that regularisation shrinks, and those that it spares: places in a space
        or on a scale, of which zero is no simpler than another, and biases unless wanted."""
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        # torch calls those of an LSTM bias_ih_l0.
        spared = [
            p
            for name, p in named
            if name.endswith(_PLACES) or ("bias" in name.rsplit(".", 1)[-1] and not biases)
        ]
        return [p for _, p in named if not any(p is other for other in spared)], spared


class Network(Learner):
    """r_rc = bias_r + bias_c + <p_r, q_c>, with dropout on the codes of both sides; the head says
    how that becomes a value, and what a wrong one costs.

    Where one side shares its weights, they take the place of the other.
    """

    def __init__(
        self, rows: Side, columns: Side, *, dropout: float, head: Head | None = None
    ) -> None:
        super().__init__()
        self.rows = Tied(columns.shared) if columns.shared is not None else rows
        self.columns = Tied(rows.shared) if rows.shared is not None else columns
        self.head = Squares() if head is None else head
        self.dropout = nn.Dropout(dropout)

    def forward(self, seen: Seen) -> tuple[Codes, Codes]:
        rows, columns = self.rows(seen), self.columns(seen.T)
        return (
            rows._replace(vectors=self.dropout(rows.vectors)),
            columns._replace(vectors=self.dropout(columns.vectors)),
        )

    @property
    def metric(self) -> str:
        return self.head.metric

    def summary(self, error: float) -> float:
        return self.head.summary(error)

    @property
    def takes_batches(self) -> bool:
        tables = Table | Tied
        return isinstance(self.columns, tables) and not isinstance(self.rows, tables | Sum)

    def renew(self) -> None:
        self.rows.renew()
        self.columns.renew()

    def turns(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The rows' side, then the rest: the columns' side, and what the head learns."""
        rows = [p for p in self.rows.parameters() if p.requires_grad]
        others = (p for part in (self.columns, self.head) for p in part.parameters())
        return rows, [p for p in others if p.requires_grad]

    def lesson(self, data: Seen, seen: Seen, counted: Tensor | None) -> Lesson:
        rows, columns = self(seen)
        left, right = (rows.vectors, rows.bias), (columns.vectors, columns.bias)
        loss = self.head.loss(left, right, data.values, counted)
        measured = {
            f"{side}/{name}": value
            for side, codes in (("rows", rows), ("columns", columns))
            for name, value in codes.measured.items()
        }
        return Lesson(loss, rows.penalty + columns.penalty, measured)
