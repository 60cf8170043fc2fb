"""The tool that downloads, as a user calls it, from a server on this machine."""

import dataclasses
import hashlib
import re
import shlex
from itertools import groupby
from pathlib import Path
from shutil import make_archive

import pytest
from torchvision.datasets.sbd import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT
from toy_coco import write_coco
from toy_server import serving
from toy_voc import VOCTree

from afa.files.published_files import PUBLISHED


@pytest.fixture
def publish(monkeypatch):
    """Put the contents of a name on a server in the place of what is published."""

    def put(server, name, *contents):
        files = []
        for file, content in zip(PUBLISHED[name], contents, strict=True):
            server.files[f"/{file.name}"] = content
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            url = f"{server.url}/{file.name}"
            files.append(dataclasses.replace(file, url=url, checksum=digest, size=len(content)))
        monkeypatch.setitem(PUBLISHED, name, tuple(files))

    return put


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def pack(tmp_path, form, root, base="."):
    return Path(make_archive(str(tmp_path / "packed"), form, root, base)).read_bytes()


def test_voc_and_sbd_come_to_where_the_converter_looks(run_main, publish, data, tmp_path):
    tree = VOCTree(tmp_path / "published")
    tree.make()
    voc = pack(tmp_path, "tar", tree.folder, "VOCdevkit")
    sbd = pack(tmp_path, "gztar", tree.folder / "SBD", "benchmark_RELEASE")
    with serving({}, breaks=[2000]) as server:
        publish(server, "voc12", voc, sbd)
        code, out, err = run_main("download.py", "voc12")
        assert (code, err) == (0, "")
        assert [path for path, _ in server.asked] == [
            "/VOCtrainval_11-May-2012.tar",
            "/VOCtrainval_11-May-2012.tar",
            "/benchmark.tgz",
        ]
        code, again, _ = run_main("download.py", "voc12")
        assert code == 0 and again.count("is unpacked already") == 2 and len(server.asked) == 3
    following = shlex.split(re.search(r"^voc12: ready. Next: \S+ tools/(.*)$", out, re.M)[1])
    code, out, err = run_main(*following, "--allow-partial", "--workers", 0)
    assert (code, err) == (0, "") and "Masks: 4 from VOC, 2 from SBD." in out
    assert (data / "VOCdevkit" / "VOC2012" / "image_labels.json").is_file()


def test_coco_comes_to_where_the_converter_looks(run_main, publish, data, tmp_path):
    coco = tmp_path / "published"
    coco.mkdir()
    write_coco(coco)
    names = ("annotations", "train2014", "val2014")
    packed = [pack(tmp_path, "zip", coco, name) for name in names]
    with serving({}) as server:
        publish(server, "coco14", packed[0])
        publish(server, "coco14-photos", *packed[1:])
        code, _, err = run_main("download.py", "coco14")
        assert (code, err) == (0, "") and not (data / "coco14" / "train2014").exists()
        code, out, err = run_main("download.py", "coco14", "coco14-photos")
        assert (code, err) == (0, "") and len(server.asked) == 3
    following = re.search(r"^coco14-photos: ready. Next: \S+ tools/(.*)$", out, re.M)[1]
    code, out, err = run_main(*shlex.split(following), "--workers", 0)
    assert (code, err) == (0, "") and "4 label maps drawn" in out


def test_weights_get_the_name_of_the_configs(run_main, publish, data, tmp_path, repo):
    with serving({}) as server:
        publish(server, "mit_b1", b"weights")
        assert run_main("download.py", "mit_b1", "--weights", "w")[0] == 0
    assert (tmp_path / "w" / "mit_b1.pth").read_bytes() == b"weights"
    named = "".join(path.read_text() for path in (repo / "configs" / "_base_").rglob("*.py"))
    named += "".join(path.read_text() for path in (repo / "configs" / "afa").glob("*.py"))
    for files in PUBLISHED.values():
        for file in files:
            assert not file.save_as or f"weights/{file.save_as}" in named


def test_without_network_it_is_one_sentence(run_main, publish, data):
    with serving({}) as server:
        publish(server, "coco14", b"")
    code, _, err = run_main("download.py", "coco14")
    assert code == 2 and "cannot be reached" in err and "put it at 'data/downloads/ann" in err
    code, _, err = run_main("download.py", "coco2017")
    assert code == 2 and "invalid choice: 'coco2017'" in err


def _rows(page):
    """Rows of the table of what download.py gets: name, address, size, checksum."""
    found = re.findall(r"^\| `([\w-]+)` \| <(\S+)> \| ([^|]*) \| ([^|]*) \|", page, re.M)
    return {name: [row[1:] for row in rows] for name, rows in groupby(found, lambda row: row[0])}


def test_the_docs_say_the_same(repo):
    docs = [(repo / "docs" / name).read_text("utf-8") for name in ("data.md", "weights.md")]
    rows = _rows(docs[0]) | _rows(docs[1])
    assert rows.keys() == PUBLISHED.keys()
    for name, files in PUBLISHED.items():
        assert [row[0] for row in rows[name]] == [file.url for file in files]
        for (_, size, checksum), file in zip(rows[name], files, strict=True):
            kind, digits = file.checksum.split(":")
            assert {"md5": "MD5", "sha256": "SHA-256"}[kind] in checksum and digits in checksum
            assert file.size is None or f"{file.size:,}" in size
            assert file.page in docs[0] + docs[1]


def test_checksums_are_those_of_torchvision():
    voc, sbd = PUBLISHED["voc12"]
    theirs = DATASET_YEAR_DICT["2012"]
    assert voc.name == theirs["filename"] and voc.checksum == f"md5:{theirs['md5']}"
    assert (sbd.name, sbd.checksum) == (SBDataset.filename, f"md5:{SBDataset.md5}")
