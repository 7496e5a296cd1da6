"""How long `recae serve` takes to answer, under load on this machine.

    python pipelines/benchmarks/serving.py [--data ml-latest-small | --model FOLDER]
        [--rate 200] [--seconds 20]

Starts the server in a process of its own, on a dual AutoRec with k = 64 that is trained here, or on
the model in FOLDER, and asks it over connections that are kept, as persons with 20 ratings each.
Two loads, both without reasons and with them:

- a fixed rate of arrivals, whether the last request is answered or not; how long a request took is
  counted from when it was to be sent, so that one that waits for another is counted in full;
- as many requests as are answered, from eight people who ask again as soon as they are answered.

Server and load share the machine's cores. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

import recae
from recae.models import Recommender, load_model

PERSONS = 500
RATINGS = 20
CONNECTIONS = 32
PEOPLE = 8
WARM_SECONDS = 2.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main() -> None:
    """Train, serve, ask; print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", default="ml-latest-small")
    arguments.add_argument("--model", type=Path)
    arguments.add_argument("--rate", type=float, default=200)
    arguments.add_argument("--seconds", type=float, default=20)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    print("| reasons | asked/s | p50 ms | p99 ms | worst ms | answered/s | at most/s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or trained(given.data, Path(scratch) / "model")
        model = load_model(folder)
        with server(folder, given.threads) as port:
            for explain in (False, True):
                asked = requests(model, explain=explain)
                row = asyncio.run(measured(port, asked, given.rate, given.seconds))
                print(f"| {'yes' if explain else 'no'} | {given.rate:g} | {row} |", flush=True)


def trained(data: str, folder: Path) -> Path:
    """The folder of a model of all ratings."""
    ratings = recae.load(data)
    return recae.AutoRec.dual(k=64).fit(ratings, rng=np.random.default_rng(0)).save(folder)


@contextmanager
def server(folder: Path, threads: int) -> Iterator[int]:
    """The port of `recae serve`, while the block lasts."""
    command = [sys.executable, "-m", "recae.cli", "serve", str(folder), "--port", "0"]
    command += ["--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = urlsplit(process.stdout.readline().strip()).port
            assert port is not None, "the server did not start"
            yield port
        finally:
            process.terminate()


def requests(model: Recommender, *, explain: bool) -> list[bytes]:
    """Of persons who rate what many rate, each of them as HTTP."""
    rng = np.random.default_rng(0)
    counts, (low, high) = model.fitted.item_counts, model.fitted.scale
    messages = []
    for _ in range(PERSONS):
        rows = rng.choice(len(counts), RATINGS, replace=False, p=counts / counts.sum())
        stars = rng.integers(int(np.ceil(low)), int(high), RATINGS, endpoint=True)
        items = model.fitted.items.values[rows].tolist()
        rated = zip(items, stars.tolist(), strict=True)
        ratings = [{"item": item, "stars": given} for item, given in rated]
        body = json.dumps({"ratings": ratings, "n": 10, "explain": explain}).encode()
        head = (
            "POST /api/recommend HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        messages.append(head.encode() + body)
    return messages


async def measured(port: int, asked: Sequence[bytes], rate: float, seconds: float) -> str:
    """Cells of the table."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    # A collection of the generator's would be counted as the server's.
    gc.collect()
    gc.disable()
    await at_rate(streams, asked, rate, WARM_SECONDS)
    took, answered = await at_rate(streams, asked, rate, seconds)
    most = await at_most(streams[:PEOPLE], asked, seconds / 2)
    gc.enable()
    for _, writer in streams:
        writer.close()
    p50, p99, worst = (1000 * float(np.quantile(took, q)) for q in (0.5, 0.99, 1))
    return f"{p50:.1f} | {p99:.1f} | {worst:.1f} | {answered:.0f} | {most:.0f}"


async def at_rate(
    streams: Sequence[Stream], asked: Sequence[bytes], rate: float, seconds: float
) -> tuple[list[float], float]:
    """Seconds that each request took from when it was due, and answers per second."""
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    took: list[float] = []
    begun = time.perf_counter() + 0.1
    count = int(rate * seconds)

    async def ask(stream: Stream) -> None:
        while True:
            planned, message = await due.get()
            await answer(stream, message)
            took.append(time.perf_counter() - planned)
            due.task_done()

    people = [asyncio.create_task(ask(stream)) for stream in streams]
    for number, message in zip(range(count), cycle(asked), strict=False):
        planned = begun + number / rate
        if (wait := planned - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        due.put_nowait((planned, message))
    await due.join()
    ended = time.perf_counter()
    for person in people:
        person.cancel()
    await asyncio.gather(*people, return_exceptions=True)
    return took, count / (ended - begun)


async def at_most(streams: Sequence[Stream], asked: Sequence[bytes], seconds: float) -> float:
    """Answers per second to people who ask again as soon as they are answered."""
    messages, end, count = cycle(asked), time.perf_counter() + seconds, 0

    async def ask(stream: Stream) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await answer(stream, next(messages))
            count += 1

    begun = time.perf_counter()
    await asyncio.gather(*(ask(stream) for stream in streams))
    return count / (time.perf_counter() - begun)


async def answer(stream: Stream, message: bytes) -> bytes:
    """The body of an answer, which is a list."""
    reader, writer = stream
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    _, _, rest = head.partition(b"content-length: ")
    body = await reader.readexactly(int(rest.partition(b"\r\n")[0]))
    assert head.startswith(b"HTTP/1.1 200"), body
    return body


if __name__ == "__main__":
    main()
