"""Has pycket, pyramid_kvs and Session3 write sessions, and keeps the raw bytes beside this file. See README.md."""

import collections
import datetime
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import redis
from pycket.notification import NotificationManager
from pycket.session import SessionManager
from pyramid.testing import DummyRequest
from pyramid_kvs.session import SessionFactory
from quixote.directory import Directory
from quixote.http_request import HTTPRequest
from quixote.publish import Publisher
from session3.DictSession import DictSession
from session3.Session import Session
from session3.store.DirectorySessionStore import DirectorySessionStore

HERE = pathlib.Path(__file__).parent
VALUES = {
    "name": "Zoë 😀",
    "visits": 3,
    "big": 2**80,
    "minus": -(2**70),
    "price": 1.5,
    "yes": True,
    "nothing": None,
    "list": [1, [2, {"deep": "x"}]],
    "pair": (1, "two"),
    "set": {7},
    "bytes": b"plain",
    "when": datetime.datetime(2026, 11, 21, 4, 38, 19, 123),
    "day": datetime.date(2026, 11, 21),
    "ordered": collections.OrderedDict(b=1, a=2),
}


def keep(name, raw):
    (HERE / name).write_bytes(raw)


class Handler:
    """What pycket needs of Tornado's handler: settings, and the signed cookie that is there already."""

    def __init__(self, settings):
        self.settings = settings

    def get_secure_cookie(self, name):
        return b"1c5e9c0a-6c9b-4a43-b0b6-0e9a4ad3bd05"


def pycket(port):
    settings = {"pycket": {"engine": "redis", "storage": {"host": "127.0.0.1", "port": port}}}
    session = SessionManager(Handler(settings))
    for name, value in VALUES.items():
        session.set(name, value)
    NotificationManager(Handler(settings)).set("saved", {"text": "Saved."})
    NotificationManager(Handler(settings)).set("left", 2)
    key = Handler(settings).get_secure_cookie("")
    keep("pycket-session", redis.Redis(port=port, db=0).get(key))
    keep("pycket-notifications", redis.Redis(port=port, db=1).get(key))


def pyramid_kvs(port, codec):
    factory = SessionFactory(
        {"kvs.session": '{"kvs": "redis", "kvs_kwargs": {"port": %d}, "codec": "%s"}' % (port, codec)}
    )
    request = DummyRequest(cookies={"session_id": codec})
    request.add_response_callback = lambda callback: None
    session = factory(request)
    plain = ("bytes", "set", "when", "day") if codec == "json" else ()
    session.update({name: value for name, value in VALUES.items() if name not in plain})
    session["__csrf_token"] = "5d41402abc4b2a76b9719d911017c592ae2f3e01"
    session.flash("Saved.")
    session.flash("Saved.")
    session.flash({"code": 7}, "warnings")

    class Response:
        def set_cookie(self, *arguments):
            pass

    session.save_session(request, Response())
    keep("pyramid_kvs-" + codec, redis.Redis(port=port).get("session::" + codec))


def session3():
    publisher = Publisher(Directory())
    environ = {"REMOTE_ADDR": "192.0.2.7", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    publisher._set_request(HTTPRequest(None, environ))
    directory = HERE / "session3"
    shutil.rmtree(directory, ignore_errors=True)
    store = DirectorySessionStore(str(directory), create=True)

    plain = Session("8JkxvbRB2qQ")
    plain.set_user("anna")
    plain.shelf = ["own", "attribute"]
    full = DictSession("Zw7fQdGmX0s")
    full.set_user(42)
    full.update(VALUES)
    for session in plain, full:
        session._creation_time, session._access_time = 1763700000.25, 1763700100.75
    # As create_form_token() would, 33 times, with tokens that are the same each time the recipe runs.
    import session3.Session as module

    numbers = iter(range(33))
    module.randbytes = lambda n: "token-%d" % next(numbers)
    for _ in range(33):
        plain.create_form_token()
    store.save_session(plain)
    store.save_session(full)


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as there:
        arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", there]
        server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    redis.Redis(port=port).ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            pycket(port)
            pyramid_kvs(port, "json")
            pyramid_kvs(port, "pickle")
        finally:
            server.terminate()
            server.wait()
    session3()


main()
