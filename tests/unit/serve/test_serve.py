"""`serve`: who is answered and who is not, what stays text, and that nothing is written."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate as validate_openapi
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from cluster.report.serve.app import application
from cluster.report.serve.guard import Rules, host_headers
from cluster.study.identity import canonical_json
from cluster.study.spec import parse
from cluster.summary.store import Summary
from tests.support.keys import KEYS, planted_in

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
URL = "http://127.0.0.1:8700"
RULES = Rules(hosts=host_headers(["127.0.0.1", "localhost", "::1"], 8700))
TOKEN = "a-token-of-32-characters-or-more"
SPEC = {
    "study": "wiki",
    "data": "prepared",
    "task": "classification",
    "model": {},
    "axes": {"global_batch": [16, "full"], "learning_rate": 0.001, "seeds": 4},
    "budget": {"epochs": 3},
    "evaluate_every": {"epochs": 1},
}
SPEC_JSON = canonical_json(parse(json.dumps(SPEC), where="here"))
PAGE = (
    "<!doctype html><html><head>"
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-abc='">"""
    "</head><body class='page'><main>{study} {refresh}</main></body></html>"
)


def page(summary: Summary, study: str, *, refresh_seconds: int | None = None, trials_at: str | None = None) -> str:
    assert trials_at == f"/studies/{study}/trials/"
    return PAGE.format(study=study, refresh=f"every {refresh_seconds} s" if refresh_seconds else "ended")


def trial(trial_id: str, **fields: Any) -> dict[str, Any]:
    """A completed attempt of `wiki`, 10 s on 2 workers for a cent."""
    return {
        "study": "wiki",
        "trial_id": trial_id,
        "attempt": 1,
        "state": "COMPLETED",
        "global_batch": 16,
        "learning_rate": 0.001,
        "optimizer": "adam",
        "dtype": "float32",
        "seed": int(trial_id),
        "workers": 2,
        "micro_batch": 8,
        "updates": 300,
        "examples": 4800,
        "epochs": 3.0,
        "seconds_training": 8.0,
        "best_validation_loss": 0.5,
        "final_validation_loss": 0.5,
        "phase": "grid",
        "started_at": START,
        "ended_at": START + timedelta(seconds=10),
        "cost_usd": 0.01,
        **fields,
    }


def write_wiki(summary: Summary) -> None:
    """Of 8 trials 2 completed, one failed, one was lost; `other` has nothing yet."""
    spec = {"spec_hash": "a1", "trials": 8, "task": SCRIPT, "data": "s3://bucket/data", "spec_json": SPEC_JSON}
    for study in ("wiki", "other"):
        summary.write_study({**spec, "study": study, "started_at": START, "train_rows": 1600})
    summary.write_trial(trial("1"))
    summary.write_trial(trial("2", best_validation_loss=float("nan")))
    summary.write_trial(trial("3", state="FAILED", error=SCRIPT, best_validation_loss=None))
    summary.write_trial(trial("4", state="LOST", best_validation_loss=None, cost_usd=None))
    key = {"study": "wiki", "trial_id": "1", "attempt": 1}
    evaluations = [{**key, "update": 10 * n, "examples": 160 * n, "validation_loss": 1 / n} for n in range(1, 31)]
    summary.write_evaluations(evaluations, part=0)


