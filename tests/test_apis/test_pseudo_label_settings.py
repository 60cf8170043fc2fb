import hashlib

import pytest
from mmengine.config import ConfigDict

from afa.apis.pseudo_label_settings import config_digest, file_digest

MODEL = dict(type="AFA", backbone=dict(arch="b0", init_cfg=dict(checkpoint="a")), scales=(1.0, 0.5))


def test_initial_weights_and_the_kind_of_container_do_not_count():
    digest = config_digest(MODEL)
    elsewhere = dict(MODEL, backbone=dict(arch="b0", init_cfg=None), scales=[1.0, 0.5])
    assert config_digest(elsewhere) == config_digest(ConfigDict(MODEL)) == digest
    assert len(digest) == 12


@pytest.mark.parametrize(
    "change", [dict(scales=(1.0,)), dict(backbone=dict(arch="b1")), dict(extra=None)]
)
def test_all_else_counts(change):
    assert config_digest({**MODEL, **change}) != config_digest(MODEL)


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path):
    content = bytes(range(256)) * 5000  # more than is read at a time
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(content)
        assert file_digest(tmp_path / name) == hashlib.sha256(content).hexdigest()[:16]
    (tmp_path / "b.pth").write_bytes(content[:-1])
    assert file_digest(tmp_path / "b.pth") != file_digest(tmp_path / "a.pth")
