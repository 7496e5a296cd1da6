"""Where runs are kept, and what can go wrong there."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from recae.errors import RecaeError

HOST: Final = socket.gethostname()
_URI: Final = "MLFLOW_TRACKING_URI"

_logger = logging.getLogger(__name__)
# They tell of every locked database, with a traceback, and of every try to reach a server, before
# they raise what is told in one sentence.
for _chatty in ("mlflow.store.db.utils", "urllib3.connectionpool"):
    logging.getLogger(_chatty).setLevel(logging.CRITICAL)


class StoreError(RecaeError):
    """The store itself cannot be used; nothing is wrong with what was asked of it."""


@dataclass(frozen=True)
class Store:
    """Where runs are kept: the server or database of MLFLOW_TRACKING_URI, else `folder`.

    Checkpoints and studies are in `folder` always: they are of use on this machine only.
    """

    folder: Path = Path("recae-runs")
    is_outbox: bool = False
    """In `folder` whatever MLFLOW_TRACKING_URI says."""

    @property
    def uri(self) -> str:
        """The tracking URI."""
        return self._named or f"sqlite:///{self._database}"

    @property
    def is_server(self) -> bool:
        """A tracking server, which has its own page and keeps artifacts itself."""
        return self.uri.startswith(("http://", "https://", "databricks"))

    @property
    def name(self) -> str:
        """The store as it is shown: without a password."""
        return _without_password(self._named or str(self.folder))

    @property
    def outbox(self) -> Store:
        """Where runs wait that this store could not take."""
        return Store(self.folder / "outbox", is_outbox=True)

    @property
    def exists(self) -> bool:
        """Somebody has kept runs here; what MLFLOW_TRACKING_URI names is taken to exist."""
        return self._named is not None or self._database.exists()

    @property
    def artifacts(self) -> Path:
        """Where artifacts of a local store are."""
        return self.folder.resolve() / "artifacts"

    @property
    def studies(self) -> Path:
        """Where the files are from which studies of settings go on."""
        return self.folder / "studies"

    def checkpoint(self, run_id: str) -> Path:
        """The checkpoint of a run, which may not exist."""
        return self.folder / "checkpoints" / f"{run_id}.safetensors"

    def open(self, *, create: bool = False) -> MlflowClient:
        """A client of the store, in which the runs of dead processes are marked as killed.

        Raises StoreError where the store cannot be reached, RecaeError where it does not exist and
        is not to be created.
        """
        if not create and not self.exists:
            raise RecaeError(f"there are no tracked runs in {self.name}: train a recipe first")
        with explained(self), warnings.catch_warnings():
            # MLflow uses what SQLAlchemy is about to drop.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.folder.mkdir(parents=True, exist_ok=True)
            client = MlflowClient(self.uri)
            _reap(client)
        return client

    @property
    def _named(self) -> str | None:
        return None if self.is_outbox else os.environ.get(_URI) or None

    @property
    def _database(self) -> Path:
        return self.folder.resolve() / "mlflow.db"


@contextmanager
def explained(store: Store) -> Iterator[None]:
    """Raises StoreError, one sentence, for trouble with the store."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as trouble:
        raise StoreError(
            f"the tracking store {store.name} cannot be used: {sentence(trouble)}"
        ) from trouble


def is_mistake(refusal: MlflowException) -> bool:
    """Whether something is wrong with what was asked of the store, and nothing with the store."""
    return refusal.error_code in (
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    )


@contextmanager
def tolerated(what: str) -> Iterator[None]:
    """Tracking must never lose a training: whatever goes wrong is told, no more."""
    try:
        yield
    except Exception as trouble:
        _logger.warning("%s: %s", what, sentence(trouble))


def sentence(trouble: BaseException) -> str:
    """What it says, without the lines below and without passwords."""
    lines = str(trouble).strip().splitlines()
    if lines and "Max retries exceeded" in lines[0]:
        return "it does not answer"
    return _without_password(lines[0]) if lines else type(trouble).__name__


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


@contextmanager
def as_default(store: Store) -> Iterator[None]:
    """The store as MLflow's own default, where it logs and looks for models.

    `set_tracking_uri` would outlast the block, in the environment too.
    """
    before = os.environ.get(_URI)
    os.environ[_URI] = store.uri
    try:
        yield
    finally:
        del os.environ[_URI]
        if before is not None:
            os.environ[_URI] = before


def _reap(client: MlflowClient) -> None:
    """Mark runs of this host as killed whose process is gone: a `kill -9` leaves no other trace."""
    running = f"attributes.status = 'RUNNING' and tags.`recae.host` = '{HOST}'"
    for run in list(search(client, running)):
        tag = run.data.tags["recae.process"]
        if tag != process(int(tag.partition("@")[0])):
            client.set_terminated(run.info.run_id, "KILLED")


def process(pid: int) -> str | None:
    """A living process as "pid@start", so that a later one with the same number is another; None
    for a dead one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        # After the name, which may hold anything: the state, and 19 fields on the start.
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return str(pid)
    return None if stat[0] == "Z" else f"{pid}@{stat[19]}"


def search(
    client: MlflowClient, where: str = "", experiments: Sequence[Experiment] | None = None
) -> Iterator[Run]:
    """Runs, newest first, of all experiments if none are given."""
    chosen = client.search_experiments() if experiments is None else experiments
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id for experiment in chosen],
            where,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return
