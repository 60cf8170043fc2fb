import pytest
import torch
from mmengine.config import Config
from torch import nn

from afa.engine.checkpoints.carried_config import (
    UnsafeConfigError,
    checked_config,
    find_config,
    plain_config,
    read_config,
)
from afa.models.segmentors import AFA


def _save(path, config):
    torch.save(dict(state_dict={}, meta=dict(plain_config=config)), path)
    return path


def test_tuples_stay_tuples_and_registered_classes_become_names():
    cfg = Config(dict(model=dict(type=AFA, scale=(2, 3.5)), names=["a", None, True]))
    plain = plain_config(cfg)
    assert plain == dict(model=dict(type="AFA", scale=(2, 3.5)), names=["a", None, True])
    assert type(plain["model"]) is dict and type(plain["model"]["scale"]) is tuple


@pytest.mark.parametrize("value", [len, nn.Sequential, nn.Module, torch.zeros(1), {1, 2}])
def test_a_config_with_objects_is_not_carried(value):
    assert plain_config(dict(model=dict(x=[value]))) is None


def test_what_is_written_is_read(tmp_path):
    config = dict(
        default_scope="mmseg",
        custom_imports=dict(imports=["afa.models"], allow_failed_imports=False),
        model=dict(type="AFA", crop=(4, 5)),
        test_dataloader=dict(dataset=dict(type="VOC12Dataset")),
        test_evaluator=[dict(type="WSSSIoUMetric", output_dir="/etc")],
        data_root="data/x",
    )
    cfg = read_config(_save(tmp_path / "a.pth", config))
    assert cfg.model == dict(type="AFA", crop=(4, 5))
    assert cfg.data_root == "data/x" and "custom_imports" not in cfg
    assert cfg.test_evaluator == [dict(type="WSSSIoUMetric")]  # writes to its own place


def test_what_only_a_training_reads_is_left_behind():
    data = dict(
        model=dict(type="AFA"), work_dir="/etc", custom_hooks=[dict(type="os.system")],
        optim_wrapper=dict(), train_dataloader=dict(), visualizer=dict(save_dir="/etc"),
    )  # fmt: skip
    assert set(checked_config(data, "x")) == {"model"}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (dict(custom_imports=dict(imports=["evil"])), "wants to import 'evil'"),
        (dict(custom_imports=dict(imports="os")), "wants to import 'os'"),
        (dict(custom_imports=dict(imports=["afa_evil.x"])), "wants to import 'afa_evil.x'"),
        (dict(custom_imports=[3]), "wants to import 3"),
        (dict(model=dict(type="subprocess.Popen", args="x")), "model.type = 'subprocess.Popen'"),
        (dict(model=dict(backbone=[dict(type="evil.Net")])), r"model.backbone\[0\].type"),
        (dict(model=dict(type=3)), "model.type = 3"),
        (dict(model=dict(type="AFA", _scope_="evil")), "model._scope_ = 'evil', another package"),
        (dict(default_scope="evil"), "default_scope = 'evil', another package"),
        (dict(model={"a'] + [exit()] + ['": 1}), "no name of an entry"),
        (dict(model={"a\nimport os": 1}), "no name of an entry"),
        (dict(model=dict(x=torch.zeros(1))), "holds an object"),
    ],
)
def test_a_config_that_could_run_something_is_refused(config, text, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = _save(tmp_path / "a.pth", config)
    with pytest.raises(UnsafeConfigError, match=text) as error:
        read_config(path)
    assert "CONFIG CHECKPOINT" in str(error.value) and str(path) in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [{}, dict(meta=3), dict(meta=dict(plain_config="print(1)")), []]
)
def test_a_checkpoint_without_config_says_so(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UnsafeConfigError, match="carries no config that can be read as data"):
        read_config(tmp_path / "a.pth")


def test_config_and_checkpoint_or_the_checkpoint_alone(tmp_path):
    checkpoint = str(_save(tmp_path / "iter_9.pth", dict(model=dict(type="AFA"), data_root="x")))
    cfg, found = find_config(checkpoint, None, options={"model.test_cfg": dict(cls_thr=0.3)})
    assert (cfg.work_dir, found) == (str(tmp_path / "iter_9_test"), checkpoint)
    assert cfg.model.test_cfg.cls_thr == 0.3
    assert find_config(checkpoint, None, work_dir="w")[0].work_dir == "w"
    file = tmp_path / "c.py"
    file.write_text("model = dict(type='AFA', a=1)\n")
    cfg, found = find_config(str(file), checkpoint)
    assert (cfg.model.a, found) == (1, checkpoint)
    assert cfg.work_dir == str(tmp_path / "iter_9_test")
    assert find_config(str(file), checkpoint, work_dir="w")[0].work_dir == "w"
    file.write_text("model = dict(type='AFA')\nwork_dir = 'mine'\n")
    assert find_config(str(file), checkpoint)[0].work_dir == "mine"
    with pytest.raises(ValueError, match=r"is a config: give the checkpoint after it"):
        find_config(str(file), None)


def test_two_runs_of_one_config_are_tested_in_folders_of_their_own(tmp_path):
    file = tmp_path / "c.py"
    file.write_text("model = dict(type='AFA')\n")
    found = set()
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        checkpoint = _save(tmp_path / run / "iter_9.pth", dict(model=dict(type="AFA")))
        found.add(find_config(str(file), str(checkpoint))[0].work_dir)
        assert find_config(str(checkpoint), None)[0].work_dir in found
    assert found == {str(tmp_path / run / "iter_9_test") for run in ("one", "two")}


def test_images_as_pickles_are_refused():
    step = dict(type="LoadBiomedicalImageFromFile", decode_backend="pickle")
    with pytest.raises(UnsafeConfigError, match=r"decode_backend = 'pickle', which would run code"):
        checked_config(dict(test_pipeline=[step]), "a.pth")


@pytest.mark.parametrize("folder", ["afa", "affinitynet", "sccam"])
def test_every_part_of_our_configs_may_come_from_a_checkpoint(repo, folder):
    files = sorted((repo / "configs" / folder).glob("*shapes*.py"))
    assert files
    for file in files:
        cfg = Config.fromfile(file)
        if cfg.get("model"):
            checked = checked_config(plain_config(cfg), file.name)
            assert checked["model"] == cfg.model.to_dict(), file.name
            assert "test_dataloader" in checked or "test_dataloader" not in cfg
