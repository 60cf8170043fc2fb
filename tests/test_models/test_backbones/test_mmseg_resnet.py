"""mmseg's ResNet is used as it is: it must take torchvision's weights and give its features."""

import pytest
import torch
from mmseg.registry import MODELS
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter

import afa.engine
import afa.models  # registers the models

DILATED = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True)


def build(type_="ResNet", **kwargs):
    return MODELS.build(
        dict(type=type_, depth=50, norm_cfg=dict(type="BN", requires_grad=False), norm_eval=True)
        | kwargs
    )


def test_names_and_shapes_are_torchvisions():
    with torch.device("meta"):
        ours = build(**DILATED).state_dict()
        theirs = resnet50(weights=None).state_dict()
        deep_stem = build("ResNetV1c").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items() if not k.startswith("fc.")
    }
    assert "conv1.weight" not in deep_stem  # why torchvision's weights want the type ResNet


@torch.no_grad()
def test_weights_load_and_dilations_are_torchvisions(tmp_path):
    theirs = resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    for name, value in theirs.state_dict().items():
        if "running_mean" in name:
            value.normal_(std=0.1)
    path = tmp_path / "resnet50.pth"
    torch.save(theirs.state_dict(), path)
    ours = build(**DILATED, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    ours.init_weights()
    ours.train()  # batch norm stays as it was loaded
    images = torch.randn(1, 3, 48, 64)
    levels = IntermediateLayerGetter(theirs, {f"layer{i}": i for i in (1, 2, 3, 4)})(images)
    for level, (i, expected) in zip(ours(images), levels.items(), strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4, msg=f"level {i}")
    assert ours(images)[-1].shape == (1, 2048, 6, 8)


def test_a_file_that_runs_code_is_refused(tmp_path):
    class RunsCode:
        def __reduce__(self):
            return exec, ("raise SystemExit('ran')",)

    assert afa.engine
    torch.save({"conv1.weight": RunsCode()}, tmp_path / "evil.pth")
    backbone = build(init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "evil.pth")))
    with pytest.raises(ValueError, match="refused because reading it would run code"):
        backbone.init_weights()
