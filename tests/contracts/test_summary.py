"""The central summary's promises, the same in a folder and on S3: one row an attempt, never changed, never half."""

import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as pafs

from cluster.stores.client import client
from cluster.summary import query, tables
from cluster.summary.compact import compact
from cluster.summary.problems import Problem
from cluster.summary.store import LABEL, ConflictError, Summary, check_writable
from trainer.errors import InputError, NotReadyError

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
STUDY = {
    "study": "wiki",
    "spec_hash": "5bec",
    "spec_json": "{}",
    "data": "/data",
    "data_hash": "da7a",
    "task": "classification",
    "code_version": "0.1.0",
    "started_at": NOW,
    "trials": 40,
    "target": 0.6,
    "margin": 0.01,
    "declared_at": NOW,
    "train_rows": 7240,
    "baseline_loss": 2.2,
    "best_constant_loss": 2.1,
    "factory_sha256": "c0de",
    "label_names": '["a", "b"]',
    "description": "why",
    "tags": "a, b",
}
VALUES = {pa.string(): "a text", pa.int64(): 2**40 + 1, pa.float64(): 0.1, tables.TIME: NOW}
TRIAL: dict[str, Any] = {field.name: VALUES[field.type] for field in tables.TRIALS} | {
    "study": "wiki",
    "trial_id": "00ff",
    "attempt": 1,
    "state": "COMPLETED",
    "phase": "grid",
    "optimizer": "adam",
    "dtype": "float32",
}
EVALUATION = {field.name: VALUES[field.type] for field in tables.EVALUATIONS} | {
    "study": "wiki",
    "trial_id": "00ff",
    "attempt": 1,
}
PROBE = {field.name: VALUES[field.type] for field in tables.PROBES} | {
    "study": "wiki",
    "spec_hash": "5bec",
    "kind": "memory",
    "state": "OUT_OF_MEMORY",
    "optimizer": "adam",
    "dtype": "float32",
}


def names(summary: Summary) -> list[str]:
    return summary.store.names()


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """As any other reader of Parquet finds it."""
    filesystem, path = pafs.FileSystem.from_uri(uri)
    return filesystem, path


