import dataclasses
import hashlib
import io
import shutil
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
from toy_server import serving

from afa.files.published_files import PublishedFile
from afa.utils.download import check_space, download, unpack

CONTENT = bytes(range(256)) * 5000  # 1.28 MB: more than one piece


def published(server, content=CONTENT, kind="sha256", digits=64, size=None):
    digest = hashlib.new(kind, content).hexdigest()[:digits]
    return PublishedFile(f"{server.url}/a.bin", "http://page", f"{kind}:{digest}", size)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads" / "a.bin"


@pytest.mark.parametrize(("kind", "digits"), [("md5", 32), ("sha256", 64), ("sha256", 8)])
def test_a_file_comes_once(path, kind, digits):
    shown = []
    with serving({"/a.bin": CONTENT}) as server:
        file = published(server, kind=kind, digits=digits, size=len(CONTENT))
        download(file, path, lambda *numbers: shown.append(numbers))
        download(file, path)
    assert path.read_bytes() == CONTENT and [one.name for one in path.parent.iterdir()] == ["a.bin"]
    assert server.asked == [("/a.bin", None)]
    assert shown == [(1, 2), (1, 2)]


def test_a_connection_that_breaks_off_goes_on_in_the_same_run_and_in_the_next(path):
    part = path.with_name("a.bin.part")
    with serving({"/a.bin": CONTENT}, breaks=[700, 300, 0, 0, 0, 50]) as server:
        with pytest.raises(ConnectionError, match=r"broke off 5 times. Run the same command again"):
            download(published(server), path)
        assert part.read_bytes() == CONTENT[:1000] and not path.exists()
        download(published(server), path)
    ranges = [None, "bytes=700-", *["bytes=1000-"] * 4, "bytes=1050-"]
    assert [asked for _, asked in server.asked] == ranges
    assert path.read_bytes() == CONTENT and not part.exists()


def test_a_server_without_ranges_sends_all_again(path):
    with serving({"/a.bin": CONTENT}, ranges=False, breaks=[700]) as server:
        download(published(server), path)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(path):
    path.parent.mkdir()
    path.with_name("a.bin.part").write_bytes(CONTENT)
    with serving({"/a.bin": CONTENT}) as server:
        download(published(server), path)
    assert path.read_bytes() == CONTENT


def test_another_content_is_refused_and_removed(path):
    with serving({"/a.bin": CONTENT}) as server:
        file = published(server, content=b"other")
        with pytest.raises(ValueError, match=r"gave has the SHA256 .*, not .* has been removed"):
            download(file, path)
        assert not [*path.parent.iterdir()]
        with pytest.raises(ValueError, match="1,280,000 bytes, not 7"):
            download(dataclasses.replace(file, size=7), path)


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(path):
    path.parent.mkdir()
    with serving({}) as server:
        file = published(server)
        path.write_bytes(CONTENT)
        download(file, path)
        path.write_bytes(b"half")
        with pytest.raises(ValueError, match=r"a.bin' is there and has the SHA256 .* Move it away"):
            download(file, path)
    assert path.read_bytes() == b"half" and not server.asked


def test_an_address_that_is_gone_and_a_machine_without_network(path):
    with serving({}) as server:
        file = published(server)
        with pytest.raises(ConnectionError, match=r"answers 404 .*see http://page\) and put it at"):
            download(file, path)
    with pytest.raises(
        ConnectionError, match=r"cannot be reached .* on the network\? .* put it at"
    ):
        download(file, path)  # the server is down now
    assert not [*path.parent.iterdir()]


def test_a_full_disk_is_no_matter_of_the_network(path):
    path.parent.mkdir()
    path.with_name("a.bin.part").symlink_to("/dev/full")
    with serving({"/a.bin": CONTENT}) as server, pytest.raises(OSError, match="No space left"):
        download(published(server), path)


@pytest.mark.parametrize("suffix", ["tar", "tgz", "zip"])
def test_archives_are_unpacked_once_and_mended(tmp_path, suffix):
    archive, folder = tmp_path / f"a.{suffix}", tmp_path / "out"
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w") as out:
            out.writestr("set/", "")
            out.writestr("set/a.txt", "abc")
    else:
        with tarfile.open(archive, "w:gz" if suffix == "tgz" else "w") as out:
            member = tarfile.TarInfo("set/a.txt")
            member.size = 3
            out.addfile(member, io.BytesIO(b"abc"))
    assert unpack(archive, folder) and not unpack(archive, folder)
    (folder / "set" / "a.txt").write_text("ab")  # stopped in the middle
    (folder / "set" / "mine.txt").write_text("stays")
    assert unpack(archive, folder)
    assert (folder / "set" / "a.txt").read_text() == "abc"
    assert (folder / "set" / "mine.txt").read_text() == "stays"


def test_a_disk_that_is_too_small_is_said_before(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=30))
    file = PublishedFile("http://x/a.tar", "", "md5:1", size=20)
    path = tmp_path / "data" / "downloads" / "a.tar"
    with pytest.raises(ValueError, match="Archives and what they hold take about"):
        check_space([(file, path)])
    path.parent.mkdir(parents=True)
    path.with_name("a.tar.part").write_bytes(bytes(10))
    check_space([(file, path)])
