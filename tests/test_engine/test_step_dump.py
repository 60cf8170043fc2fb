import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from toy_afa import PHASES, afa_cfg, make_samples

from afa.engine.step_dump import (
    _pack,
    _unpack,
    image_names,
    replay_step,
    write_step_dump,
)
from afa.models.segmentors import AFA
from afa.utils.checkpoint import load_state
from afa.utils.evaluating import random_states


class _Runner:
    iter, rank = 7, 1

    def __init__(self, model, cfg):
        self.model, self.cfg = model, cfg


@pytest.fixture
def step():
    """A step of a small AFA in its last phase, with dropout, as a run makes it."""
    torch.manual_seed(0)
    changes = dict(decode_head__dropout_ratio=0.3, data_preprocessor__size=(32, 32))
    cfg = Config(dict(model=afa_cfg(**changes), optim_wrapper=dict(type="BF16OptimWrapper")))
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.set_phase(PHASES[-1])
    samples = make_samples([[1, 0, 1], [0, 1, 0]], boxes=[(0, 32, 0, 32), (0, 32, 4, 32)])
    for number, sample in enumerate(samples):
        sample.set_metainfo(dict(img_id=f"photo_{number}", ori_shape=(32, 32)))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    return model, cfg, dict(inputs=list(images), data_samples=samples)


def _losses(model, batch):
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        losses = model._run_forward(model.data_preprocessor(batch, True), mode="loss")
    return {name: float(value.detach()) for name, value in losses.items() if value.numel() == 1}


def test_a_written_step_gives_the_same_losses_again(step, tmp_path):
    model, cfg, batch = step
    assert isinstance(model, AFA)
    states = random_states()
    losses = _losses(model, batch)
    assert _losses(model, batch) != losses  # dropout: the random states matter
    path = write_step_dump(tmp_path / "a/step.pth", _Runner(model, cfg), batch, states, losses)
    torch.manual_seed(99)
    replayed = replay_step(path)
    assert replayed["replayed"] == losses == replayed["losses"]
    assert (replayed["iteration"], replayed["process"]) == (7, 1)
    assert replayed["images"] == ["photo_0", "photo_1"]
    torch.load(path, weights_only=True)  # plain data, without our list of exceptions


def test_samples_come_back_as_they_were(step):
    _, _, batch = step
    back = _unpack(_pack(batch))["data_samples"][1]
    assert type(back) is SegDataSample
    assert back.metainfo == batch["data_samples"][1].metainfo
    assert torch.equal(back.gt_label, batch["data_samples"][1].gt_label)


def test_what_is_no_data_becomes_text():
    packed = _pack(dict(a=np.float32(2), b=np.zeros(2), c=object, d=[(1, "x")]))
    assert packed["a"] == 2.0 and torch.equal(packed["b"], torch.zeros(2, dtype=torch.float64))
    assert packed["c"] == "<class 'object'>" and packed["d"] == [[1, "x"]]


def test_images_are_named_where_the_batch_knows_them(step):
    assert image_names(step[2]) == ["photo_0", "photo_1"]
    samples = make_samples([[1, 0, 0]], img_path="a/b.jpg")
    assert image_names(dict(data_samples=samples)) == ["a/b.jpg"]
    assert image_names(torch.zeros(1)) == [] == image_names(dict(inputs=1))


def test_other_files_are_refused(tmp_path):
    torch.save(dict(state_dict={}), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="is no step that NonFiniteHook wrote"):
        replay_step(tmp_path / "x.pth")


def test_a_step_without_config_needs_one(step, tmp_path):
    model, cfg, batch = step
    path = write_step_dump(tmp_path / "x.pth", _Runner(model, cfg), batch, random_states(), {})
    dump = load_state(path)
    dump["config"] = None
    torch.save(dump, path)
    with pytest.raises(ValueError, match="carries no config: give that of the run"):
        replay_step(path)
    assert set(replay_step(path, cfg)["replayed"]) == {"loss_cls", "loss_seg", "loss_aff"}


def test_a_step_that_lacks_something_is_refused(tmp_path):
    torch.save(dict(kind="afa step", iteration=1, losses={}), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="is a step without process, batch, random, state_dict"):
        replay_step(tmp_path / "x.pth")
