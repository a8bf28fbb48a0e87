"""What a store that misbehaves answers: bodies cut short, web pages in place of objects, locks that are none."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from study.spec.errors import UsageError
from study.store import lease, mirror, places

PAGE = b"<html><body>Please log in</body></html>"


class Answers(BaseHTTPRequestHandler):
    """GET of an object: its first `cuts` bodies end early. With `page`, a web page for everything."""

    protocol_version = "HTTP/1.1"
    cuts, page, asked = 0, None, 0

    def answer(self, body, sent=None, **headers):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = sent is not None

    def do_GET(self):
        cls = type(self)
        cls.asked += 1
        if cls.page is not None:
            self.answer(PAGE, Content_Type=cls.page, ETag='"e"')
        else:
            self.answer(b"0123456789", 4 if cls.asked <= cls.cuts else None, ETag='"e"')

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(PAGE, Content_Type="text/html")

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        """Say nothing."""


@pytest.fixture
def odd(monkeypatch, tmp_path):
    """A place in such a store."""
    monkeypatch.setattr(Answers, "cuts", 0)
    monkeypatch.setattr(Answers, "asked", 0)
    monkeypatch.setattr(Answers, "page", None)
    monkeypatch.setattr(places, "PAUSES", (0.0,) * 5)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    places.client.cache_clear()
    yield places.at("s3://studies/out")
    server.shutdown()
    server.server_close()
    places.client.cache_clear()


def test_a_body_that_is_cut_is_asked_for_six_times(odd, monkeypatch):
    monkeypatch.setattr(Answers, "cuts", 5)
    assert (odd / "x").read_bytes() == b"0123456789"
    assert Answers.asked == 6
    monkeypatch.setattr(Answers, "cuts", 100)
    with pytest.raises(places.Unavailable, match="s3://studies/out/x: "):
        (odd / "x").read_bytes()
    assert Answers.asked == 12


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xml"])
def test_a_web_page_is_no_answer_of_a_store(kind, odd, monkeypatch, here, tmp_path):
    """Not an object, not a listing without an output (the copy here would be emptied), not a write that was done."""
    monkeypatch.setattr(Answers, "page", kind)
    copy = mirror.working_folder(odd) / "trials" / "t.parquet"
    copy.parent.mkdir(parents=True)
    copy.touch()
    asks = [lambda: (odd / "x").put(b"1"), (odd / "x").exists, odd.listing, lambda: mirror.pull(odd)]
    asks += [(odd / "x").read_bytes] if "html" in kind else []
    for ask in asks:
        with pytest.raises(places.Unavailable, match="what answered is no S3 store"):
            ask()
    assert copy.exists()
    for words in (["status", str(odd)], ["compressibility_sweep", "--preset", "smoke", "--output", str(odd)]):
        done = here(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert "what answered is no S3 store" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b"<html>", b'{"owner": "me"}', b'{"owner": 1, "token": 2}'])
def test_a_lock_that_no_driver_wrote_is_named(content, place, tmp_path):
    places.replace(place / "lock.json", content)
    for ask in (lambda: lease.Lease(place, tmp_path).__enter__(), lambda: lease.leased(str(place))):
        with pytest.raises(UsageError, match=r"lock.json is no lock of a sweep; if no sweep runs there, delete it"):
            ask()
