import pytest
import torch

from afa.apis.benchmark_model import build_setup

B0 = dict(crop=64, arch="b0")


def test_a_batch_with_two_classes_an_image():
    setup = build_setup(**B0, batch=3, num_classes=9)
    assert setup.inputs.shape == (3, 3, 64, 64) and setup.labels.shape == (3, 8)
    assert setup.labels.sum(1).tolist() == [2, 2, 2]
    assert setup.boxes == [(0, 64, 0, 64)] * 3
    assert setup.model.training and setup.model.num_classes == 9
    assert setup.model.backbone.arch == "b0"
    assert set(setup.model(setup.inputs, setup.samples, mode="loss")) >= {"loss_cls", "loss_seg"}


def test_the_same_at_every_call():
    one, other = (build_setup(**B0, batch=1) for _ in range(2))
    assert torch.equal(one.inputs, other.inputs)
    weights = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_autocast_only_for_bf16():
    for dtype in (torch.float32, torch.bfloat16):
        with build_setup(**B0, batch=1, dtype=dtype).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_wrong_input(tmp_path):
    with pytest.raises(ValueError, match=r"crop must be 32 or more .* got 8 and 1"):
        build_setup(crop=8, batch=1)
    config = tmp_path / "other.py"
    config.write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(ValueError, match=r"model of type 'AFA': '.*other\.py'"):
        build_setup(str(config), crop=64)
