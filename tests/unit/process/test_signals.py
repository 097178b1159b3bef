"""Signals at every line of a command's way: its exit code, and that what it began is cleaned up."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from cluster.process import signals

pytestmark = pytest.mark.slow

# A command in small: something that starts and ends whole, a watch between the two. A child for each point at which a
# signal can come, which is each line of the command, of `cluster.cli` and of `cluster.process.signals`.
COMMAND = """
    import contextlib, json, os, signal, sys, time
    from cluster import cli
    from cluster.process import signals
    from cluster.drive.ends import watch

    signals.SECONDS_OF_ONE = 0.0
    number, after = int(sys.argv[1]), json.loads(sys.argv[2])

    class Schedule:
        left, cancelled = 4, False
        def wait(self, seconds):
            self.left -= 1
            return self.left < 0
        def cancel(self):
            self.cancelled = True

    def command(standalone_mode):
        def end():
            with contextlib.suppress(OSError):
                os.write(report, b"e")
        with signals.last_thing(end):
            with signals.deferred():
                os.write(report, b"b")
            try:
                watch(Schedule(), lambda: None, lambda: None, lambda stopping: None)
            except ValueError:
                raise
            finally:
                with signals.deferred():
                    os.getpid()
            if signals.count():
                raise signals.StoppedError
        return 0

    def counting(points):
        left = [points[0]]
        def trace(frame, event, argument):
            inside = frame.f_code.co_filename == "<string>" or "/cluster/cli" in frame.f_code.co_filename
            inside = inside or frame.f_code.co_filename.endswith("cluster/process/signals.py")
            if not inside or frame.f_code.co_name in ("install", "heed", "_Heard", "<lambda>"):
                return None
            if event == "line" and signals.signal.getsignal(number) is signals._take:
                left[0] -= 1
                if left[0] == 0:
                    points.pop(0)
                    left[0] = points[0] if points else -1
                    os.kill(os.getpid(), number)
            return trace
        return trace

    cli.batchscope = command
    found, first = [], 1
    while True:
        ours, report = os.pipe()
        child = os.fork()
        if not child:
            points = [first, *after]
            sys.settrace(counting(points))
            try:
                cli.main()
            except SystemExit as end:
                sys.settrace(None)
                os._exit(77 if len(points) > len(after) else end.code)
        os.close(report)
        with open(ours) as pipe:
            said = pipe.read()
        found.append((os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said))
        if found[-1][0] == 77 or first > 400:
            break
        first += 1
    print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("number", "status", "after"),
    [
        (signal.SIGINT, 130, []),
        (signal.SIGTERM, 143, []),
        (signal.SIGHUP, 143, []),
        *((signal.SIGINT, 130, after) for after in ([1], [2], [7], [30], [3, 3])),
    ],
    ids=str,
)
def test_a_signal_at_any_line_ends_the_command_with_its_exit_code(
    number: signal.Signals, status: int, after: list[int]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COMMAND), str(int(number)), json.dumps(after)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        preexec_fn=heeding_all,
    )
    found = json.loads(done.stdout)
    *points, (beyond, _) = found
    assert beyond == 77
    # Where the way ends before the later signals come, only the first was heard.
    assert len(points) > (40 if sum(after) < 30 else 20)
    assert {code for code, _ in points} == {status}
    # What began has ended, whatever came in between.
    assert all("e" in said for _, said in points if "b" in said)
    assert done.stderr == ""


CHILD = """
    import os, sys, time
    from cluster.process import signals
    signals.install()
    try:
        {body}
    except signals.StoppedError:
        print("stopped", flush=True)
"""


def heeding_all() -> None:
    """A test run under `nohup` or in the background ignores signals, and so would its children."""
    for number in signals.EXIT_CODES:
        signal.signal(number, signal.SIG_DFL)


def started(body: str, **options: object) -> "subprocess.Popen[str]":
    """A process with the handlers installed that has said that it is ready."""
    code = textwrap.dedent(CHILD).format(body=body)
    options = {"preexec_fn": heeding_all, **options}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    assert process.stdout.readline() == "ready\n"
    return process  # type: ignore[no-any-return]


def test_a_signal_that_reaches_process_and_group_at_once_is_one() -> None:
    body = "print('ready', flush=True)\n    while signals.count() < 9: time.sleep(0.01)"
    process = started(f"with signals.counted():\n            {body.replace(chr(10), chr(10) + '        ')}")
    for _ in range(5):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.005)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143


def test_what_a_process_was_started_to_ignore_stays_ignored() -> None:
    process = started(
        "print('ready', flush=True); time.sleep(0.5)",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    process.send_signal(signal.SIGHUP)
    assert process.wait(10) == 0


def test_a_closed_terminal_is_told_nothing_more() -> None:
    # Writing to a terminal that is gone is an error, which would end what is being saved.
    keeper, terminal = os.openpty()
    body = "print('ready', flush=True)\n        while not signals.count(): time.sleep(0.01)"
    code = textwrap.dedent(CHILD).format(
        body=f"with signals.counted():\n            {body.replace('        while', '            while')}"
    )
    code += "\nwith open(sys.argv[1], 'w') as file: file.write(str(signals.exit_code()))\n"
    result = Path(os.environ["BATCHSCOPE_CACHE"]).with_name("closed-terminal")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(result)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=heeding_all,
    )
    os.close(terminal)
    assert os.read(keeper, 100).startswith(b"ready")
    process.send_signal(signal.SIGHUP)
    os.close(keeper)
    assert process.wait(10) == 0
    assert result.read_text() == "143"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 143)], ids=str)
def test_prepare_takes_away_what_it_began(tmp_path: Path, number: signal.Signals, status: int) -> None:
    rows = [json.dumps({"t": f"some words and the number {index}", "l": "ab"[index % 2]}) for index in range(60_000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    command = [sys.executable, "-m", "cluster.cli", "prepare", "rows.jsonl", "out", "--text", "t", "--label", "l"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heeding_all
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.partial-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert out.strip() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_signal_during_an_import_waits_for_its_end(tmp_path: Path) -> None:
    # Compiled modules print and forget what is raised while they begin: this one forgets it too.
    (tmp_path / "slow.py").write_text(
        "import time; print('ready', flush=True)\n"
        "try: time.sleep(0.7)\nexcept KeyboardInterrupt: print('swallowed', flush=True)\nprint('begun', flush=True)"
    )
    process = started("import slow; time.sleep(30); print('never')", cwd=tmp_path)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert out == "begun\nstopped\n"


GUEST = """
    import os, signal
    from cluster.process import signals

    signals.SECONDS_OF_ONE = 0.0
    for _ in range(2):
        try:
            with signals.heeded(), signals.heeded():
                with signals.counted():
                    os.kill(os.getpid(), signal.SIGINT)
                    print(signals.count(), flush=True)
                os.kill(os.getpid(), signal.SIGINT)
                print("not reached")
        except KeyboardInterrupt as problem:
            print(type(problem).__name__, signals.count(), flush=True)
    with signals.heeded(), signals.counted():
        os.kill(os.getpid(), signal.SIGTERM)
        print("saved", flush=True)
    print("not reached")
"""


def test_a_program_of_somebody_else_goes_on_after_its_ctrl_c_and_ends_by_its_own_sigterm() -> None:
    command = [sys.executable, "-c", textwrap.dedent(GUEST)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heeding_all)
    assert done.stdout.splitlines() == ["1", "KeyboardInterrupt 0"] * 2 + ["saved"]
    assert done.returncode == -signal.SIGTERM