class TestSummary:
    def test_what_is_written_is_read_by_us_and_by_any_hive_aware_reader(self, place: str) -> None:
        summary = Summary(place)
        later = {**TRIAL, "study": "007", "attempt": 2, "state": "FAILED"}
        summary.write_study(STUDY)
        summary.write_trial(TRIAL)
        summary.write_trial(later)
        summary.write_evaluations([EVALUATION, {**EVALUATION, "update": 2}], part=0)
        summary.write_evaluations([{**EVALUATION, "update": 3}], part=1)
        assert query.studies(summary).to_pylist() == [STUDY]
        assert query.trials(summary).sort_by("attempt").to_pylist() == [TRIAL, later]
        assert query.trials(summary, "007").to_pylist() == [later]
        assert query.evaluations(summary, "wiki")["update"].to_pylist() == [2**40 + 1, 2, 3]
        assert query.trials(summary).schema == tables.TRIALS
        assert names(summary) == [
            "evaluations/study=wiki/00ff-1-0.parquet",
            "evaluations/study=wiki/00ff-1-1.parquet",
            "studies/study=wiki/5bec.parquet",
            "trials/study=007/00ff-2.parquet",
            "trials/study=wiki/00ff-1.parquet",
        ]
        filesystem, path = locate(summary.uri)
        body = pq.ParquetFile(f"{path}/trials/study=wiki/00ff-1.parquet", filesystem=filesystem)
        assert body.schema_arrow == tables.TRIALS.remove(0), "a column in folder and file is ambiguous to some readers"
        plain = pads.dataset(f"{path}/trials", filesystem=filesystem, partitioning="hive").to_table()
        assert sorted(map(str, plain["study"].to_pylist())) == ["007", "wiki"]
        if not place.startswith("s3://"):
            found = duckdb.sql(f"select study, attempt from '{path}/trials/*/*.parquet' order by attempt").fetchall()
            assert found == [("wiki", 1), ("007", 2)]

    def test_nothing_yet_is_empty_tables_of_the_same_columns(self, place: str) -> None:
        summary = Summary(place)
        assert query.studies(summary) == tables.STUDIES.empty_table()
        assert query.trials(summary, "wiki") == tables.TRIALS.empty_table()
        assert query.evaluations(summary) == tables.EVALUATIONS.empty_table()
        assert query.probes(summary) == tables.PROBES.empty_table()
        assert query.overview(summary).num_rows == 0
        assert summary.lost_attempts("wiki") == []
        assert summary.next_attempt("wiki", "00ff") == 1

    def test_an_older_file_lacks_columns_and_they_are_null(self, place: str) -> None:
        summary = Summary(place)
        filesystem, path = locate(summary.uri)
        filesystem.create_dir(f"{path}/trials/study=wiki", recursive=True)
        old = pa.table({"trial_id": ["0001"], "attempt": pa.array([1], pa.int32()), "state": ["COMPLETED"]})
        pq.write_table(old, f"{path}/trials/study=wiki/0001-1.parquet", filesystem=filesystem)
        summary.write_trial(TRIAL)
        old_row, new_row = query.trials(summary).sort_by("trial_id").to_pylist()
        assert new_row == TRIAL
        assert {name: value for name, value in old_row.items() if value is not None} == {
            "study": "wiki",
            "trial_id": "0001",
            "attempt": 1,
            "state": "COMPLETED",
        }

    def test_an_older_file_has_columns_that_no_version_filled_and_its_row_is_read(self, place: str) -> None:
        summary = Summary(place)
        filesystem, path = locate(summary.uri)
        filesystem.create_dir(f"{path}/trials/study=wiki", recursive=True)
        old = tables.table_of("trials", [TRIAL])
        for name in ("target", "updates_to_target", "seconds_to_target"):
            old = old.append_column(name, pa.nulls(1, pa.float64()))
        pq.write_table(old, f"{path}/trials/study=wiki/{TRIAL['trial_id']}-1.parquet", filesystem=filesystem)
        assert query.trials(summary).to_pylist() == [TRIAL]
        compact(summary, "wiki")
        assert query.trials(summary).to_pylist() == [TRIAL]

    @pytest.mark.parametrize("change", [{"best_validation_loss": 0.2}, {"error": None}, {"state": "FAILED"}])
    def test_a_row_is_never_changed(self, place: str, change: dict[str, Any]) -> None:
        summary = Summary(place)
        summary.write_trial(TRIAL)
        with pytest.raises(ConflictError, match=r"00ff-1\.parquet"):
            summary.write_trial({**TRIAL, **change})
        assert query.trials(summary).to_pylist() == [TRIAL]

    def test_the_same_row_again_is_fine_also_with_nan(self, place: str) -> None:
        summary = Summary(place)
        diverged = {**TRIAL, "state": "DIVERGED", "final_training_loss": float("nan"), "error": None}
        for _ in range(2):
            summary.write_trial(diverged)
            summary.write_evaluations([EVALUATION], part=0)
        assert query.trials(summary).num_rows == query.evaluations(summary).num_rows == 1

    def test_the_same_row_in_other_bytes_is_the_same_row(self, place: str) -> None:
        summary = Summary(place)
        body = pa.Table.from_pylist([TRIAL], schema=tables.TRIALS).drop_columns(["study"])
        filesystem, path = locate(summary.uri)
        filesystem.create_dir(f"{path}/trials/study=wiki", recursive=True)
        pq.write_table(body, f"{path}/trials/study=wiki/00ff-1.parquet", filesystem=filesystem, compression="zstd")
        summary.write_trial(TRIAL)
        with pytest.raises(ConflictError):
            summary.write_trial({**TRIAL, "seed": 7})

    def test_evaluations_are_never_changed_and_are_of_one_attempt(self, place: str) -> None:
        summary = Summary(place)
        summary.write_evaluations([EVALUATION], part=0)
        for other in ([{**EVALUATION, "validation_loss": 9.0}], [EVALUATION, {**EVALUATION, "update": 5}]):
            with pytest.raises(ConflictError):
                summary.write_evaluations(other, part=0)
        with pytest.raises(ValueError, match="one attempt"):
            summary.write_evaluations([EVALUATION, {**EVALUATION, "attempt": 2}], part=1)
        with pytest.raises(ValueError, match="one attempt"):
            summary.write_evaluations([], part=1)
        assert query.evaluations(summary).to_pylist() == [EVALUATION]

    def test_a_probe_is_one_object_and_later_probes_come_last(self, place: str) -> None:
        summary = Summary(place)
        later = {**PROBE, "probed_at": NOW + timedelta(days=1), "kind": "throughput", "error": None}
        for rows in ([later], [PROBE, {**PROBE, "micro_batch": 8}], [later]):
            summary.write_probe(rows)
        assert query.probes(summary, "wiki").to_pylist() == [PROBE, {**PROBE, "micro_batch": 8}, later]
        assert len(names(summary)) == 2
        assert names(summary)[0] == "probes/study=wiki/5bec-20260304T050607890123Z.parquet"
        with pytest.raises(ConflictError):
            summary.write_probe([PROBE])
        with pytest.raises(ValueError, match="one probe"):
            summary.write_probe([PROBE, later])
        with pytest.raises(ValueError, match="kind cannot be 'speed'"):
            summary.write_probe([{**PROBE, "kind": "speed"}])

    def test_of_many_writers_of_one_row_one_wins(self, place: str) -> None:
        summary = Summary(place)

        def write(seed: int) -> bool:
            try:
                summary.write_trial({**TRIAL, "seed": seed})
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert query.trials(summary)["seed"].to_pylist() == [won.index(True)]

    def test_a_study_run_again_is_one_row(self, place: str) -> None:
        summary = Summary(place)
        again = {**STUDY, "started_at": NOW + timedelta(days=1), "trials": 44}
        for row in (STUDY, again):
            summary.write_study(row)
        assert query.studies(summary).to_pylist() == [again]
        assert query.asked(summary, "wiki") == 44

    def test_an_attempt_whose_driver_was_killed_is_found(self, place: str) -> None:
        summary = Summary(place)
        known = {"global_batch": np.int64(16), "learning_rate": np.float64(0.01), "seed": 3, "started_at": NOW}
        for trial_id, attempt in (("00ff", 1), ("00ff", 2), ("0001", 1)):
            assert summary.next_attempt("wiki", trial_id) == attempt
            summary.attempt_started("wiki", trial_id, attempt, known)
        summary.write_trial(TRIAL)
        lost = summary.lost_attempts("wiki")
        assert [(row["trial_id"], row["attempt"]) for row in lost] == [("0001", 1), ("00ff", 2)]
        for row in lost:
            summary.write_trial({**row, "state": "LOST"})
        assert summary.lost_attempts("wiki") == summary.lost_attempts("other") == []
        assert summary.next_attempt("wiki", "00ff") == 3
        assert summary.next_attempt("other", "00ff") == 1
        (row,) = query.trials(summary).filter(pa.compute.field("trial_id") == "0001").to_pylist()
        assert (row["state"], row["global_batch"], row["started_at"]) == ("LOST", 16, NOW)

    def test_an_attempt_is_begun_by_one(self, place: str) -> None:
        summary = Summary(place)
        for _ in range(2):
            summary.attempt_started("wiki", "00ff", 1, {"started_at": NOW})
        with pytest.raises(ConflictError, match="somebody else"):
            summary.attempt_started("wiki", "00ff", 1, {"started_at": NOW + timedelta(seconds=1)})
        with pytest.raises(ValueError, match="no column 'colour'"):
            summary.attempt_started("wiki", "00ff", 2, {"colour": "red"})
        assert summary.next_attempt("wiki", "00ff") == 2

    def test_it_can_be_checked_before_a_run_and_again(self, place: str) -> None:
        check_writable(place)
        check_writable(place)
        assert names(Summary(place)) == [LABEL]

    def test_a_summary_of_another_layout_is_refused(self, place: str) -> None:
        Summary(place).store.create(LABEL, b'{"batchscope_summary": 2}')
        with pytest.raises(InputError, match="another layout"):
            check_writable(place)

    def test_it_goes_into_another_process(self, place: str) -> None:
        summary = Summary(place)
        summary.write_trial(TRIAL)
        copy = pickle.loads(pickle.dumps(summary))  # noqa: S301 - our own bytes
        assert copy == summary
        assert query.trials(copy).to_pylist() == [TRIAL]

    def test_a_file_that_is_no_table_is_named_and_hides_nothing(self, place: str) -> None:
        problems: list[Problem] = []
        summary = Summary(place, note=problems.append)
        summary.write_trial(TRIAL)
        summary.store.create("trials/study=wiki/bad-1.parquet", b"not parquet")
        assert query.trials(summary).to_pylist() == [TRIAL]
        [problem] = problems
        assert problem.name == "trials/study=wiki/bad-1.parquet"
        assert "left out: it cannot be read as Parquet" in problem.what


