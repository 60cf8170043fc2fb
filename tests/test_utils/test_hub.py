import errno

import huggingface_hub
import pytest
from huggingface_hub import constants
from toy_hub import COMMIT, REPO, hub_at

from afa.utils import hub

ADDRESS = f"hf://{REPO}/model.safetensors"
PINNED = f"hf://{REPO}@{COMMIT}/model.safetensors"
FILES = {"model.safetensors": b"weights", "a/other.safetensors": b"others", "model.bin": b"pickle"}


@pytest.fixture
def said(monkeypatch):
    """What is logged."""
    texts = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda text, logger: texts.append(text))
    return texts


@pytest.fixture
def at(tmp_path, monkeypatch):
    return lambda **how: hub_at(FILES, tmp_path, monkeypatch, **how)


def test_a_file_is_fetched_once_and_its_licence_and_commit_are_told(at, said):
    with at(card=dict(license="apache-2.0")) as server:
        found = hub.fetch(ADDRESS)
        assert found.path.read_bytes() == b"weights" and found.pinned == PINNED
        assert said == [f"{ADDRESS}: licence apache-2.0; for the same file at any time: {PINNED}"]
        assert server.asked == [
            f"GET /api/models/{REPO}",
            f"HEAD /{REPO}/resolve/main/model.safetensors",
            f"GET /{REPO}/resolve/main/model.safetensors",
        ]
        # The branch moves on; a process keeps what it has, another asks and takes the new one.
        server.commit, server.files = "b" * 40, {"model.safetensors": b"new"}
        assert hub.fetch(ADDRESS) == found and len(server.asked) == 3
        hub.fetch.cache_clear()
        assert hub.fetch(ADDRESS).path.read_bytes() == b"new"
        # The pinned one is there and needs no network.
        del server.asked[:]
        assert hub.fetch(PINNED) == found and server.asked == []


def test_folders_revisions_and_no_licence(at, said):
    with at() as server:
        pinned = f"hf://{REPO}@{COMMIT}/a/other.safetensors"
        assert hub.fetch(f"hf://{REPO}@main/a/other.safetensors").pinned == pinned
        assert server.asked[0] == f"GET /api/models/{REPO}/revision/main"
        assert said[0].startswith(f"hf://{REPO}@main/a/other.safetensors: no licence stated; ")
    match = hub._ADDRESS.fullmatch("hf://o/n@refs/pr/3/a/b.safetensors")
    assert match.groups() == ("o/n", "refs/pr/3", "a/b.safetensors")


def test_other_processes_are_silent(at, said, monkeypatch):
    with at():
        monkeypatch.setenv("RANK", "1")
        hub.fetch(ADDRESS)
    assert said == []


def test_only_safetensors_are_taken(at):
    with at() as server:
        with pytest.raises(ValueError, match=r"model\.bin' is refused: .* pickles, which can run"):
            hub.fetch(f"hf://{REPO}/model.bin")
        assert server.asked == []


@pytest.mark.parametrize(
    "wrong", ["hf://model.safetensors", "hf://a/b", "hf://a/b@/c.safetensors", "hf://a/b/../c"]
)
def test_the_form_of_an_address_is_told(wrong):
    with pytest.raises(ValueError, match=r"is no address .* give hf://OWNER/NAME/FILE"):
        hub.fetch(wrong)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("hf://me/nothing/a.safetensors", "there is no repository http.*me/nothing, or it is priv"),
        (f"hf://{REPO}@v9/a.safetensors", "has no branch, tag or commit 'v9': see http"),
        (f"hf://{REPO}/a.safetensors", "no such file; its files of weights are model.safetensors"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(at, address, text):
    with at(), pytest.raises(ValueError, match=text):
        hub.fetch(address)


def test_a_repository_without_safetensors(tmp_path, monkeypatch):
    files = {"pytorch_model.bin": b""}
    with (
        hub_at(files, tmp_path, monkeypatch),
        pytest.raises(ValueError, match=r"it has no .safet.*"),
    ):
        hub.fetch(ADDRESS)


def test_gated_and_refused_files(at):
    with at(refusal=(403, {"X-Error-Code": "GatedRepo"})) as server:
        with pytest.raises(ValueError, match=rf"ask for it on {server.url}/{REPO}, then log in \("):
            hub.fetch(ADDRESS)
        server.refusal = (403, {"X-Error-Message": "not you"})
        with pytest.raises(ValueError, match=rf"{server.url} refuses it \(403 Forbidden: not you"):
            hub.fetch(ADDRESS)


def test_private_files_need_the_token_of_huggingface_hub(at, tmp_path):
    with at(token="hf_secret") as server:
        with pytest.raises(
            ValueError, match=r"or it is private: .* a token in HF_TOKEN\)"
        ) as error:
            hub.fetch(ADDRESS)
        assert "hf_secret" not in str(error.value)
        (tmp_path / "token").write_text("hf_secret")  # what `hf auth login` leaves
        assert hub.fetch(ADDRESS).path.read_bytes() == b"weights" and server.asked


def test_without_network_what_was_fetched_is_taken(at, said):
    with at() as server:
        url = server.url
        found = hub.fetch(ADDRESS)
        hub.fetch.cache_clear()
        server.refusal = (404, {})  # an answer, not a broken way
    assert huggingface_hub.HfApi.keywords["endpoint"] == url  # now nobody answers there
    assert hub.fetch(ADDRESS) == found
    assert said[1] == f"{ADDRESS}: the hub is not reached; as fetched before: {PINNED}"
    with pytest.raises(ValueError, match=f"{url} is not reached, .*HF_ENDPOINT names a mirror"):
        hub.fetch(f"hf://{REPO}/a/other.safetensors")
    hub.fetch.cache_clear()


def test_offline_mode(at, said, monkeypatch):
    with at() as server:
        found = hub.fetch(ADDRESS)
        hub.fetch.cache_clear()
        del server.asked[:]
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        huggingface_hub.close_session()  # the client reads the setting when it is made
        assert hub.fetch(ADDRESS) == found and hub.fetch(PINNED) == found
        with pytest.raises(ValueError, match="HF_HUB_OFFLINE is set, and it was not fetched"):
            hub.fetch(f"hf://{REPO}/a/other.safetensors")
        assert server.asked == []
    huggingface_hub.close_session()


def test_a_download_that_breaks_off(at, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    with at(breaks=[3] * 20) as server:
        with pytest.raises(ValueError, match=r"breaks off \(peer closed .*same command again"):
            hub.fetch(ADDRESS)
        server.breaks = []
        assert hub.fetch(ADDRESS).path.read_bytes() == b"weights"


def test_a_full_disk_stays_one(at, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with at():
        monkeypatch.setattr("huggingface_hub.hf_api.HfApi.hf_hub_download", full)
        with pytest.raises(OSError, match="No space left") as error:
            hub.fetch(ADDRESS)
        assert error.value.errno == errno.ENOSPC


def test_paths_of_this_disk(at, tmp_path):
    assert hub.local_path(tmp_path / "a.pth") == tmp_path / "a.pth"
    assert hub.is_hub_address(ADDRESS) and not hub.is_hub_address("https://a/b")
    with at():
        assert hub.local_path(ADDRESS).read_bytes() == b"weights"
