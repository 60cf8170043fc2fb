import os
import pickle

import mmengine
import pytest

import afa.engine  # noqa: F401  puts the readers in their place


class _RunsCode:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_yaml_is_data_and_makes_no_objects(tmp_path, suffix):
    path, proof = tmp_path / f"a.{suffix}", tmp_path / "proof"
    path.write_text("a: [1, x]\n")
    assert mmengine.load(path) == dict(a=[1, "x"])
    path.write_text(f"a: !!python/object/apply:os.mkdir ['{proof}']\n")
    with pytest.raises(ValueError, match="names a Python object, which would run code"):
        mmengine.load(path)
    assert not proof.exists()
    path.write_text("a: [1\n")
    with pytest.raises(ValueError, match="malformed"):
        mmengine.load(path)


@pytest.mark.parametrize("suffix", ["pkl", "pickle"])
def test_pickles_are_written_and_not_read(tmp_path, suffix):
    path, proof = tmp_path / f"a.{suffix}", tmp_path / "proof"
    path.write_bytes(pickle.dumps(_RunsCode(proof)))
    with pytest.raises(ValueError, match="can run code and is not read: convert it to JSON"):
        mmengine.load(path)
    assert not proof.exists()
    mmengine.dump([1], path)
    assert pickle.loads(path.read_bytes()) == [1]


def test_a_yaml_base_of_a_config_makes_no_objects(tmp_path):
    from afa.engine.config.load import read_config_file

    proof = tmp_path / "proof"
    (tmp_path / "base.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{proof}']\n")
    (tmp_path / "c.py").write_text("_base_ = 'base.yaml'\n")
    with pytest.raises(ValueError, match=r"c\.py' cannot be used: a YAML file names a Python"):
        read_config_file(tmp_path / "c.py")
    assert not proof.exists()
