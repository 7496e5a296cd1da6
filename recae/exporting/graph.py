"""ONNX graphs written as arithmetic: values with operators, of which every one adds a node.

Written out instead of traced from torch, so that the file holds what is meant and nothing else,
with any version of torch; tests hold it against the models themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from recae.errors import DataError

OPSET: Final = 17
_MOST_BYTES: Final = 2_000_000_000
"""Of all constants: a message of protobuf ends at 2 GiB."""

Operand: TypeAlias = "Value | float | NDArray[Any]"


class Value:
    """A tensor of a graph that is being written: [rows, columns]."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def _op(self, kind: str, *others: Operand, **attributes: Any) -> Value:
        return self.graph.op(kind, self, *others, **attributes)

    def __add__(self, other: Operand) -> Value:
        return self._op("Add", other)

    def __sub__(self, other: Operand) -> Value:
        return self._op("Sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self._op("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        return self._op("Div", other)

    def __matmul__(self, other: Operand) -> Value:
        return self._op("MatMul", other)

    def __gt__(self, other: Operand) -> Value:
        return self._op("Greater", other)

    def __ge__(self, other: Operand) -> Value:
        return self._op("GreaterOrEqual", other)

    def __and__(self, other: Operand) -> Value:
        return self._op("And", other)

    @property
    def T(self) -> Value:  # noqa: N802
        return self._op("Transpose")

    def sqrt(self) -> Value:
        return self._op("Sqrt")

    def at_least(self, least: float) -> Value:
        return self._op("Max", least)

    def within(self, low: float, high: float) -> Value:
        """Clipped. NaN stays."""
        return self._op("Clip", low, high)

    def missing(self) -> Value:
        """Where it is NaN."""
        return self._op("IsNaN")

    def number(self) -> Value:
        """Truths as 0 and 1."""
        return self._op("Cast", to=TensorProto.FLOAT)

    def where(self, yes: Operand, no: Operand) -> Value:
        """Of truths: one or the other."""
        return self._op("Where", yes, no)

    def sums(self) -> Value:
        """Of each row: [rows, 1]."""
        return self._op("ReduceSum", np.array([1]), keepdims=1)

    def columns(self, start: int, stop: int) -> Value:
        return self._op("Slice", np.array([start]), np.array([stop]), np.array([1]))

    def beside(self, other: Operand) -> Value:
        """Its columns, then the other's."""
        return self._op("Concat", other, axis=1)

    def any(self) -> Value:
        """Of truths: whether there is one, a single truth; none where there are no rows."""
        count = self.number()._op("ReduceSum", keepdims=0)
        return count > 0.0


class Graph:
    """Nodes and constants; equal constants are kept once."""

    def __init__(self, outer: Graph | None = None) -> None:
        """outer: the graph of which this is a part, and whose constants it uses."""
        self.nodes: list[NodeProto] = []
        self._root: Graph = self if outer is None else outer._root
        self._constants: dict[tuple[Any, ...], TensorProto] = {}
        self._bytes = self._names = 0

    def op(self, kind: str, *operands: Operand, outputs: int = 1, **attributes: Any) -> Value:
        """The (first) output of a new node."""
        return self.ops(kind, *operands, outputs=outputs, **attributes)[0]

    def ops(self, kind: str, *operands: Operand, outputs: int, **attributes: Any) -> list[Value]:
        """All outputs of a new node."""
        names = [self.value(each).name for each in operands]
        found = [Value(self, self._name(kind.lower())) for _ in range(outputs)]
        out = [each.name for each in found]
        self.nodes.append(helper.make_node(kind, names, out, **attributes))
        return found

    def value(self, given: Operand) -> Value:
        """A value as it is; arrays as constants, and numbers as constants of float32. Raises
        DataError where they are too many for a file."""
        if isinstance(given, Value):
            return given
        array = np.asarray(given, None if isinstance(given, np.ndarray) else np.float32)
        root = self._root
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in root._constants:
            root._bytes += array.nbytes
            if root._bytes > _MOST_BYTES:
                raise DataError(
                    "the model has more than the 2 GB of weights that an ONNX file can hold: "
                    "train one with a smaller k, or on fewer items"
                )
            tensor = numpy_helper.from_array(np.asarray(array, order="C"), root._name("constant"))
            root._constants[key] = tensor
        return Value(self, root._constants[key].name)

    def loop(
        self,
        most: int,
        body: Callable[[list[Value]], tuple[Value, list[Value]]],
        state: Sequence[Value],
    ) -> list[Value]:
        """What `state`, of floats, becomes by `body`, at most so many times: it gives whether to
        go on, and the next state; it may read values of this graph."""
        inner = Graph(self)
        number, going = inner._name("turn"), inner._name("going")
        before = [Value(inner, inner._name("before")) for _ in state]
        on, after = body(before)
        # An output of a body must be a node's own.
        results = [inner.op("Identity", each) for each in (on, *after)]
        said = helper.make_tensor_value_info
        inputs = [
            said(number, TensorProto.INT64, []),
            said(going, TensorProto.BOOL, []),
            *(said(each.name, TensorProto.FLOAT, None) for each in before),
        ]
        outputs = [
            said(results[0].name, TensorProto.BOOL, []),
            *(said(each.name, TensorProto.FLOAT, None) for each in results[1:]),
        ]
        graph = helper.make_graph(inner.nodes, "turn", inputs, outputs)
        return self.ops(
            "Loop", np.array(most), np.array(True), *state, outputs=len(state), body=graph
        )

    def close(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """The whole graph."""
        return helper.make_graph(
            self.nodes, name, inputs, outputs, list(self._root._constants.values())
        )

    def named(self, name: str, value: Value) -> None:
        """`value` under the name of an output."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name]))

    def _name(self, stem: str) -> str:
        self._root._names += 1
        return f"{stem}_{self._root._names}"
