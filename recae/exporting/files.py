"""A graph and what is to be known of it, as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from recae.exporting.graph import OPSET, Graph, Value
from recae.exporting.models import said
from recae.models import Recommender
from recae.models.encodes import encoding

_IR: int = 8
"""The format of the file in which OPSET came out, so that runtimes since then can read it."""


def assembled(model: Recommender, metadata: Mapping[str, str]) -> ModelProto:
    """A fitted `model`; `recae.exporting` says what goes in and out. Raises DataError."""
    graph, n_items = Graph(), len(model.fitted.items)
    codes, predicted = said(model, Value(graph, "ratings"))
    item_codes = encoding(model).encode_items()
    graph.named("codes", codes)
    what = "stars" if model.predicts_stars else "scores"
    graph.named(what, predicted)
    graph.named("item_codes", graph.value(item_codes))
    width = item_codes.shape[1]
    inputs = [_described("ratings", ["users", n_items], "stars; NaN where not rated")]
    outputs = [
        _described("codes", ["users", width], "zero where nothing is known"),
        _described(what, ["users", n_items], "of rated items too; NaN of users outside the scale"),
        _described("item_codes", [n_items, width], "zero where nothing is known"),
    ]
    whole = helper.make_model(
        graph.close(type(model).__name__, inputs, outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR,
        producer_name="recae",
        producer_version=metadata["recae"],
    )
    helper.set_model_props(whole, dict(metadata))
    return whole


def _described(name: str, shape: list[str | int], text: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, doc_string=text)
