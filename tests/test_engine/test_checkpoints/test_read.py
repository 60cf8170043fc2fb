import os
import pickle
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

import afa.engine  # noqa: F401  puts the readers in their place
from afa.engine.checkpoints.read import register_checkpoint_loaders
from afa.engine.config.load import read_config_file
from afa.engine.runner import build_runner


class _Malice:
    """Reading this from a pickle makes a folder: code of the file has run."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def trap(tmp_path):
    """A malicious checkpoint, and the folder that appears if its code runs."""
    proof, path = tmp_path / "proof", tmp_path / "malicious.pth"
    torch.save(dict(state_dict={}, meta=_Malice(proof)), path)
    return str(path), proof


def test_load_checkpoint_refuses(trap):
    path, proof = trap
    with pytest.raises(ValueError, match=r"malicious\.pth"):
        load_checkpoint(nn.Linear(1, 1), path)
    assert not proof.exists()


def test_init_cfg_refuses(trap):
    path, proof = trap
    module = BaseModule(init_cfg=dict(type="Pretrained", checkpoint=path))
    with pytest.raises(ValueError, match=r"malicious\.pth"):
        module.init_weights()
    assert not proof.exists()


@pytest.mark.parametrize("how", ["load_from", "resume", "runner"])
def test_runner_refuses(toy_cfg, trap, how):
    path, proof = trap
    with pytest.raises(ValueError, match=r"malicious\.pth"):
        if how == "resume":
            build_runner(toy_cfg, resume=path)
        elif how == "load_from":
            toy_cfg.load_from = path
            build_runner(toy_cfg).train()
        else:
            build_runner(toy_cfg).load_checkpoint(path)
    assert not proof.exists()


def test_resume_does_not_execute_the_config_in_the_checkpoint(toy_cfg, tmp_path):
    build_runner(toy_cfg).train()
    path, proof = Path(toy_cfg.work_dir) / "iter_3.pth", tmp_path / "proof"
    checkpoint = torch.load(path, weights_only=False)
    assert isinstance(checkpoint["meta"]["cfg"], str)
    checkpoint["meta"]["config"] = f"import os\nos.mkdir({str(proof)!r})"
    torch.save(checkpoint, path)
    build_runner(toy_cfg, resume=str(path)).train()
    assert not proof.exists()


def test_own_checkpoints_with_a_best_score_load(toy_cfg):
    build_runner(toy_cfg).train()
    for path in Path(toy_cfg.work_dir).glob("*.pth"):
        assert "state_dict" in CheckpointLoader.load_checkpoint(str(path), "cpu", "silent")


def test_downloads_go_through_the_same_reader(trap, tmp_path, monkeypatch):
    path, proof = trap
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    for scheme in ("http", "https"):
        with pytest.raises(Exception):  # noqa: B017  no network: whatever urllib raises
            CheckpointLoader.load_checkpoint(f"{scheme}://localhost:1/x.pth", "cpu", "silent")
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda _, to, **kw: Path(to).write_bytes(_read(path))
    )
    with pytest.raises(ValueError, match=r"x\.pth"):
        CheckpointLoader.load_checkpoint("https://localhost:1/x.pth", "cpu", "silent")
    assert not proof.exists()


def _read(path):
    return Path(path).read_bytes()


def test_names_resolve_and_closed_schemes_say_what_to_do():
    with pytest.raises(ValueError, match="publishes no checkpoint named 'nothing'"):
        CheckpointLoader.load_checkpoint("open-mmlab://nothing", "cpu", "silent")
    with pytest.raises(ValueError, match="download the file"):
        CheckpointLoader.load_checkpoint("mmcls://resnet", "cpu", "silent")


def test_every_scheme_is_ours():
    loaders = CheckpointLoader._schemes
    assert {loader.__module__ for loader in loaders.values()} == {"afa.engine.checkpoints.read"}


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
    path.write_bytes(pickle.dumps(_Malice(proof)))
    with pytest.raises(ValueError, match="can run code and is not read: convert it to JSON"):
        mmengine.load(path)
    assert not proof.exists()
    mmengine.dump([1], path)
    assert pickle.loads(path.read_bytes()) == [1]


def test_a_yaml_base_of_a_config_makes_no_objects(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "base.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{proof}']\n")
    (tmp_path / "c.py").write_text("_base_ = 'base.yaml'\n")
    with pytest.raises(ValueError, match=r"c\.py' cannot be used: a YAML file names a Python"):
        read_config_file(tmp_path / "c.py")
    assert not proof.exists()


def test_weights_that_are_not_finite_are_refused_by_every_loader(tmp_path):
    register_checkpoint_loaders()
    state = nn.Linear(2, 2).state_dict()
    state["bias"][1] = torch.nan
    for content in (state, dict(state_dict=state, meta={})):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ValueError, match=r"a\.pth cannot be used: NaN or .* 1 of 2 .* 'bias'"):
            CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"))
    layer = Wrapped(init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "a.pth")))
    with pytest.raises(ValueError, match="NaN or infinite"):
        layer.init_weights()


class Wrapped(BaseModule):
    """A part of mmengine, which loads its weights in its own way."""

    def __init__(self, init_cfg):
        super().__init__(init_cfg)
        self.layer = nn.Linear(2, 2)
