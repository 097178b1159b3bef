"""Jobs without a cluster: addresses, tokens, what is shipped, ids, states, and a log followed to its end."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.jobs import follow as following
from cluster.jobs import package, planning
from cluster.jobs.address import Address, find_token, parse_address
from cluster.jobs.follow import exit_code, follow
from cluster.jobs.head import UnreachableError
from cluster.jobs.job import Job, find, metadata, newest, next_id, of_details, plan_of
from cluster.jobs.submit import on_cluster, submit
from cluster.process.deadline import within
from cluster.report.progress_lines import StudyProgress, last, readable, to_line
from cluster.study.identity import canonical_json, run_hash
from cluster.study.spec import StudySpec, parse
from trainer.errors import InputError, NotReadyError

SPEC = """
study: my-study
data: data
summary: s3://bucket/summary
task: classification
axes: {global_batch: [17], learning_rate: 0.01, seeds: 1}
budget: {updates: 6}
"""
LOOPBACK = Address("http://127.0.0.1:8265", loopback=True)
ELSEWHERE = Address("http://10.0.0.7:8265", loopback=False)


@pytest.fixture
def spec() -> StudySpec:
    return parse(SPEC, where="study.yaml")


def job(number: int = 1, **changes: Any) -> Job:
    made = Job(
        id=f"batchscope-my-study-0123abcd-{number}",
        study="my-study",
        spec_hash="0123abcd",
        spec_json=None,
        state="SUCCEEDED",
        submitted_at=datetime(2026, 1, number, tzinfo=UTC),
        ended_at=None,
        driver_exit_code=0,
        message="",
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("text", "url", "loopback"),
    [
        ("http://127.0.0.1:8265", "http://127.0.0.1:8265", True),
        ("localhost:8265/", "http://localhost:8265", True),
        ("http://[::1]:8265", "http://[::1]:8265", True),
        ("https://ray.example.org/head/", "https://ray.example.org/head", False),
        ("10.0.0.7:8265", "http://10.0.0.7:8265", False),
        ("http://127.0.0.1.example.org", "http://127.0.0.1.example.org", False),
    ],
)
def test_addresses(text: str, url: str, loopback: bool) -> None:
    assert parse_address(text) == Address(url, loopback)


@pytest.mark.parametrize("text", ["auto", "", "ray://head:10001", "http://", "http://h:port", "http://me:secret@h:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match="give that of the head's dashboard"):
        parse_address(text)


def test_the_token_is_looked_for_as_ray_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_token(None) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-home\n")
    assert find_token(None) == "of-home"
    (tmp_path / "path").write_text("of-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "path"))
    assert find_token(None) == "of-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-environment")
    assert find_token(None) == "of-environment"
    (tmp_path / "named").write_text(" named \n")
    assert find_token(str(tmp_path / "named")) == "named"


@pytest.mark.parametrize("content", [b"", b"two words", b"line\nsecret", b"\xff\xfe", "gehe\u00edm".encode()])
def test_a_bad_token_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(InputError) as refused:
        find_token(str(tmp_path / "token"))
    assert "secret" not in str(refused.value)
    assert "words" not in str(refused.value)
    with pytest.raises(InputError, match="cannot be read"):
        find_token(str(tmp_path / "missing"))


def test_a_call_ends_by_its_deadline_or_as_it_ends() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(InputError, match="mine"):
        within(5, lambda: (_ for _ in ()).throw(InputError("mine")))
    release = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, release.wait)
    release.set()


def test_exactly_the_packages_and_the_study_are_shipped(tmp_path: Path, spec: StudySpec) -> None:
    package.fill(tmp_path, spec, {})
    found = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    root = Path(__file__).parents[3]
    code = {
        str(file.relative_to(root)) for name in ("trainer", "cluster") for file in (root / name).rglob("*.py")
    }  # __pycache__ holds no .py
    rest = found - code
    assert code <= found
    [info] = [name for name in rest if name.startswith("batchscope-") and name.endswith(".dist-info/METADATA")]
    rest -= {"study.yaml", info, "trainer/py.typed", "cluster/py.typed", "cluster/api/py.typed"}
    assert all(name.startswith(("cluster/", "trainer/")) and name.endswith((".yaml", ".csv", ".md")) for name in rest)
    assert sum((tmp_path / name).stat().st_size for name in found) < 3_000_000
    assert parse((tmp_path / "study.yaml").read_text(), where="shipped") == spec


def test_the_entrypoint_quotes_what_a_person_gave() -> None:
    run = package.command("run", progress="json", budget=None)
    assert run == "exec python -m cluster.cli run study.yaml --address auto --progress json"
    assert package.command("run", budget="$5; rm x").endswith("--budget '$5; rm x'")
    assert package.command("plan", "--no-calibration").endswith(" plan study.yaml --address auto --no-calibration")


def test_folders_of_another_machine_are_refused(spec: StudySpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert on_cluster(spec, LOOPBACK).data == "/data"
    assert on_cluster(spec, LOOPBACK).summary == "s3://bucket/summary"
    for place in ("data", "~/data", "./data"):
        with pytest.raises(InputError, match=f"data {place} is a folder of this machine.*s3://"):
            on_cluster(spec.model_copy(update={"data": place}), ELSEWHERE)
    shared = spec.model_copy(update={"data": "/shared/data"})
    assert on_cluster(shared, ELSEWHERE) == shared


def details(spec: StudySpec, **changes: Any) -> SimpleNamespace:
    made = {
        "submission_id": f"batchscope-my-study-{run_hash(spec)[:8]}-3",
        "metadata": metadata(spec, None),
        "status": SimpleNamespace(value="FAILED"),
        "start_time": 1_000,
        "end_time": 61_000,
        "driver_exit_code": 4,
        "message": None,
    }
    return SimpleNamespace(**{**made, **changes})


def test_a_job_is_read_from_what_ray_tells(spec: StudySpec) -> None:
    found = of_details(details(spec))
    assert found is not None
    assert (found.study, found.number, found.seconds, found.exit_code) == ("my-study", 3, 60.0, 4)
    assert found.spec_json is not None
    assert parse(found.spec_json, where="job") == spec
    assert of_details(details(spec, metadata=None)) is None
    assert of_details(details(spec, submission_id=None)) is None
    assert of_details(details(spec, submission_id="raysubmit_1")) is None


def test_a_spec_that_is_too_long_is_not_kept(spec: StudySpec) -> None:
    axes = spec.axes.model_copy(update={"seeds": tuple(range(10_000))})
    kept = metadata(spec.model_copy(update={"axes": axes}), None)
    assert "batchscope_spec" not in kept
    assert "batchscope_spec_hash" in kept


@pytest.mark.parametrize(
    ("state", "driver", "expected"),
    [("SUCCEEDED", 0, 0), ("FAILED", 6, 6), ("FAILED", -9, 137), ("STOPPED", None, 143), ("RUNNING", None, None)],
)
def test_exit_codes(state: str, driver: int | None, expected: int | None) -> None:
    assert job(state=state, driver_exit_code=driver).exit_code == expected


def test_a_job_that_never_began_is_not_ready() -> None:
    with pytest.raises(NotReadyError, match="no working_dir"):
        exit_code(job(state="FAILED", driver_exit_code=None, message="Traceback\nno working_dir\n\n"))


def test_ids_count_the_studys_jobs_and_the_newest_is_found(spec: StudySpec) -> None:
    jobs = [job(2), job(10), job(9), job(30, study="another")]
    assert next_id(metadata(spec, None), jobs) == f"batchscope-my-study-{run_hash(spec)[:8]}-11"
    assert next_id(metadata(spec, None), []).endswith("-1")
    assert next_id(plan_of(spec), jobs) == f"batchscope-plan-of-my-study-{run_hash(spec)[:8]}-1"
    assert find(jobs, "my-study").number == 10
    assert find(jobs, "batchscope-my-study-0123abcd-2").number == 2
    assert list(newest(jobs)) == ["another", "my-study"]
    with pytest.raises(InputError, match="did you mean 'my-study'"):
        find(jobs, "mystudy")
    with pytest.raises(InputError, match="nothing was submitted"):
        find([], "my-study")


def test_progress_is_the_newest_of_a_log_and_a_person_reads_sentences() -> None:
    first = StudyProgress(
        done=3, asked=16, running=0, text="study my-study: 16 trials, 3 finished before\nglobal batches 16"
    )
    second = StudyProgress(done=5, asked=16, running=2, text="5 done, 2 running, 9 waiting; best loss so far 1.0")
    log = ["Running entrypoint", to_line(first), "a warning", to_line(second), "saving", '{"batchscope_progress": 3}']
    assert last(["Running entrypoint"]) is None
    assert last(log[:3]) == first
    assert last(log) == second
    assert "\n".join(map(readable, log[1:4])) == f"{first.text}\na warning\n{second.text}"
    # A line that only looks like one is shown as it is.
    assert readable(log[-1]) == log[-1]


class Cluster:
    """Stands for a Head: what it is asked, it answers from a list; an exception is raised."""

    def __init__(self, jobs: list[Job], *, log: list[Any] | None = None, address: Address = LOOPBACK) -> None:
        self.address = address
        self.known = jobs
        self.logs = log or []
        self.submitted: list[tuple[str, str]] = []
        self.taken_by: Job | None = None

    def jobs(self) -> list[Job]:
        return self.known

    def job(self, job_id: str) -> Job:
        state = "RUNNING" if len(self.logs) > 1 else "SUCCEEDED"
        return job(id=job_id, state=state)

    def log(self, job_id: str) -> str:
        answer = self.logs.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    def submit(self, spec: StudySpec, *, job_id: str, command: str, metadata: Any, code: Any) -> bool:
        if self.taken_by is not None:
            self.known = [*self.known, self.taken_by]
            return False
        self.submitted.append((job_id, command))
        return True


def test_a_study_is_submitted_once(spec: StudySpec) -> None:
    spec = on_cluster(spec, LOOPBACK)
    running = job(4, state="RUNNING", spec_hash=run_hash(spec))
    there = Cluster([running])
    assert submit(there, spec).job == running
    assert there.submitted == []
    ended = Cluster([replace(running, state="STOPPED")])
    assert not submit(ended, spec, budget="3h").before
    run = package.command("run", progress="json", budget="3h")
    assert ended.submitted == [(f"batchscope-my-study-{run_hash(spec)[:8]}-5", run)]
    with pytest.raises(InputError, match="another spec as job batchscope-my-study-0123abcd-4"):
        submit(Cluster([replace(running, spec_hash="another")]), spec)


def test_two_who_submit_at_once_start_one_job(spec: StudySpec) -> None:
    spec = on_cluster(spec, LOOPBACK)
    both = Cluster([])
    both.taken_by = job(1, state="PENDING", spec_hash=run_hash(spec))
    submitted = submit(both, spec)
    assert submitted.before
    assert submitted.job.number == 1
    assert canonical_json(spec)


def test_a_plan_is_a_job_of_its_own_beside_the_studys(spec: StudySpec) -> None:
    spec = on_cluster(spec, LOOPBACK)
    there = Cluster([job(4, state="RUNNING", spec_hash=run_hash(spec))])
    planning.hand_over(there, spec, "--no-calibration", form="json", code={})
    [(job_id, command)] = there.submitted
    assert job_id == f"batchscope-plan-of-my-study-{run_hash(spec)[:8]}-1"
    assert command == package.command("plan", "--no-calibration", format="json")
    details = SimpleNamespace(
        submission_id=job_id, metadata=plan_of(spec), status=SimpleNamespace(value="RUNNING"), start_time=0,
        end_time=None, driver_exit_code=None, message=None,
    )  # fmt: skip
    planned = of_details(details)
    assert planned is not None
    assert newest([planned, *there.known])["my-study"].number == 4


@pytest.mark.parametrize(
    ("log", "form", "expected"),
    [
        (
            "Runtime env\nplan of study a: 3 trials\nin all\n",
            "table",
            ("Runtime env\n", "plan of study a: 3 trials\nin all\n"),
        ),
        ('warn {\n{\n  "a": {\n  }\n}\n', "json", ("warn {\n", '{\n  "a": {\n  }\n}\n')),
        ("{\n}\n", "json", ("", "{\n}\n")),
        ("Error: axes\n", "json", ("Error: axes\n", "")),
    ],
)
def test_a_plan_is_found_in_its_jobs_log(log: str, form: str, expected: tuple[str, str]) -> None:
    assert planning.split(log, form) == expected


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made, in seconds."""
    pauses: list[float] = []
    monkeypatch.setattr(following, "time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    return pauses


def test_a_log_is_shown_once_through_lost_connections(no_pauses: list[float]) -> None:
    lost = UnreachableError("the tunnel fell")
    there = Cluster([], log=["one\n", lost, lost, "one\ntwo\n", "one\ntwo\nthree\n"])
    shown: list[str] = []
    said: list[str] = []
    ended = follow(there, "batchscope-my-study-0123abcd-1", show=shown.append, say=said.append)
    assert "".join(shown) == "one\ntwo\nthree\n"
    assert ended.state == "SUCCEEDED"
    assert [line.split(",")[0] for line in said] == ["connection lost", "connection lost", "connected again"]
    assert no_pauses == [1.0, 2.0, 4.0, 1.0]


def test_a_token_that_is_refused_is_not_tried_again(no_pauses: list[float]) -> None:
    there = Cluster([], log=[NotReadyError("does not accept this token"), ""])
    with pytest.raises(NotReadyError, match="token"):
        follow(there, "batchscope-my-study-0123abcd-1", show=lambda text: None, say=lambda line: None)
    assert no_pauses == []


def test_a_long_log_is_asked_for_rarely(no_pauses: list[float]) -> None:
    there = Cluster([], log=["x" * 100_000, "x" * 10_000_000, ""])
    follow(there, "batchscope-my-study-0123abcd-1", show=lambda text: None, say=lambda line: None)
    assert no_pauses == [5.0, 30.0]
