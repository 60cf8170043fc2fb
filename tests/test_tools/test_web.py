import logging
import sys
from functools import partial

import pytest
from toy_predict import write_checkpoint, write_config

from afa.apis.web import open_socket, server


@pytest.fixture
def run(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "web.py")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return write_config(folder), write_checkpoint(folder)


class Server:
    """Serve nothing; look at what would be served."""

    def __init__(self, config):
        self.config = config

    def run(self, sockets):
        (listener,) = sockets
        assert listener.getsockname()[0] == "127.0.0.1"
        listener.close()


def test_it_says_where_the_page_is(run, toy, monkeypatch):
    monkeypatch.setattr("uvicorn.Server", Server)
    status, said, error = run(*toy, "--port", 0, "--device", "cpu")
    assert status == 0 and not error
    assert said.startswith("Open http://127.0.0.1:") and "Everybody" not in said


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["{config}"], "is a config: give the checkpoint after it"),
        (["{checkpoint}"], "carries no config"),
        (["nowhere.py", "{checkpoint}"], "no config file 'nowhere.py'"),
        (["{config}", "nowhere.pth"], "checkpoint nowhere.pth does not exist"),
        (["{config}", "{checkpoint}", "--port", "99999"], "--port must be between 0 and 65535"),
        (["{config}", "{checkpoint}", "--keep", "0"], "--keep must be above 0"),
        (["{config}", "{checkpoint}", "--host", "203.0.113.7"], "has no address '203.0.113.7'"),
        (["{config}", "{checkpoint}", "--device", "tpx"], "device must be"),
    ],
)
def test_wrong_input_is_one_sentence(run, toy, args, text):
    names = dict(config=toy[0], checkpoint=toy[1])
    options = [] if "--port" in args else ["--port", "0"]
    status, _, error = run(*[arg.format(**names) for arg in args], *options)
    assert status == 2 and text in error
    assert error.count("\n") == 2  # the sentence, and how to see more


def test_a_taken_port_is_told_before_the_model_is_read(run):
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        status, _, error = run("nowhere.py", "nowhere.pth", "--port", port)
    assert status == 2 and f"Port {port} of 127.0.0.1 is taken" in error and "--port" in error


def test_a_missing_package_is_told(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    status, _, error = run("nowhere.py", "nowhere.pth", "--port", 0)
    assert status == 2 and error.startswith(f"Error: {server.MISSING}")


def test_log_files_that_are_open_stay_open(run, toy, monkeypatch, tmp_path):
    monkeypatch.setattr("uvicorn.Server", Server)
    handler = logging.FileHandler(tmp_path / "run.log")
    try:
        assert run(*toy, "--port", 0, "--device", "cpu")[0] == 0
        assert handler.stream is not None
    finally:
        handler.close()