@pytest.fixture
def summary(tmp_path: Path) -> Summary:
    """A summary of the test's own."""
    found = Summary(str(tmp_path / "summary"))
    write_wiki(found)
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A summary that no test writes to."""
    found = Summary(str(tmp_path_factory.mktemp("shared") / "summary"))
    write_wiki(found)
    return found


@pytest.fixture(scope="module")
def client(shared: Summary) -> Iterator[TestClient]:
    problems: list[Exception] = []
    with TestClient(application(shared, RULES, page=page, report=problems.append), base_url=URL) as found:
        while None in [row["answer"] for row in found.get("/api/studies").json()["rows"]]:
            pass
        yield found
    assert problems == []


@pytest.fixture(scope="module")
def guarded_app(shared: Summary) -> ASGIApp:
    rules = Rules(hosts=RULES.hosts, token=TOKEN, cookie="batchscope-8700")
    return application(shared, rules, page=page, report=print)


@pytest.fixture
def guarded(guarded_app: ASGIApp) -> TestClient:
    """A reader without cookies of something that wants a token."""
    return TestClient(guarded_app, base_url=URL, follow_redirects=False)


ADDRESSES = (
    "/",
    "/studies/wiki",
    "/api/studies",
    "/api/studies/wiki",
    "/api/studies/wiki/points",
    "/api/studies/wiki/trials",
    "/api/studies/wiki/evaluations",
    "/api/studies/wiki/probes",
    "/api/openapi.json",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_each_address_answers_with_the_safe_headers_and_an_etag(client: TestClient, address: str) -> None:
    got = client.get(address)
    assert got.status_code == 200
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["x-frame-options"] == "DENY"
    assert got.headers["cache-control"] == "no-store"
    assert got.headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in got.headers["content-security-policy"]
    assert not [name for name in got.headers if name.startswith("access-control-")]
    again = client.get(address, headers={"if-none-match": f'"other", W/{got.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == got.headers["etag"]
    assert client.head(address).headers["etag"] == got.headers["etag"]


def test_a_page_is_under_the_policy_in_its_head_and_goes_back_to_the_list(client: TestClient) -> None:
    got = client.get("/studies/wiki")
    policy, frames = got.headers["content-security-policy"].split(", ")
    assert policy == "default-src 'none'; style-src 'sha256-abc='"
    assert frames == "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    top = """<body class='page'><nav aria-label="batchscope"><p class="brand"><a href="/">All studies</a></p></nav>"""
    assert top in got.text
    assert "every 5 s" in got.text


def test_the_list_says_how_far_each_study_is_and_what_it_costs(client: TestClient) -> None:
    got = client.get("/").text
    assert '<a href="/studies/wiki">wiki</a>' in got
    assert "2 of 8 trials done; 5 waiting; 1 failed; 1 lost, to be resumed" in got
    assert "1 of 8 trials failed with: " in got
    assert "0.03 usd so far; 1 attempts without a known price" in got
    assert '<progress max="8" value="2"' in got


def test_what_a_person_wrote_stays_text(client: TestClient) -> None:
    for address in ADDRESSES:
        got = client.get(address)
        if got.headers["content-type"].startswith("text/html"):
            assert SCRIPT not in got.text
        else:
            assert got.headers["content-type"] == "application/json"
    assert "&lt;script&gt;" in client.get("/").text
    errors = [row["error"] for row in client.get("/api/studies/wiki/trials").json()["rows"]]
    assert errors == [None, None, SCRIPT, None]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("address", ["/", "/api/studies/wiki", "/nothing"])
def test_only_get_and_head(client: TestClient, method: str, address: str) -> None:
    got = client.request(method, address)
    assert got.status_code == 405
    assert got.headers["allow"] == "GET, HEAD"
    assert got.text.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1:8700", "localhost:8700", "LOCALHOST:8700", "[::1]:8700"])
def test_its_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/api/studies", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8700", "127.0.0.1", "127.0.0.1:8701", "localhost.evil.example:8700", "", "::1:8700"],
)
@pytest.mark.parametrize("address", ["/", "/api/studies", "/nothing"])
def test_another_name_is_refused_before_routing(client: TestClient, host: str, address: str) -> None:
    got = client.get(address, headers={"host": host})
    assert got.status_code == 403
    assert "wiki" not in got.text


def test_two_hosts_are_refused(client: TestClient) -> None:
    got = client.get("/", headers=[("host", "127.0.0.1:8700"), ("host", "evil.example")])
    assert got.status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Same-Origin", "x"])
def test_what_another_site_sends_is_refused(client: TestClient, site: str) -> None:
    for address in ("/", "/api/studies", "/nothing"):
        assert client.get(address, headers={"sec-fetch-site": site}).status_code == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_the_person_or_our_page_sends_is_answered(client: TestClient, site: str) -> None:
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8700", 200), ("null", 403), ("http://evil.example", 403), ("http://127.0.0.1:1", 403)],
)
def test_an_origin_must_be_the_host_that_is_asked(client: TestClient, origin: str, status: int) -> None:
    got = client.get("/api/studies", headers={"origin": origin})
    assert got.status_code == status
    assert "access-control-allow-origin" not in got.headers


def test_without_the_token_nothing_is_told(guarded: TestClient) -> None:
    for address in (*ADDRESSES, "/nothing", "/?token=", "/?token=wrong", f"/?Token={TOKEN}"):
        got = guarded.get(address)
        assert got.status_code == 401
        assert got.headers["www-authenticate"].startswith("Bearer")
        assert "set-cookie" not in got.headers
        assert "wiki" not in got.text
    for header in ({"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}, {"cookie": TOKEN}):
        assert guarded.get("/", headers=header).status_code == 401


def test_a_program_brings_the_token_in_a_header(guarded: TestClient) -> None:
    got = guarded.get("/api/studies", headers={"authorization": f"Bearer {TOKEN}"})
    assert got.status_code == 200
    assert TOKEN not in got.text


def test_a_browser_gets_the_token_as_a_cookie_and_a_clean_address(guarded: TestClient) -> None:
    got = guarded.get(f"/studies/wiki?token={TOKEN}&x=1")
    assert (got.status_code, got.headers["location"]) == (303, "/studies/wiki?x=1")
    cookie = got.headers["set-cookie"]
    assert cookie.startswith(f"batchscope-8700={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert guarded.get("/studies/wiki").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "//evil.example/%2e%2e"])
def test_the_entrance_leads_to_no_other_machine(guarded: TestClient, path: str) -> None:
    got = guarded.get(f"{URL}{path}?token={TOKEN}")
    assert got.status_code == 303
    assert got.headers["location"].startswith(("/evil", "/%5C"))


@pytest.mark.parametrize("token", ["", "\u00fc" * 20])
def test_a_strange_token_is_a_wrong_one(guarded: TestClient, token: str) -> None:
    assert guarded.get("/", headers={"authorization": f"Bearer {token}".encode()}).status_code == 401


PATHS = ["%2e%2e%2f", "..%2fsummary", "%2fetc%2fpasswd", "wiki%00", "wiki/../../x", "WIKI", "study=wiki", "%"]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("end", ["", "/points", "/verdict", "/batchscope-summary.json"])
def test_a_name_that_is_not_listed_is_not_there(client: TestClient, name: str, end: str) -> None:
    for address in (f"/studies/{name}{end}", f"/api/studies/{name}{end}"):
        got = client.get(f"{URL}{address}")
        assert got.status_code == 404
        assert got.text.count("\n") == 1
        assert "/tmp" not in got.text


@pytest.mark.slow
def test_the_document_is_openapi_and_what_is_answered_is_as_it_says(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    validate_openapi(document)
    described = set(document["paths"])
    for address in (*ADDRESSES[2:], "/api/studies/wiki/verdict", "/api/studies/other", "/api/studies/other/points"):
        path = address.replace("/wiki", "/{study}").replace("/other", "/{study}")
        described.discard(path)
        check(document, path, client.get(address))
    assert described == set()
    check(document, "/api/studies/{study}", client.get("/api/studies/none"))
    check(document, "/api/studies/{study}/points", client.get("/api/studies/wiki/points?limit=x"))


def check(document: dict[str, Any], path: str, got: Any) -> None:
    """The answer is one that the document allows."""
    answer = document["paths"][path]["get"]["responses"][str(got.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = answer["content"][got.headers["content-type"]]["schema"]
    jsonschema.validate(got.json(), {**schema, "components": document["components"]})


def test_rows_come_in_parts(client: TestClient) -> None:
    parts = [client.get(f"/api/studies/wiki/evaluations?offset={offset}&limit=12").json() for offset in (0, 12, 24, 36)]
    assert [len(part["rows"]) for part in parts] == [12, 12, 6, 0]
    assert {part["total"] for part in parts} == {30}
    assert [row["update"] for part in parts for row in part["rows"]] == list(range(10, 310, 10))
    for query in ("limit=0", "limit=10001", "limit=-1", "offset=1e3", "offset=", "limit=\u0663", "limit=" + "9" * 999):
        got = client.get(f"/api/studies/wiki/trials?{query}")
        assert got.status_code == 400
        assert got.json()["error"].startswith(query.partition("=")[0])


def test_a_study_without_a_spec_has_tables_and_no_verdict(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path))
    summary.write_trial(trial("7"))
    with TestClient(application(summary, RULES, page=page, report=print), base_url=URL) as client:
        assert client.get("/api/studies/wiki/points").json()["total"] == 1
        got = client.get("/api/studies/wiki/verdict")
        assert (got.status_code, got.json()["error"][-19:]) == (404, ", and so no verdict")
        got = client.get("/studies/wiki")
        assert (got.status_code, got.text) == (404, "this study has no spec in the summary, and so no page\n")
        assert "1 trials done" in client.get("/").text


def test_nothing_is_written(client: TestClient, shared: Summary) -> None:
    def everything() -> dict[str, tuple[int, int]]:
        found = Path(shared.uri).rglob("*")
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}

    before = everything()
    for address in (*ADDRESSES, "/api/studies/wiki/verdict", "/api/studies/none/points", "/studies/none"):
        client.get(address)
        client.post(address)
    assert everything() == before


def test_no_studies_yet(tmp_path: Path) -> None:
    summary = Summary(str(tmp_path / "none"))
    with TestClient(application(summary, RULES, page=page, report=print), base_url=URL) as client:
        assert "No studies yet" in client.get("/").text
        assert client.get("/api/studies").json()["rows"] == []
    assert not (tmp_path / "none").exists()


def test_what_goes_wrong_is_one_line_without_a_place(summary: Summary) -> None:
    problems: list[Exception] = []

    def broken(summary: Summary, study: str, **_: object) -> str:
        raise RuntimeError(f"{study}: a bug in {summary.uri}")

    with TestClient(application(summary, RULES, page=broken, report=problems.append), base_url=URL) as client:
        got = client.get("/studies/wiki")
        assert (got.status_code, got.text) == (
            500,
            "internal error, please report it with what `batchscope serve` printed\n",
        )
        assert client.get("/api/studies/wiki").status_code == 200
        folder = Path(summary.uri) / "evaluations"
        folder.rename(folder.with_name("away"))
        folder.write_bytes(b"no folder")
        got = client.get("/api/studies/other/points")
        assert got.status_code == 503
        assert got.json()["error"] == "the summary cannot be read now: see what `batchscope serve` printed"
    assert "a bug in" in str(problems[0])
    assert summary.uri in str(problems[1])


def test_a_trial_has_a_page_and_an_unknown_one_has_none(client: TestClient) -> None:
    got = client.get("/studies/wiki/trials/3")
    assert got.status_code == 200
    assert SCRIPT not in got.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</pre>" in got.text
    assert "batchscope export wiki --trial 3 " in got.text
    for address in ("/studies/wiki/trials/none", "/studies/none/trials/3", "/studies/wiki/trials/..%2f3"):
        assert client.get(address).status_code == 404


def test_studies_and_trials_are_compared_and_no_more_than_four(client: TestClient) -> None:
    got = client.get("/compare?of=wiki&of=wiki/1")
    assert got.status_code == 200
    assert '<a href="/studies/wiki/trials/1">wiki, trial 1</a>' in got.text
    for query, status in (("", 400), ("?of=a&of=b&of=c&of=d&of=e", 400), ("?of=none", 404), ("?of=wiki/none", 404)):
        assert client.get(f"/compare{query}").status_code == status, query


def test_the_list_has_an_answer_for_each_study(client: TestClient) -> None:
    answers = {row["study"]: row["answer"] for row in client.get("/api/studies").json()["rows"]}
    assert answers == {
        "wiki": "Nothing proven; the lowest mean loss is that of B = 16.",
        "other": "No trial that counts has ended.",
    }
    assert answers["wiki"] in client.get("/").text


def test_no_key_of_the_servers_environment_is_in_an_answer(shared: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with TestClient(application(shared, RULES, page=page, report=print), base_url=URL) as client:
        for address in (*ADDRESSES, "/api/studies/none", "/api/studies/wiki/trials?where=1"):
            got = client.get(address)
            assert not planted_in(got.text + str(got.headers)), address
