import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmseg.models.decode_heads import SegformerHead
from torch import nn
from torch.nn import functional as F
from toy_afa import make_afa, make_inputs

from afa.engine.checkpoints.fit import check_checkpoint
from afa.models.backbones import MiTAttn, pretrained
from afa.models.converters.afa_official import convert_afa_official, convert_file
from afa.utils.checkpoint import load_state

TOOL = Path(__file__).parents[3] / "tools/model_converters/afa_official.py"
DIMS, E, C = (32, 64, 160, 256), 12, 4


class Projection(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, E)


class OriginalHead(nn.Module):
    """SegFormer's head as its paper describes it: linear layers, fused from stage 4 to stage 1."""

    def __init__(self):
        super().__init__()
        for i, dim in enumerate(DIMS, 1):
            self.add_module(f"linear_c{i}", Projection(dim))
        self.linear_fuse = nn.Sequential(nn.Conv2d(4 * E, E, 1, bias=False), nn.BatchNorm2d(E))
        self.linear_pred = nn.Conv2d(E, C, 1)

    def forward(self, feats):
        maps = []
        for i in (4, 3, 2, 1):
            x = feats[i - 1]
            tokens = self.get_submodule(f"linear_c{i}").proj(x.flatten(2).transpose(1, 2))
            x = tokens.transpose(1, 2).reshape(x.shape[0], E, *x.shape[2:])
            maps.append(F.interpolate(x, feats[0].shape[2:], mode="bilinear"))
        return self.linear_pred(F.relu(self.linear_fuse(torch.cat(maps, dim=1))))


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = OriginalHead().eval()
    for value in head.state_dict().values():
        if value.is_floating_point():
            value += 0.5 * torch.rand_like(value)  # statistics that are not 0 and 1
    return head


@pytest.fixture
def theirs(head):
    state = {f"encoder.{k}": v for k, v in MiTAttn("b0").state_dict().items()}
    state |= {f"decoder.{k}": v for k, v in head.state_dict().items()}
    state["attn_proj.weight"] = torch.randn(1, 16, 1, 1)
    state["attn_proj.bias"] = torch.randn(1)
    state["classifier.weight"] = torch.randn(C - 1, 256, 1, 1)
    return state


def with_conv_module_names(state):
    """Name the fusion as mmcv's ConvModule does."""
    return {
        k.replace("linear_fuse.0.", "linear_fuse.conv.").replace(
            "linear_fuse.1.", "linear_fuse.bn."
        ): v
        for k, v in state.items()
    }


