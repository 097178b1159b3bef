"""Ray in this process: started here on loopback or joined elsewhere, and gone when the block ends.

Ray puts handlers of its own in the place of ours, starts itself again when somebody asks it something after its end,
and prints on a person's terminal. None of that happens inside `local` and `joined`.
"""

import contextlib
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

# Ray gives its node 30 s to start, whatever else the machine does.
TRIES = 2
# A head may be restarted. After a minute without it Ray ends this process itself, with exit code 1 and no `finally`.
SECONDS_WITHOUT_HEAD = 20.0
SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_CONNECT = 2.0
# A socket's path has 107 characters at most, and Ray adds some 66 to its folder's.
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
        """What of it has ended, so that nothing more can come of it; None while it is whole."""
        if self._node.head:
            dead = [name for name, _ in self._node.dead_processes() if name in NEEDED]
            return f"Ray's {dead[0]} on this machine has ended" if dead else None
        now = time.monotonic()
        if now - self._looked_at > SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            if self._answers():
                self._answered_at = now
                return None if self._node_alive() else "the node of the cluster that this process stands on has ended"
        if now - self._answered_at > SECONDS_WITHOUT_HEAD:
            return f"the head of the cluster at {self._head}:{self._port} does not answer any more"
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
    """A Ray of this machine alone, on loopback, in a folder of its own that goes with it.

    `resources` are those of `ray.init` (`num_cpus`, `num_gpus`); without them it counts the machine's.

    Raises:
        InputError: the current folder hides a package of ours from Ray's workers.
        NotReadyError: it does not start.
    """
    with _folder() as folder:
        start = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_temp_dir": folder, **resources}
        with _connected(lambda thread: _start(thread, folder, start)) as session:
            yield session


@contextlib.contextmanager
def joined(address: str) -> Iterator[Session]:
    """The Ray cluster at `address` (`auto`, or `host:port` of its head), with this process as a driver of it.

    Raises:
        InputError: an address of another kind, or the current folder hides a package of ours from Ray's workers.
        NotReadyError: no cluster answers there, or it does not take us.
    """
    check_answers(address)
    with _connected(lambda thread: _join(thread, address)) as session:
        yield session


@contextlib.contextmanager
def _connected(connect: Callable[[ThreadPoolExecutor], None]) -> Iterator[Session]:
    """Ray prints a cluster's warnings on the driver's stdout, which is for results: inside, stdout leads nowhere.

    What Ray has to say is in its own logs.
    """
    refuse_hiding_folder(Path.cwd())
    set_environment()
    refuse_ray_of_another_environment()
    import ray

    with _ray_thread() as thread, open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            connect(thread)
            yield Session()
        finally:
            _undisturbed(thread, ray.shutdown)


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
            _undisturbed(thread, ray.shutdown)
            _kill_all(folder)
    raise NotReadyError(
        f"Ray did not start on this machine in {TRIES} tries ({reason}): end other programs or wait until they have "
        "ended, look at the space left in /tmp and /dev/shm, and run the same command again"
    )


def _join(thread: ThreadPoolExecutor, address: str) -> None:
    import ray

    try:
        _undisturbed(thread, lambda: ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL))
    except (OSError, RuntimeError, ValueError) as problem:
        raise NotReadyError(
            f"no Ray cluster can be joined at {masked(address)} ({_line(problem)}): start one with `ray start --head`, "
            "or look at the address and, if it asks for a token, at RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH"
        ) from None


@contextlib.contextmanager
def _ray_thread() -> Iterator[ThreadPoolExecutor]:
    """A thread for Ray to start and to end in; the system ends what Ray started when the thread ends that did so.

    SIGHUP stays blocked in the processes that begin there, as Ray itself does with SIGINT: a terminal's end reaches
    the driver alone, which saves.
    """
    pool = ThreadPoolExecutor(1, "ray", initializer=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP}))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False)


def _undisturbed(thread: ThreadPoolExecutor, call: Callable[[], object]) -> None:
    """Let Ray start or end: a signal waits for that, and no handler of Ray's takes the place of ours.

    Its C++ part sets the system's handler of SIGTERM when it begins and when it ends, which no setting prevents: so
    Ray works in another thread, and this one puts back what was there, again and again.
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
    """In the place of what would set a handler."""


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A new folder for Ray's sockets and logs; whatever happens, neither it nor a process of it is left."""
    root = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    prefix = "batchscope-ray-"
    if len(f"{root}/{prefix}12345678") > LONGEST_FOLDER:
        root = "/tmp"
    with scratch.folder(prefix, root, end=_kill_all) as folder:
        yield folder


def _kill_all(folder: str) -> None:
    """End Ray's processes that name the folder in their command line; their own children follow them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"={folder}".encode() in file.read_bytes() and int(file.parent.name) != os.getpid():
                os.kill(int(file.parent.name), signal.SIGKILL)


def _line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
