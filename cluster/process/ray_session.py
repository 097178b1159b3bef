"""Ray in this process: started here on loopback or joined elsewhere, and gone when the block ends.

Ray replaces our signal handlers with its own, starts itself again when it is called after its end, and prints on a
person's terminal. None of that happens inside `local` and `joined`.
"""

import contextlib
import gc
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from cluster.process import scratch, signals
from cluster.process.own_packages import refuse_hiding_folder
from cluster.process.ray_address import check_answers
from cluster.process.ray_environment import refuse_ray_of_another_environment, set_environment
from cluster.text.masked import masked
from trainer.errors import NotReadyError

# Ray gives its node 30 s to start, however busy the machine is.
TRIES = 2
# A head may be restarted. After a minute without a head, Ray ends this process itself, with exit code 1 and no
# `finally`.
SECONDS_WITHOUT_HEAD = 20.0
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_CONNECT = 2.0
# A socket's path has at most 107 characters, and Ray adds some 66 to the path of its folder.
LONGEST_FOLDER = 40
SECONDS_BETWEEN_HANDLERS = 0.02
NEEDED = ("gcs_server", "raylet")


class Session:
    """The Ray that is connected."""

    def __init__(self) -> None:
        import ray
        from ray._private import worker

        self._node: Any = worker._global_node
        context = ray.get_runtime_context()
        self._node_id = context.get_node_id()
        self._head, _, self._port = context.gcs_address.rpartition(":")
        self._looked_at = self._answered_at = time.monotonic()

    def lost(self) -> str | None:
        """Which part of Ray has ended, so that this session is of no more use; None while nothing has."""
        if self._node.head:
            dead = [name for name, _ in self._node.dead_processes() if name in NEEDED]
            return f"Ray's {dead[0]} on this machine has ended" if dead else None
        now = time.monotonic()
        if now - self._looked_at > SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            if self._answers():
                self._answered_at = now
                return None if self._node_alive() else "the cluster node on which this process runs has ended"
        if now - self._answered_at > SECONDS_WITHOUT_HEAD:
            return f"the head of the cluster at {self._head}:{self._port} no longer answers"
        return None

    def _answers(self) -> bool:
        try:
            socket.create_connection((self._head.strip("[]"), int(self._port)), timeout=SECONDS_TO_CONNECT).close()
        except OSError:
            return False
        return True

    def _node_alive(self) -> bool:
        from ray._private.state import state

        table: list[dict[str, Any]] = state.node_table()
        return any(node["NodeID"] == self._node_id and node["Alive"] for node in table)


@contextlib.contextmanager
def local(**resources: int) -> Iterator[Session]:
    """A Ray of this machine alone, on loopback, in a folder of its own that is removed with it.

    `resources` are those of `ray.init` (`num_cpus`, `num_gpus`); without them, Ray counts the machine's.

    Raises:
        InputError: the current folder hides one of batchscope's packages from Ray's workers.
        NotReadyError: Ray does not start.
    """
    with _folder() as folder:
        start = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_temp_dir": folder, **resources}
        with _connected(lambda thread: _start(thread, folder, start)) as session:
            yield session


@contextlib.contextmanager
def joined(address: str) -> Iterator[Session]:
    """The Ray cluster at `address` (`auto`, or `host:port` of its head), with this process as one of its drivers.

    Raises:
        InputError: the address is of another kind, or the current folder hides one of batchscope's packages from Ray's
            workers.
        NotReadyError: no cluster answers there, or the cluster does not accept this driver.
    """
    check_answers(address)
    with _connected(lambda thread: _join(thread, address)) as session:
        yield session


@contextlib.contextmanager
def _connected(connect: Callable[[ThreadPoolExecutor], None]) -> Iterator[Session]:
    """Connect, and discard what is written to stdout: Ray prints a cluster's warnings there, but it is for results.

    Ray's own logs have its messages.
    """
    refuse_hiding_folder(Path.cwd())
    set_environment()
    refuse_ray_of_another_environment()

    with _ray_thread() as thread, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            connect(thread)
            yield Session()
        finally:
            _undisturbed(thread, _shut_down)


def _shut_down() -> None:
    """End Ray in this process, while nothing of Ray's is released in another thread.

    Ray ends a process, with exit code 1 and no `finally`, in which an ObjectRef or the handle of an actor is released
    while it shuts down (core_worker_process.cc, "has already been shutdown"). What is left of a study in cycles would
    be released by the collector, at any time and in any thread.
    """
    import ray

    collects = gc.isenabled()
    gc.disable()
    try:
        gc.collect()
        ray.shutdown()
    finally:
        if collects:
            gc.enable()


def _start(thread: ThreadPoolExecutor, folder: str, options: dict[str, Any]) -> None:
    import ray

    reason = ""
    for _ in range(TRIES):
        try:
            _undisturbed(
                thread,
                lambda: ray.init(address="local", log_to_driver=False, logging_level=logging.CRITICAL, **options),
            )
            return
        except Exception as problem:  # noqa: BLE001 - Ray raises no class of its own for a node that is late
            reason = _line(problem)
            _undisturbed(thread, _shut_down)
            _kill_all(folder)
    raise NotReadyError(
        f"Ray did not start on this machine in {TRIES} tries ({reason}): end other programs or wait until they have "
        "ended, check the free space in /tmp and /dev/shm, and run the same command again"
    )


def _join(thread: ThreadPoolExecutor, address: str) -> None:
    import ray

    try:
        _undisturbed(thread, lambda: ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL))
    except (OSError, RuntimeError, ValueError) as problem:
        raise NotReadyError(
            f"no Ray cluster can be joined at {masked(address)} ({_line(problem)}): start one with `ray start --head`, "
            "or check the address and, if it asks for a token, RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH"
        ) from None


@contextlib.contextmanager
def _ray_thread() -> Iterator[ThreadPoolExecutor]:
    """A thread in which Ray starts and ends; the system ends Ray's processes when the thread that started them ends.

    SIGHUP stays blocked in the processes that begin there, as Ray itself blocks SIGINT: when a terminal closes, only
    the driver receives the signal, and saves.
    """
    pool = ThreadPoolExecutor(1, "ray", initializer=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)


def _undisturbed(thread: ThreadPoolExecutor, call: Callable[[], object]) -> None:
    """Let Ray start or end; signals wait until it has, and no handler of Ray's replaces ours.

    Ray's C++ part sets the system's handler of SIGTERM when it starts and when it ends, and no setting prevents that.
    So Ray works in another thread, and this one puts our handlers back again and again.
    """
    from ray._private import utils

    with signals.deferred():
        theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, _left_alone
        try:
            done = thread.submit(call)
            while not wait([done], SECONDS_BETWEEN_HANDLERS).done:
                signals.put_back()
            signals.put_back()
        finally:
            utils.set_sigterm_handler = theirs
        done.result()


def _left_alone(handler: object) -> None:
    """Do nothing; stands in for Ray's function that would set a handler."""


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A new folder for Ray's sockets and logs; whatever happens, neither it nor a process of that Ray is left."""
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    prefix = "batchscope-ray-"
    if len(f"{root}/{prefix}12345678") > LONGEST_FOLDER:
        root = "/tmp"
    with scratch.folder(prefix, root, end=_kill_all) as folder:
        yield folder


def _kill_all(folder: str) -> None:
    """Kill Ray's processes that name the folder in their command line; their own children end with them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"={folder}".encode() in file.read_bytes() and int(file.parent.name) != os.getpid():
                os.kill(int(file.parent.name), signal.SIGKILL)


def _line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
