"""Models as files for other runtimes: ONNX.

    ratings [users, items]      float32: stars, NaN where not rated; a scale may hold 0
    codes [users, K]            what `model.encode` says of new users with these ratings
    stars [users, items]        what `model.predict` says; of models that only rank `scores` instead
    item_codes [items, K]       `model.encode_items`

Everybody is a new user: what was learned of those of the training ratings is not in the file, nor
are side data of users read. Who has a rating outside the scale gets NaN. Metadata of the file:
`items`, ids in the order of the columns, and `scale`, both JSON; `model`, its kind; `recae`, the
version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from recae import __version__
from recae.errors import DataError, RecaeError
from recae.models import Recommender
from recae.models.persistence import kind_of

if TYPE_CHECKING:
    from onnx import ModelProto


def export_onnx(model: Recommender, file: str | Path) -> Path:
    """Write a fitted model to `file`; returns it.

    Raises DataError for a model that cannot be exported or a file that cannot be written,
    RecaeError where onnx is not installed.
    """
    file = Path(file)
    written = onnx_model(model).SerializeToString()
    partial = file.with_name(file.name + ".part")
    try:
        partial.write_bytes(written)
        partial.replace(file)
    except OSError as trouble:
        raise DataError(f"cannot write {file}: {trouble.strerror or trouble}") from None
    finally:
        partial.unlink(missing_ok=True)
    return file


def onnx_model(model: Recommender) -> ModelProto:
    """What is written. Raises as `export_onnx`."""
    try:
        from recae.exporting.files import assembled
    except ImportError:
        raise RecaeError("onnx is not installed: pip install 'recae[onnx]'") from None
    fitted = model.fitted
    metadata = {
        "items": json.dumps(fitted.items.values.tolist(), ensure_ascii=False),
        "scale": json.dumps(list(fitted.scale)),
        "model": kind_of(model),
        "recae": __version__,
    }
    return assembled(model, metadata)
