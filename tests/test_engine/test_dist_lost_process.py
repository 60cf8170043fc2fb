import pytest
from mmengine import dist

from afa.engine.dist import LostProcessError, saying_what_was_lost

GLOO = "[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4831"


def test_a_broken_connection_is_a_sentence(monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    text = "Process 1 ends because another process"
    with pytest.raises(LostProcessError, match=text), saying_what_was_lost():
        raise RuntimeError(GLOO)
    assert LostProcessError.exit_status == 1


def test_other_errors_and_single_processes_keep_theirs(monkeypatch):
    with pytest.raises(RuntimeError, match="gloo"), saying_what_was_lost():
        raise RuntimeError(GLOO)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="shape mismatch"), saying_what_was_lost():
        raise RuntimeError("shape mismatch")
