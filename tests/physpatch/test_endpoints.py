"""Products behind HTTP that answer with nonsense, too slowly, or not at all: one line each, and nothing sent unasked."""

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from calibration.common.errors import InputError, UnavailableError
from physpatch.victims.families.endpoints import Client, Endpoint, client
from physpatch.victims.families.endpoints.answers import UnexpectedAnswerError, read_answer
from physpatch.victims.networks.outputs import Queries
from physpatch.victims.registry import load_victim

LABELS = ("cat", "dog", "owl")
PICTURE = np.zeros((1, 3, 8, 8), np.float32)


class Host(BaseHTTPRequestHandler):
    """Reads a request, and lets ``answer`` write whatever it likes."""

    answer: ClassVar[Callable[["Host"], None]]
    headers_seen: ClassVar[list[dict[str, str]]] = []
    times_s: ClassVar[list[float]] = []
    stopped: ClassVar[threading.Event]

    def do_POST(self) -> None:
        self.pictures = len(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["images"])
        Host.headers_seen.append(dict(self.headers))
        Host.times_s.append(time.monotonic())
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up
            type(self).answer(self)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def host(monkeypatch) -> Iterator[str]:
    monkeypatch.setattr(client, "_BACKOFF_S", 0.01)
    Host.headers_seen, Host.times_s, Host.stopped = [], [], threading.Event()
    Host.answer = well
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/predict"
        Host.stopped.set()
        server.shutdown()


def well(handler: Host) -> None:
    body = json.dumps({"labels": LABELS, "logits": [[1, 2, 3]] * handler.pictures}).encode()
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def says(content: bytes) -> Callable[[Host], None]:
    return lambda handler: handler.wfile.write(content)


def dripping(begin: bytes) -> Callable[[Host], None]:
    """Send a byte now and then, far more often than any limit for a single wait."""

    def drip(handler: Host) -> None:
        handler.wfile.write(begin)
        while not Host.stopped.wait(0.05):
            handler.wfile.write(b"x")

    return drip


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Slow: "],
    ids=["body", "header"],
)
def test_a_host_that_drips_is_given_up_in_time(begin: bytes, host: str) -> None:
    Host.answer = dripping(begin)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"does not answer \(no whole answer within 0\.5 s\)"):
        Client(Endpoint(host, timeout_s=0.5, retries=0), None).predict(PICTURE)
    assert time.monotonic() - started < 10  # and not for ever, however busy the machine


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"",
    ],
    ids=["no HTTP", "long header", "many headers", "cut off", "no chunk", "no gzip", "nothing"],
)
def test_answers_that_are_no_http_are_one_line(answer: bytes, host: str) -> None:
    Host.answer = says(answer)
    with pytest.raises(UnavailableError, match="does not answer"):
        Client(Endpoint(f"{host}?key=s3cret", retries=1), None).predict(PICTURE)
    assert len(Host.times_s) == 2


def test_keys_in_the_address_are_not_shown() -> None:
    with pytest.raises(UnavailableError) as refused:
        Client(Endpoint("http://127.0.0.1:9/predict?key=s3cret", retries=0), None).predict(PICTURE)
    assert "s3cret" not in str(refused.value) and "refused" in str(refused.value)