@pytest.mark.parametrize("rename", [dict, with_conv_module_names])
def test_head_computes_the_same_in_evaluation_mode(head, theirs, rename):
    converted = convert_afa_official(rename(theirs))
    ours = SegformerHead(
        in_channels=list(DIMS),
        in_index=[0, 1, 2, 3],
        channels=E,
        num_classes=C,
        norm_cfg={"type": "BN", "requires_grad": True},
        act_cfg=None,
    ).eval()
    part = {k.removeprefix("decode_head."): v for k, v in converted.items() if "decode_head" in k}
    ours.load_state_dict(part)
    feats = [torch.randn(2, d, s, s) for d, s in zip(DIMS, (8, 4, 2, 2), strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(ours(feats), head(feats), rtol=1e-5, atol=1e-5)


def test_other_parts_only_move(theirs):
    converted = convert_afa_official(theirs)
    assert {k.split(".")[0] for k in converted} == {
        "backbone",
        "decode_head",
        "affinity_head",
        "cls_head",
    }
    for ours, name in {
        "affinity_head.proj.weight": "attn_proj.weight",
        "affinity_head.proj.bias": "attn_proj.bias",
        "cls_head.classifier.weight": "classifier.weight",
        "backbone.block1.0.attn.kv.weight": "encoder.block1.0.attn.kv.weight",
    }.items():
        assert torch.equal(converted[ours], theirs[name])


def test_fusion_is_turned_round(theirs):
    weight = torch.arange(4.0).repeat_interleave(E).expand(E, -1)[:, :, None, None]
    theirs["decoder.linear_fuse.0.weight"] = weight  # c4 is 0, ..., c1 is 3
    fused = convert_afa_official(theirs)["decode_head.fusion_conv.conv.weight"]
    assert fused[0, ::E, 0, 0].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_module_prefix_and_wrapper(theirs, wrapper):
    state = {f"module.{k}": v for k, v in theirs.items()}
    converted = convert_afa_official({wrapper: state, "iter": 3} if wrapper else state)
    expected = convert_afa_official(theirs)
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[k], v) for k, v in expected.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attn_proj.bias": None}, r"\(1 problems\): attn_proj\.bias is missing"),
        ({"decoder.linear_pred.weight": None}, r"\(1 problems\): decoder\.linear_pred\.weight is"),
        (
            {"decoder.linear_c2.proj.weight": torch.ones(E, 5)},
            r"linear_c2\.proj\.weight is \(12, 5\) instead of \(12, 64\)",
        ),
        (
            {"classifier.weight": torch.ones(3, 8, 1, 1)},
            r"classifier\.weight is \(3, 8, 1, 1\) instead of \('any', 256, 1, 1\)",
        ),
        ({"encoder.norm2.bias": None}, r"do not fit MiT-B0: 1 missing \(norm2\.bias\)"),
    ],
)
def test_what_does_not_fit_is_named(theirs, change, message):
    state = {k: change.get(k, v) for k, v in theirs.items()}
    with pytest.raises(ValueError, match=message):
        convert_afa_official({k: v for k, v in state.items() if v is not None})


def test_other_programs_are_refused():
    with pytest.raises(ValueError, match="no name that begins with encoder"):
        convert_afa_official({"backbone.conv.weight": torch.ones(1)})


def test_unknown_weights_are_logged(theirs, monkeypatch):
    seen = []
    monkeypatch.setattr(pretrained, "print_log", lambda text, **kwargs: seen.append(text))
    convert_afa_official(theirs | {"queue": torch.ones(1)})
    assert seen == ["Left out, unknown to AFA: queue."]


def test_file_is_written_whole_or_not_at_all(theirs, tmp_path, monkeypatch):
    source, target = tmp_path / "theirs.pth", tmp_path / "new" / "ours.pth"
    torch.save(theirs, source)
    num_weights = convert_file(source, target)
    saved = load_state(target)
    assert len(saved["state_dict"]) == num_weights
    assert saved["meta"] == {"converted_from": "theirs.pth", "arch": "b0", "num_classes": C}

    before = target.read_bytes()

    def broken(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        convert_file(source, target)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["ours.pth"]


def test_tool_names_the_missing_file(tmp_path):
    failed = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / "no.pth"), str(tmp_path / "b.pth")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 2
    assert "no.pth does not exist" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_tool_makes_a_checkpoint_that_the_model_takes(head, theirs, tmp_path, monkeypatch):
    source, target = tmp_path / "theirs.pth", tmp_path / "ours.pth"
    torch.save({f"module.{k}": v for k, v in theirs.items()}, source)
    monkeypatch.setattr(sys, "argv", [str(TOOL), str(source), str(target)])
    runpy.run_path(str(TOOL), run_name="__main__")
    model = make_afa(
        decode_head__channels=E, decode_head__num_classes=C, cls_head__num_classes=C
    ).eval()
    checkpoint = load_state(target)
    check_checkpoint(model, checkpoint, str(target))
    model.load_state_dict(checkpoint["state_dict"])
    backbone = MiTAttn("b0").eval()
    backbone.load_state_dict(
        {k.removeprefix("encoder."): theirs[k] for k in theirs if "encod" in k}
    )
    images = make_inputs(1)
    with torch.no_grad():
        feats = backbone(images)
        tensors = model(images, mode="tensor")
    torch.testing.assert_close(tensors["seg_logits"], head(feats), rtol=1e-4, atol=1e-4)
    classifier = theirs["classifier.weight"]
    torch.testing.assert_close(tensors["cam"], F.conv2d(feats[-1], classifier))
