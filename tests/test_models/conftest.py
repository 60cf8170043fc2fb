import pytest

from afa.models.backbones import pretrained


@pytest.fixture
def messages(monkeypatch):
    """Gather what is said about the weights of a file."""
    seen = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: seen.append(text))
    return seen