class TestFolder:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"batch_size": 3}, "no column 'batch_size'"),
            ({"global_batch": 16.5}, "global_batch cannot hold 16.5"),
            ({"global_batch": "16"}, "global_batch cannot hold '16'"),
            ({"seed": True}, "seed cannot hold True"),
            ({"test_loss": True}, "test_loss cannot hold True"),
            ({"optimizer": 3}, "optimizer cannot hold 3"),
            ({"started_at": NOW.replace(tzinfo=None)}, "started_at cannot hold"),
            ({"started_at": 5.0}, "started_at cannot hold"),
            ({"state": "DONE"}, "state cannot be 'DONE'"),
            ({"state": None}, "without 'state'"),
            ({"attempt": 0}, "counts from 1"),
            ({"study": "../up"}, "study cannot be"),
            ({"trial_id": "a/b"}, "trial_id cannot be"),
        ],
    )
    def test_a_row_that_cannot_be_is_our_bug(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Summary(str(tmp_path)).write_trial({**TRIAL, **change})
        assert list(tmp_path.iterdir()) == []

    def test_a_relative_path_means_the_same_from_elsewhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert Summary("./summary").uri == str(tmp_path / "summary") == Summary(f"file://{tmp_path}/summary").uri

    @pytest.mark.parametrize("below", ["", "/summary"])
    def test_a_place_that_cannot_be_a_folder(self, tmp_path: Path, below: str) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=rf"{tmp_path}/file.*creating the folder was refused .*; choose"):
            check_writable(f"{tmp_path}/file{below}")

    @pytest.mark.parametrize("call", ["fsync", "link"])
    def test_a_write_that_fails_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        summary = Summary(str(tmp_path))
        summary.write_trial({**TRIAL, "attempt": 2})
        before = sorted(tmp_path.rglob("*"))

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse)
            with pytest.raises(InputError, match=r"No space left.*make room"):
                summary.write_trial(TRIAL)
        assert sorted(tmp_path.rglob("*")) == before
        summary.write_trial(TRIAL)

    def test_what_a_killed_writer_left_is_not_read(self, tmp_path: Path) -> None:
        summary = Summary(str(tmp_path))
        summary.write_trial(TRIAL)
        (tmp_path / "trials" / "study=wiki" / ".abc.tmp").write_bytes(b"half")
        assert query.trials(summary).num_rows == 1

    def test_file_and_folder_are_on_disk_before_it_returns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        fsync = os.fsync

        def note(descriptor: int) -> None:
            synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", note)
        Summary(str(tmp_path)).write_trial(TRIAL)
        folder = str(tmp_path / "trials" / "study=wiki")
        assert synced[-1] == folder
        assert os.path.dirname(folder) in synced
        assert [path for path in synced if os.path.basename(path).startswith(".") and path.startswith(folder)]


