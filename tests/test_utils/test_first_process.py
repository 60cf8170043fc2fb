import pytest

from afa.utils import first_process as module


def test_the_first_process_answers_for_all(monkeypatch):
    assert module.first_process(lambda: 7) == 7
    with pytest.raises(FileNotFoundError, match="gone"):
        module.first_process(lambda: (_ for _ in ()).throw(FileNotFoundError("gone")))

    def receive(answer):
        answer[:] = sent

    monkeypatch.setattr(module.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(module.dist, "broadcast_object_list", receive)
    sent = ["theirs", None]
    assert module.first_process(lambda: pytest.fail("only the first")) == "theirs"
    sent = [None, ValueError("other settings")]
    with pytest.raises(ValueError, match="other settings"):
        module.first_process(lambda: None)