@pytest.mark.parametrize(
    "header", ["99999999", "9" * 400, "Fri, 31 Dec 9998 23:59:59 GMT", "Fri, 31 Dec 9998 23:59:59"]
)
def test_a_pause_that_nobody_would_wait_is_refused(header: str, host: str) -> None:
    Host.answer = says(f"HTTP/1.1 429 Busy\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(UnavailableError, match=r"status 429 \(Busy\) and asks to wait .* longer than the 60 s"):
        Client(Endpoint(host), None).predict(PICTURE)
    assert len(Host.times_s) == 1


@pytest.mark.parametrize("header", ["0", "-5", "soon", "nan", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_other_pauses_are_kept_or_replaced(header: str, host: str) -> None:
    Host.answer = says(f"HTTP/1.1 503 Busy\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(UnavailableError, match="answers with status 503"):
        Client(Endpoint(host, retries=2), None).predict(PICTURE)
    assert len(Host.times_s) == 3


def test_a_pause_that_is_asked_for_is_kept(host: str) -> None:
    Host.answer = says(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(UnavailableError, match="answers with status 503"):
        Client(Endpoint(host, retries=1), None).predict(PICTURE)
    assert Host.times_s[1] - Host.times_s[0] >= 1


def test_repeated_attempts_keep_the_rate_and_are_counted(host: str) -> None:
    Host.answer = says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    asked = Client(Endpoint(host, retries=2, requests_per_s=5), None)
    with pytest.raises(UnavailableError):
        asked.predict(PICTURE)
    assert asked.queries == Queries(3, 3)
    assert Host.times_s[-1] - Host.times_s[0] >= 0.3  # two pauses of 0.2 s, without a slow start of the first


def test_nothing_of_the_environment_is_sent(host: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("no_proxy", "")
    assert Client(Endpoint(host), None).predict(PICTURE).tolist() == [[1, 2, 3]]
    assert "Authorization" not in Host.headers_seen[0]
    assert base64.b64encode(b"me:s3cret").decode() not in str(Host.headers_seen)


@pytest.mark.parametrize(
    ("token", "words"), [("two\nlines", "characters that no header"), (" ", "is not set"), ("tökén", "characters")]
)
def test_tokens_that_cannot_be_sent_are_not_shown(token: str, words: str, monkeypatch) -> None:
    monkeypatch.setenv("PRODUCT_TOKEN", token)
    with pytest.raises(InputError, match=words) as refused:
        Endpoint("http://host/x", token_env="PRODUCT_TOKEN")
    assert token not in str(refused.value) or token == " "


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1",
        "http://host:99999/x",
        "http://host:0/x",
        "http://host:x/",
        "http:///path",
        "http://a b/x",
        f"http://{'a' * 64}.example/x",
        "http://host/\x1b[31m",
        "ftp://host/x",
        "file:///etc/passwd",
    ],
)
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"is no address of an endpoint.*expected http\(s\)://host/path") as refused:
        Endpoint(url)
    assert str(refused.value).isprintable()


def test_the_password_in_a_bad_address_is_not_shown() -> None:
    for url in ("http://me:s3cret@host:99999/x", "http://me:s3cret@host/x", "http://host\\@s3cret/x"):
        with pytest.raises(InputError) as refused:
            Endpoint(url)
        assert "s3cret" not in str(refused.value)


def test_the_scheme_may_be_in_capitals(host: str) -> None:
    victim = load_victim(host.replace("http", "HTTP"), say=lambda _: None)
    assert victim.categories == LABELS
    assert Endpoint("https://[::1]:8080/x").name == "https://[::1]:8080/x"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timeout_s", (0, -1, NAN, INF, 1e9)),
        ("requests_per_s", (0, -1, NAN, INF, 1e-300)),
        ("batch", (0, -1, 10**12)),
        ("retries", (-1, 10**6)),
    ],
)
def test_settings_out_of_range_are_refused(name: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"an endpoint's {name} is .*; expected "):
            Endpoint("http://host/x", **{name: value})


def scores(*best: object) -> dict:
    return {"predictions": [[*best]]}


def boxes(**changes: object) -> dict:
    return {"boxes": [[{"label": "cat", "score": 0.5, "box": [1, 2, 3, 4]} | changes]]}


CAT, DOG = {"label": "cat", "score": 0.6}, {"label": "dog", "score": 0.3}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([], r"it is \[\]; expected an object"),
        ({}, "none of logits"),
        ({"logits": 3}, "logits is 3 for 1 pictures; expected a list for each"),
        ({"logits": [[1, 2, 3]] * 2}, "logits is 2 lists for 1 pictures"),
        ({"logits": [3]}, r"logits\[0\] is 3; expected a list of numbers"),
        ({"logits": [[1, 2]]}, r"logits\[0\] has 2 numbers for 3 labels"),
        ({"logits": [[1, "2", 3]]}, r"logits\[0\]\[1\] is '2'; expected a finite number"),
        ({"logits": [[1, True, 3]]}, r"logits\[0\]\[1\] is true; expected a finite"),
        ({"logits": [[1, None, 3]]}, r"logits\[0\]\[1\] is null"),
        ({"logits": [[1, NAN, 3]]}, r"logits\[0\]\[1\] is NaN"),
        ({"logits": [[1, 10**400, 3]]}, r"logits\[0\]\[1\] is 1000.*…; expected a finite"),
        ({"logits": [[1, 1e300, 3]]}, r"logits\[0\]\[1\] is 1e\+300; expected a finite"),
        ({"probabilities": [[-0.2, 0.6, 0.6]]}, r"probabilities\[0\]\[0\] is -0\.2; expected a probability, 0 to 1"),
        ({"probabilities": [[0, 1.7, 0]]}, r"probabilities\[0\]\[1\] is 1\.7"),
        ({"probabilities": [[0.9, 0.9, 0.1]]}, r"probabilities\[0\] sums to 1\.9; expected 1, or send logits"),
        ({"probabilities": [[0, 0, 0]]}, r"probabilities\[0\] sums to 0"),
        (scores(CAT | {"score": 1.5}), r"predictions\[0\]\[0\]\.score is 1\.5; expected a probability"),
        (scores(CAT | {"score": NAN}), r"predictions\[0\]\[0\]\.score is NaN"),
        (scores(CAT | {"score": "0.5"}), r"predictions\[0\]\[0\]\.score is '0\.5'"),
        (scores(CAT, DOG | {"score": 0.9}), r"the scores of predictions\[0\] sum to 1\.5; expected 1 at most"),
        (scores(CAT, CAT), r"predictions\[0\]\[1\]\.label is 'cat' for the second time"),
        (scores(CAT | {"label": "tiger"}), r"predictions\[0\]\[0\]\.label is 'tiger'; expected one of the 3 labels"),
        (scores(CAT | {"label": 7}), r"label is '7'; expected one of the 3 labels"),
        (scores(CAT | {"label": ["cat"]}), r"label is \[\"cat\"\]; expected the name of a class"),
        (scores("cat"), r"predictions\[0\]\[0\] is 'cat'; expected an object"),
        ({"predictions": {"cat": 1}}, "predictions is {.* for 1 pictures"),
        ({"predictions": [[]]}, r"predictions\[0\] is empty, so no class comes first; expected the best classes"),
        ({"predictions": [5]}, r"predictions\[0\] is 5; expected a list of objects"),
        ({"boxes": 5}, "boxes is 5 for 1 pictures"),
        (boxes(box=[5, 2, 3, 4]), r"boxes\[0\]\[0\]\.box is \[5, 2, 3, 4\]; expected .* with left before right"),
        (boxes(box=[1, 5, 3, 4]), "top before bottom"),
        (boxes(box=[1, NAN, 3, 4]), r"boxes\[0\]\[0\]\.box\[1\] is NaN; expected a finite number"),
        (boxes(box=[1, 2, INF, 4]), r"boxes\[0\]\[0\]\.box\[2\] is Infinity"),
        (boxes(box=[1, 2]), r"boxes\[0\]\[0\]\.box is \[1, 2\]; expected \[left, top, right, bottom\]"),
        (boxes(score=-0.1), r"boxes\[0\]\[0\]\.score is -0\.1"),
        (boxes(label=None), r"boxes\[0\]\[0\]\.label is null; expected the name of a class"),
        ({"labels": 5, "logits": [[1, 2, 3]]}, "labels is 5; expected a list of names"),
        ({"labels": "cat", "logits": [[1, 2, 3]]}, "labels is 'cat'; expected a list"),
        ({"labels": ["cat", {}], "logits": [[1, 2, 3]]}, r"labels\[1\] is {}; expected the name of a class"),
    ],
)
def test_impossible_answers_name_their_place(answer: object, words: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match=words):
        read_answer(json.dumps(answer).encode(), 1, LABELS)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"logits": [[' + b"9" * 5000 + b", 1, 2]]}", b"\xff\xfe", b"hello"],
    ids=["nested", "huge number", "no text", "no JSON"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError, match="it is not JSON"):
        read_answer(body, 1, LABELS)


def test_numbers_beyond_any_are_refused_and_rounded_ones_are_not() -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"boxes\[0\]\[0\]\.box\[2\] is Infinity"):
        read_answer(b'{"boxes": [[{"label": "cat", "score": 1, "box": [0, 0, 1e999, 4]}]]}', 1, LABELS)
    rounded = read_answer(b'{"probabilities": [[0.33, 0.33, 0.33]]}', 1, LABELS)
    assert np.exp(rounded.values).tolist()[0] == pytest.approx([0.33] * 3)
    best = read_answer(json.dumps(scores(CAT, DOG)).encode(), 1, LABELS)
    assert np.exp(best.values).tolist()[0] == pytest.approx([0.6, 0.3, 0.1])
    unsummed = read_answer(json.dumps(scores(DOG)).encode(), 1, LABELS)
    assert unsummed.values.argmax() == LABELS.index("dog")  # though 0.7 remain for two other classes
    found = read_answer(json.dumps(boxes()).encode(), 1, LABELS)
    assert found.finds_boxes and found.values.tolist() == [[[1, 2, 3, 4, 0.5, 0, 0]]]


def test_a_label_that_two_classes_have_means_none() -> None:
    with pytest.raises(UnexpectedAnswerError, match="'cat'; expected a label of one class only"):
        read_answer(json.dumps(scores(CAT)).encode(), 1, ("cat", "cat", "dog"))


def test_another_model_behind_the_same_address_is_noticed(host: str) -> None:
    asked = Client(Endpoint(host), None)
    asked.predict(PICTURE)
    for answer, words in (
        ({"labels": LABELS[::-1], "logits": [[1, 2, 3]]}, "other labels than at first"),
        (boxes(), "other forms than at first"),
    ):
        packed = gzip.compress(json.dumps(answer).encode())
        Host.answer = says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed)
        with pytest.raises(InputError, match=words):
            asked.predict(PICTURE)


def test_the_command_line_says_it_in_one_line(host: str, command) -> None:
    Host.answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40_000)
    command("models", "--check", host).assert_refused("is not as documented: it is not JSON")
    command("models", "--check", "http://[::1").assert_refused("is no address of an endpoint")