class TestS3:
    def test_a_bucket_that_does_not_exist(self, bucket: str) -> None:
        with pytest.raises(NotReadyError, match=r"bucket no-such-bucket refused s3:PutObject \(NoSuchBucket\); create"):
            check_writable("s3://no-such-bucket/x")
        with pytest.raises(NotReadyError, match=r"bucket no-such-bucket refused s3:ListBucket"):
            query.trials(Summary("s3://no-such-bucket/x"))

    def test_permission_that_is_missing(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from botocore.exceptions import ClientError

        def refuse(**_: object) -> None:
            answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, "PutObject")

        monkeypatch.setattr(client(), "put_object", refuse)
        with pytest.raises(
            NotReadyError, match=rf"AccessDenied.*allow s3:PutObject on arn:aws:s3:::{bucket}/x/{LABEL}"
        ):
            check_writable(f"s3://{bucket}/x")

    def test_a_write_whose_answer_was_lost_is_no_conflict(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        s3 = client()
        put, tries = s3.put_object, []

        def put_twice(**arguments: object) -> object:
            put(**arguments)
            tries.append(arguments)
            return put(**arguments)

        monkeypatch.setattr(s3, "put_object", put_twice)
        summary = Summary(f"s3://{bucket}")
        summary.write_trial(TRIAL)
        summary.attempt_started("wiki", "00ff", 1, {"started_at": NOW})
        assert len(tries) == 2
        assert query.trials(summary).to_pylist() == [TRIAL]

    def test_a_conflict_of_two_requests_is_tried_again(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from botocore.exceptions import ClientError

        s3 = client()
        put, tries = s3.put_object, []

        def refuse_first(**arguments: object) -> object:
            tries.append(arguments)
            if len(tries) == 1:
                answer = {
                    "Error": {"Code": "ConditionalRequestConflict"},
                    "ResponseMetadata": {"HTTPStatusCode": 409},
                }
                raise ClientError(answer, "PutObject")
            return put(**arguments)

        monkeypatch.setattr(s3, "put_object", refuse_first)
        Summary(f"s3://{bucket}/x").write_trial(TRIAL)
        assert len(tries) == 2

    def test_credentials_that_are_missing(self, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
        with pytest.raises(NotReadyError, match="NoCredentialsError; check the network"):
            check_writable(f"s3://{bucket}/x")

    @pytest.mark.parametrize("uri", ["s3://key:secret@bucket/x", "s3://bucket/x?endpoint_override=h&secret=1"])
    def test_secrets_in_an_address_are_refused_and_not_said(self, uri: str) -> None:
        with pytest.raises(InputError) as refused:
            Summary(uri)
        assert "secret" not in str(refused.value)
        assert "AWS_PROFILE" in str(refused.value)

    @pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "https://host/x", "file://host/x"])
    def test_other_places_are_refused(self, uri: str) -> None:
        with pytest.raises(InputError, match="give a folder or s3://"):
            Summary(uri)

    def test_the_markers_are_readable(self, bucket: str) -> None:
        Summary(f"s3://{bucket}/x").attempt_started("wiki", "00ff", 1, {"started_at": NOW, "workers": 2})
        answer = client().get_object(Bucket=bucket, Key="x/attempts/study=wiki/00ff-1.json")
        assert json.loads(answer["Body"].read()) == {
            "study": "wiki",
            "trial_id": "00ff",
            "attempt": 1,
            "started_at": "2026-03-04T05:06:07.890123+00:00",
            "workers": 2,
        }
