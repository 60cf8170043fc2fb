import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.runner.checkpoint import load_state_dict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from toy_afa import afa_cfg, make_afa, make_inputs

from afa.models.segmentors import MultiScaleTTA

SCALES = (0.5, 1.0, 1.5)


class _Painter(nn.Module):
    """A model whose logits are easy to know: twice the input, and a ramp that no mirror keeps."""

    align_corners, out_channels = False, 3

    def __init__(self):
        super().__init__()
        self.seen = []

    def test_step(self, data):
        raise AssertionError("not used")

    def encode_decode(self, inputs, metas):
        assert len(metas) == len(inputs) and tuple(metas[0]["img_shape"]) == inputs.shape[2:]
        self.seen.append(tuple(inputs.shape))
        return 2 * inputs + torch.linspace(0, 1, inputs.shape[3])


def _encoder_decoder(**test_cfg):
    model = dict(afa_cfg(), type="EncoderDecoder", test_cfg=ConfigDict(test_cfg))
    for key in ("cls_head", "affinity_head", "refiner", "train_cfg"):
        model.pop(key)
    return MODELS.build(model).eval()


def _loop(model, inputs, scales, flip, merge, segment):
    """The plain version: every augmentation kept on the grid of scale 1, then merged."""
    H, W = segment(model, inputs).shape[2:]
    kept = []
    for scale in scales:
        images = F.interpolate(inputs, scale_factor=scale, mode="bilinear")
        views = []
        for mirrored in (False, True)[: 1 + flip]:
            logits = segment(model, images.flip(3) if mirrored else images)
            logits = F.interpolate(logits, size=(H, W), mode="bilinear")
            views.append(logits.flip(3) if mirrored else logits)
        kept.append(sum(views) / len(views))
    return torch.stack(kept).amax(0) if merge == "max" else torch.stack(kept).mean(0)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("merge", ["max", "mean"])
def test_merged_logits_are_those_of_a_plain_loop(merge, flip):
    model, inputs = make_afa().eval(), make_inputs(2, 34, 50)  # times 0.75 no whole number
    tta = MultiScaleTTA(model, (0.75, *SCALES), flip, merge)
    with torch.no_grad():
        wanted = _loop(
            model, inputs, (0.75, *SCALES), flip, merge, lambda m, x: m.decode_head(m.backbone(x))
        )
    assert wanted.shape == (2, 4, 9, 13)
    torch.testing.assert_close(tta.merged_logits(inputs), wanted, rtol=1e-4, atol=1e-5)


def test_without_scale_one_the_grid_is_that_of_scale_one_all_the_same():
    model, inputs = make_afa().eval(), make_inputs(1, 32, 48)
    for scales in ((0.5,), (1.5, 0.5)):
        assert MultiScaleTTA(model, scales).merged_logits(inputs).shape == (1, 4, 8, 12)
    tiny = MultiScaleTTA(model, (0.5, 1.0)).merged_logits(make_inputs(1, 1, 9))  # 0.5 x 4.5 pixels
    assert tiny.shape == (1, 4, 1, 3)


def test_by_hand():
    inputs = torch.tensor([0.0, 1.0, 5.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    ramp = torch.linspace(0, 1, 4)
    one = MultiScaleTTA(_Painter(), (1.0,), flip=False).merged_logits(inputs)
    torch.testing.assert_close(one, 2 * inputs + ramp)
    both = MultiScaleTTA(_Painter(), (1.0,), flip=True).merged_logits(inputs)
    torch.testing.assert_close(both, 2 * inputs + 0.5)  # the mean of the ramp and its mirror image


def test_the_papers_scales_are_the_default_and_each_is_run_once():
    painter = _Painter()
    tta = MultiScaleTTA(painter)
    tta.merged_logits(torch.zeros(1, 3, 8, 16))
    assert painter.seen == [
        (2, 3, 8, 16),
        (2, 3, 4, 8),
        (2, 3, 6, 12),
        (2, 3, 10, 20),
        (2, 3, 12, 24),
    ]
    assert (tta.merge, tta.flip) == ("max", True)


def test_mmsegs_models_work_and_keep_their_sliding_windows():
    for test_cfg in (dict(mode="whole"), dict(mode="slide", crop_size=(24, 24), stride=(16, 16))):
        model, inputs = _encoder_decoder(**test_cfg), make_inputs(1, 32, 48)

        def segment(model, images):
            shape = images.shape[2:]
            return model.inference(images, [dict(ori_shape=shape, img_shape=shape)])

        with torch.no_grad():
            wanted = _loop(model, inputs, SCALES, True, "max", segment)
        found = MultiScaleTTA(model, SCALES).merged_logits(inputs)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_step_gives_labels_at_the_size_of_the_photo():
    tta = MultiScaleTTA(make_afa(), SCALES, seg_logits="head").eval()
    images = torch.randint(0, 255, (2, 3, 32, 48), dtype=torch.uint8)
    samples = [SegDataSample(metainfo=dict(ori_shape=(20, 30))) for _ in images]
    out = tta.test_step(dict(inputs=list(images), data_samples=samples))
    inputs = tta.module.data_preprocessor(dict(inputs=list(images)), False)["inputs"]
    logits = tta.merged_logits(inputs)
    wanted = F.interpolate(logits, size=(20, 30), mode="bilinear").argmax(1)
    assert torch.equal(torch.cat([s.pred_sem_seg.data for s in out]), wanted)
    assert torch.equal(out[1].seg_logits.data, logits[1])
    assert "pred_label" not in out[0]


def test_checkpoints_of_the_model_load():
    model = make_afa()
    tta = MODELS.build(dict(type="MultiScaleTTA", module=afa_cfg()))
    load_state_dict(tta, model.state_dict(), strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, tta.module.state_dict()[key])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(scales=()), r"tta.scales must be factors above 0, got \(\)"),
        (dict(scales=(1, -1)), r"above 0, got \(1, -1\)"),
        (dict(merge="sum"), "tta.merge must be one of max, mean, got 'sum'"),
        (dict(seg_logits="small"), "tta.seg_logits must be one of"),
    ],
)
def test_wrong_settings(changes, text):
    with pytest.raises(ValueError, match=text):
        MultiScaleTTA(_Painter(), **changes)


def test_a_model_with_one_output_channel_is_refused():
    painter = _Painter()
    painter.out_channels = 1
    with pytest.raises(ValueError, match="one output channel"):
        MultiScaleTTA(painter)
