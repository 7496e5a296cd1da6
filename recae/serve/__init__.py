"""A page and an API on loaded models, on this machine.

`engine` is a model and what it answers, without a web; `reloading` holds models and takes new
versions; `app` is what is asked over HTTP, behind the `guard`; `running` is the process.
"""

from __future__ import annotations

from recae.serve.running import serve
from recae.serve.sources import Folder, Source, Tracked

__all__ = ["Folder", "Source", "Tracked", "serve"]
