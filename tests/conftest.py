"""What tests share: small prepared data sets, trials, and an environment without credentials or a GPU."""

import hashlib
import itertools
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from cluster.process import signals
from cluster.process.ray_environment import set_environment
from tests.support import compiled
from tests.support.trials import TINY
from trainer.data.manifest import Manifest, Shard, Split, identified, read, sha256_of_file
from trainer.data.store import Folder
from trainer.trial import OPTIMIZERS, TrialSpec

# Some tests import Ray themselves.
set_environment()
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# How long an example takes is no matter of what is tested: beside other work it takes seconds.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("few", settings.get_profile("untimed"), max_examples=20)
settings.load_profile("untimed")
VOCABULARY = 40
CHOSEN_OPTIMIZERS = ("sgd", "adam", "lion", "muon")
CLASSES = 3


COMPILED = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """A command of its own for what takes too long for every change."""
    parser.addoption(
        "--long",
        action="store_true",
        help="every model in every layout, and every signal in every phase, not a choice of them",
    )


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether campaigns run in full."""
    return bool(request.config.getoption("long"))


def pytest_configure(config: pytest.Config) -> None:
    """Compile once a run; the processes of a shared run inherit the folder."""
    config.stash[COMPILED] = compiled.keep()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    compiled.drop(config.stash[COMPILED])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`chosen_optimizer`: those with a way of their own through the trainer; with --long all ten."""
    if "chosen_optimizer" in metafunc.fixturenames:
        long = metafunc.config.getoption("long")
        metafunc.parametrize("chosen_optimizer", OPTIMIZERS if long else CHOSEN_OPTIMIZERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks the S3 server is slow: `make check` leaves it out."""
    for item in items:
        if "s3_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No credentials, no cache of shards but the session's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("BATCHSCOPE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A command that a test calls in this process leaves its handlers to nobody."""
    before = {number: signal.getsignal(number) for number in signals.EXIT_CODES}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def write_prepared(
    folder: Path, *, train: int = 51, held_out: int = 17, shards: int = 3, longest: int = 12, seed: int = 0
) -> Manifest:
    """A prepared data set of random rows whose label is told by their first token; shards of uneven size."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    splits = {}
    for name, rows in (("train", train), ("validation", held_out), ("test", held_out)):
        tokens = [random.integers(2, VOCABULARY, random.integers(1, longest + 1)).astype("uint16") for _ in range(rows)]
        labels = np.array([row[0] % CLASSES for row in tokens], "int32")
        bounds = [0, *sorted(random.choice(np.arange(1, rows), shards - 1, replace=False)), rows]
        written = []
        for number, (first, last) in enumerate(itertools.pairwise(bounds)):
            file = folder / f"{name}-{number:05d}.parquet"
            columns = {
                "row": pa.array(range(first, last), pa.int64()),
                "tokens": pa.array(tokens[first:last], pa.list_(pa.uint16())),
                "label": pa.array(labels[first:last], pa.int32()),
            }
            pq.write_table(pa.table(columns), file)
            count = sum(map(len, tokens[first:last]))
            written.append(
                Shard(
                    file=file.name,
                    rows=int(last - first),
                    tokens=count,
                    bytes=file.stat().st_size,
                    sha256=sha256_of_file(str(file)),
                )
            )
        splits[name] = Split(
            rows=rows,
            tokens=sum(map(len, tokens)),
            label_counts=tuple(np.bincount(labels, minlength=CLASSES).tolist()),
            length_histogram=(),
            shards=tuple(written),
            digest=hashlib.sha256(repr((name, rows, longest, seed)).encode()).hexdigest(),
        )
    unidentified = Manifest(
        task="classification",
        token_dtype="uint16",
        label_dtype="int32",
        vocabulary_size=VOCABULARY,
        max_tokens=longest,
        label_names=tuple("abc"),
        tokenizer_sha256="",
        splits=splits,
        skipped_rows=0,
        tool_version="0",
        data_hash="",
    )
    manifest = identified(unidentified)
    (folder / "manifest.json").write_text(manifest.to_json())
    return manifest


def hash_of(folder: Path | str) -> str:
    """The `data_hash` of a prepared data set."""
    return read(Folder(str(folder))).data_hash


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared data set of 51 training rows in 3 uneven shards."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    write_prepared(folder)
    return folder


@pytest.fixture
def tiny_trial() -> Callable[..., TrialSpec]:
    """A small trial; keywords change it."""

    def change(**changes: Any) -> TrialSpec:
        return replace(TINY, **changes)

    return change


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a local server that speaks S3, on loopback only."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket's name; the environment has fake credentials and the server's address."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
