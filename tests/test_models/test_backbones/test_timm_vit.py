"""TimmViT gives timm's features, and the logits that its attention uses, at any size."""

import dataclasses

import pytest
import timm
import torch
from torch import nn
from toy_afa import PHASES, make_afa, make_inputs, make_samples, total
from toy_vit import draw

from afa.models import TimmViT
from afa.models.backbones.mit_attn import MiTAttn

# Heads of 16 channels: the scale is a power of two, and scaling before or after the product of
# queries and keys gives the same bits.
SMALL = dict(embed_dim=32, num_heads=2, depth=4, mlp_ratio=2)
# timm's name -> prefix tokens, and what small variants need besides
FAMILIES = {
    "deit_tiny_patch16_224": (1, {}),
    "deit_tiny_distilled_patch16_224": (2, {}),
    "deit3_small_patch16_224": (1, {}),
    "vit_tiny_patch16_224.augreg_in21k": (1, {}),
    "vit_small_patch16_224.dino": (1, {}),
    "vit_small_patch14_dinov2": (1, {}),
    "vit_small_patch14_reg4_dinov2": (5, {}),
    "vit_small_patch16_dinov3": (5, {}),
    "vit_small_patch16_dinov3_qkvb": (5, {}),
    "vit_base_patch16_clip_224.openai": (1, {}),
    "vit_base_patch16_siglip_224": (0, {}),
    "eva02_tiny_patch14_224": (1, {}),
    "eva02_base_patch14_224": (1, {}),
    "eva02_base_patch16_clip_224": (1, {}),
    "eva_giant_patch14_224": (1, {}),
    "vit_small_patch16_rope_mixed_224": (1, {}),
    "vit_pe_core_tiny_patch16_384": (1, dict(attn_pool_num_heads=2)),
    "vit_base_patch16_sapiens2": (9, dict(num_kv_heads=1)),
    "vit_base_patch16_rpn_224": (0, dict(class_token=False)),
}
ONE = "deit_tiny_patch16_224"


def build(name=ONE, **kwargs):
    torch.manual_seed(0)
    _, own = FAMILIES.get(name, (0, {}))
    return draw(TimmViT(name, **{**SMALL, "img_size": 64, **own, **kwargs}))


def images(backbone, rows, columns, batch=2):
    generator = torch.Generator().manual_seed(1)
    height, width = (n * side for n, side in zip((rows, columns), backbone.patch_size, strict=True))
    return torch.randn(batch, 3, height, width, generator=generator)


def without_fused_attention(backbone, x, monkeypatch):
    """Run unfused; give the result and the scaled logits (B, heads, M, M) of every block.

    M are all tokens, those of the prefix too.
    """
    seen, softmax = [], torch.Tensor.softmax

    def spy(tensor, *args, **kwargs):
        seen.append(tensor)
        return softmax(tensor, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "softmax", spy)
        for block in backbone.body.blocks:
            patch.setattr(block.attn, "fused_attn", False)
        return backbone(x, with_attn=True), seen


@pytest.mark.parametrize("grid", [(4, 4), (3, 5)], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_the_attention(name, grid, monkeypatch):
    prefix, _ = FAMILIES[name]
    backbone = build(name)
    x, (h, w) = images(backbone, *grid), grid
    (_, logits), scaled = without_fused_attention(backbone, x, monkeypatch)
    theirs = torch.cat(scaled[-2:], dim=1)[:, :, prefix:, prefix:]
    assert torch.equal(logits * backbone.head_dim**-0.5, theirs)

    # Fused, the blocks before differ in the last bits of a sum. (In training some move positions.)
    (_, logits), _ = without_fused_attention(backbone.eval(), x, monkeypatch)
    feats, attn = backbone(x, with_attn=True)
    torch.testing.assert_close(attn, logits, rtol=1e-3, atol=1e-3)
    assert attn.shape == (2, backbone.num_attn, h * w, h * w)
    assert [f.shape for f in feats] == [(2, c, h, w) for c in backbone.out_channels]
    with_qk, (q, k) = backbone(x, with_qk=True)
    torch.testing.assert_close(q @ k.transpose(2, 3), attn, rtol=1e-5, atol=1e-4)
    assert q.shape == (2, backbone.num_attn, h * w, backbone.head_dim)
    for plain, *others in zip(backbone(x), feats, with_qk, strict=True):
        assert all(torch.equal(plain, other) for other in others)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_timms_behind_its_last_norm(name):
    backbone = build(name).eval()
    x = images(backbone, 3, 5)
    torch.manual_seed(0)
    body = timm.create_model(
        name, dynamic_img_size=True, img_size=64, **{**SMALL, **FAMILIES[name][1]}
    )
    body.load_state_dict(backbone.body.state_dict(), strict=False)
    last, expected = body.eval().forward_intermediates(x, indices=[0, 1, 2, 3], norm=True)
    if isinstance(body.norm, nn.Identity):  # its norm comes behind the pooling
        expected = [body.fc_norm(f.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for f in expected]
    for ours, theirs in zip(backbone(x), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    patches = last[:, body.num_prefix_tokens :].transpose(1, 2).unflatten(2, (3, 5))
    if not isinstance(body.norm, nn.Identity):
        assert torch.equal(backbone(x)[-1], patches)


def test_maps_come_from_each_quarter_of_the_depth():
    assert build(depth=12, num_attn_blocks=3).indices == [2, 5, 8, 11]
    backbone = build(depth=6, num_attn_blocks=3)
    assert (backbone.indices, backbone.num_attn) == ([1, 2, 4, 5], 6)


def gradients(backbone, x, **ask):
    backbone.zero_grad()
    torch.manual_seed(3)
    _, found = backbone(x, **ask)
    parts = found if isinstance(found, tuple) else [found]
    sum(part.sin().sum() for part in parts).backward()
    return {n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "eva02_base_patch14_224"])
@pytest.mark.parametrize("ask", ["with_attn", "with_qk"])
def test_gradients_reach_queries_and_keys_also_with_checkpoints(name, ask):
    plain, saving = (build(name, with_cp=cp, drop_path_rate=0.3).train() for cp in (False, True))
    x = images(plain, 3, 5)
    found, again = gradients(plain, x, **{ask: True}), gradients(saving, x, **{ask: True})
    assert found.keys() == again.keys()
    for key in found:
        torch.testing.assert_close(again[key], found[key], rtol=1e-4, atol=1e-5, msg=key)
    last = {k.partition("attn.")[2]: v for k, v in found.items() if ".blocks.3.attn." in k}
    if name.startswith("deit"):
        assert set(last) == {"qkv.weight", "qkv.bias"}
        query, key, value = last["qkv.weight"].chunk(3)
        assert not value.any()
    else:
        assert set(last) == {"q_proj.weight", "q_proj.bias", "k_proj.weight"}
        query, key = last["q_proj.weight"], last["k_proj.weight"]
    assert query.abs().min() > 0 and key.abs().min() > 0
    assert found["body.patch_embed.proj.weight"].abs().sum() > 0


def test_logits_with_checkpoints_are_the_same_bits():
    plain, saving = build(), build(with_cp=True)
    x = images(plain, 3, 5)
    assert torch.equal(plain(x, with_attn=True)[1], saving(x, with_attn=True)[1])


def test_reentrant_checkpoints_are_refused(monkeypatch):
    monkeypatch.setattr("timm.layers.config._USE_REENTRANT_CKPT", True)
    build()
    with pytest.raises(ValueError, match="unset the environment variable TIMM_REENTRANT_CKPT"):
        build(with_cp=True)


def test_without_drop_path_training_computes_as_evaluation():
    backbone = build(drop_path_rate=0.5)
    assert backbone.drop_path_rate == 0.5
    x = images(backbone, 3, 5)
    expected, attn = backbone.eval()(x, with_attn=True)
    backbone.train()
    feats, found = backbone(x, drop_path=False, with_attn=True)
    assert all(torch.equal(a, b) for a, b in zip(feats, expected, strict=True))
    assert torch.equal(found, attn)
    assert all(module.training for module in backbone.modules())
    assert not torch.equal(backbone(x)[-1], expected[-1])


def test_other_dropout_means_that_training_sees_other_features():
    """AFA takes the features of the training pass for CAMs where nothing is dropped."""
    assert build().drop_path_rate == 0
    assert build(proj_drop_rate=0.1).drop_path_rate is None
    assert build("vit_base_patch16_sapiens2").drop_path_rate is None  # its positions move


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_base_patch16_siglip_224"])
def test_sizes_that_the_patches_do_not_divide_are_resized(name):
    backbone = build(name).eval()
    patch = backbone.patch_size[0]
    x = torch.randn(1, 3, 3 * patch - 5, 4 * patch + 1)
    feats, attn = backbone(x, with_attn=True)
    resized = nn.functional.interpolate(x, (3 * patch, 5 * patch), mode="bilinear")
    assert torch.equal(feats[-1], backbone(resized)[-1])
    assert attn.shape[-1] == 15
    assert backbone(torch.randn(1, 3, 5, 7))[-1].shape[2:] == (1, 1)


def test_sizes_are_padded_where_that_is_chosen():
    backbone = build(dynamic_img_pad=True).eval()
    x = torch.randn(1, 3, 40, 60)
    padded = nn.functional.pad(x, (0, 4, 0, 8))
    assert torch.equal(backbone(x)[-1], backbone(padded)[-1])


def test_crops_that_the_patches_do_not_divide_are_refused():
    backbone = build("vit_small_patch14_dinov2")
    backbone.check_crop((448, 224))
    build("vit_small_patch14_dinov2", dynamic_img_pad=True).check_crop((512, 512))
    expected = (
        "512 x 448 pixels .* patches of vit_small_patch14_dinov2 .*take 504 x 448 or 518 x 448"
    )
    with pytest.raises(ValueError, match=expected):
        backbone.check_crop((512, 448))


def learning(backbone):
    return {n.removeprefix("body.") for n, p in backbone.named_parameters() if p.requires_grad}


def test_frozen_stages_and_position_embedding():
    everything = learning(build())
    embedding = {"cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    assert everything > embedding
    assert everything - learning(build(freeze_pos_embed=True)) == {"pos_embed"}
    assert everything - learning(build(frozen_stages=0)) == embedding
    part = build(frozen_stages=3, drop_path_rate=0.5).train()
    assert {name.partition(".norm")[0] for name in learning(part)} > {"blocks.3", "norm.weight"}
    assert not [name for name in learning(part) if name < "blocks.3"]
    assert [block.training for block in part.body.blocks] == [False] * 3 + [True]
    assert [m.training for m in part.body.blocks[2].modules()].count(True) == 0
    assert learning(build(frozen_stages=4)) == set()
    assert learning(build("eva02_tiny_patch14_224", frozen_stages=4)) == set()
    x = images(part, 2, 2)
    part(x, with_qk=True)[1][0].sum().backward()
    assert part.body.blocks[2].mlp.fc1.weight.grad is None
    assert part.body.blocks[3].attn.qkv.weight.grad is not None


def test_pyramid_makes_the_first_maps_finer_and_keeps_the_last():
    plain, finer = build(), build(pyramid=True)
    finer.body.load_state_dict(plain.body.state_dict())
    x = images(plain, 2, 3)
    feats = finer(x)
    assert [tuple(f.shape[2:]) for f in feats] == [(8, 12), (4, 6), (2, 3), (2, 3)]
    assert {f.shape[1] for f in feats} == set(finer.out_channels)
    assert all(torch.equal(a, b) for a, b in zip(feats[2:], plain(x)[2:], strict=True))
    sum(f.sum() for f in feats).backward()
    assert all(p.grad is not None for p in finer.pyramid.parameters())


REFUSED = {
    "swin_tiny_patch4_window7_224": "is of timm's family swin_transformer",
    "pvt_v2_b0": "is of timm's family pvt_v2",
    "beit_base_patch16_224": "is of timm's family beit",
    "vit_relpos_small_patch16_224": "is of timm's family vision_transformer_relpos",
    "samvit_base_patch16": "is of timm's family vision_transformer_sam",
    "vit_small_r26_s32_224": "is of timm's family vision_transformer_hybrid",
    "naflexvit_base_patch16_siglip": "is of timm's family naflexvit",
    "resnet50": "is of timm's family resnet",
    "vit_base_patch16_xp_224": "has blocks of another kind .ParallelScalingBlock",
    "vit_small_patch16_18x2_224": "has blocks of another kind .ParallelThingsBlock",
    "vit_dlittle_patch16_reg1_gap_256": "has blocks of another kind .DiffAttention",
}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_of_another_kind_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"TimmViT: {name} {REFUSED[name]}.*take a plain vision"):
        TimmViT(name, **(SMALL if "blocks" in REFUSED[name] else {}))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (dict(name="deit_tiny_patch17_224"), "did you mean deit_tiny_patch16_224"),
        (
            dict(depth=3),
            "4 blocks or more are needed, deit_tiny_patch16_224 has 3",
        ),
        (dict(num_attn_blocks=5), "num_attn_blocks must be 1 to 4, .* got 5"),
        (dict(num_attn_blocks=0), "num_attn_blocks must be 1 to 4, .* got 0"),
        (dict(frozen_stages=5), "frozen_stages must be -1 to 4, .* got 5"),
        (dict(drop_path_rate=1), r"drop_path_rate must be in \[0, 1\), got 1"),
        (dict(patch_drop_rate=0.5), "patch_drop_rate leaves tokens out"),
        (dict(window=7), "cannot be built with .*window=7"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_arguments_outside_their_range_are_refused(argument, message):
    with pytest.raises(ValueError, match=f"TimmViT: .*{message}"):
        build(**{"name": ONE, **argument})


# ---- weights and colours ----------------------------------------------------------------------


def test_a_file_with_a_classifier_and_positions_of_another_grid_fits():
    body = draw(timm.create_model(ONE, img_size=96, **SMALL)).state_dict()
    backbone = build()
    weights = backbone.fit({"model": body})
    assert torch.equal(weights["body.blocks.3.mlp.fc2.weight"], body["blocks.3.mlp.fc2.weight"])
    assert weights["body.pos_embed"].shape == (1, 1 + 16, 32)
    assert torch.equal(weights["body.pos_embed"][:, 0], body["pos_embed"][:, 0])


def test_a_checkpoint_of_ours_fits():
    one, other = (
        build(pyramid=True),
        TimmViT(ONE, pyramid=True, img_size=64, **SMALL),
    )
    other.load_state_dict(
        other.fit({"state_dict": {f"backbone.{k}": v for k, v in one.state_dict().items()}})
    )
    x = images(one, 2, 2)
    assert all(torch.equal(a, b) for a, b in zip(one(x), other(x), strict=True))


def test_dinov2s_own_names_of_registers_fit():
    backbone = build("vit_small_patch14_reg4_dinov2", img_size=56)
    theirs = dict(backbone.body.state_dict())
    theirs["register_tokens"] = theirs.pop("reg_token")
    cls_token = torch.randn(1, 1, 32)
    theirs["pos_embed"] = torch.cat([theirs["cls_token"] - cls_token, theirs["pos_embed"]], dim=1)
    theirs |= dict(cls_token=cls_token, mask_token=torch.zeros(1, 32))
    for name, weight in backbone.fit(theirs).items():
        torch.testing.assert_close(weight, backbone.state_dict()[name], msg=name)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (lambda: MiTAttn("b0").state_dict(), "missing .*cls_token"),
        (
            lambda: build(embed_dim=64).body.state_dict(),
            "of another shape .*cls_token is",
        ),
        (
            lambda: build(qkv_bias=False).body.state_dict(),
            "4 missing .*attn.qkv.bias",
        ),
    ],
    ids=["mit", "width", "bias"],
)
def test_a_file_of_another_network_is_named(state, problem, tmp_path):
    path = tmp_path / "other.pth"
    torch.save(state(), path)
    backbone = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    with pytest.raises(ValueError, match=f"other.pth: The weights do not fit {ONE}: .*{problem}"):
        backbone.init_weights()


def test_pretrained_without_network_says_what_to_do(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("Network is unreachable\nand a long story")

    backbone = build(pretrained=True)  # nothing is loaded yet
    monkeypatch.setattr("timm.models._builder.load_pretrained", no_network)
    message = rf"could not load its weights of {ONE} \(Network is unreachable\)\. Without network"
    with pytest.raises(ValueError, match=message):
        backbone.init_weights()


def test_pretrained_takes_timms_weights(monkeypatch):
    def fill(model, *args, **kwargs):
        draw(model)

    backbone = TimmViT("vit_base_patch16_siglip_224", pretrained=True, img_size=64, **SMALL)
    monkeypatch.setattr("timm.models._builder.load_pretrained", fill)
    backbone.init_weights()
    assert backbone.body.norm.weight.std() > 0.1


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("deit_small_patch16_224", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("vit_base_patch14_dinov2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("vit_base_patch16_224.augreg_in21k", (0.5,) * 3, (0.5,) * 3),
        ("vit_base_patch16_siglip_224", (0.5,) * 3, (0.5,) * 3),
        (
            "vit_base_patch16_clip_224.openai",
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ),
    ],
)
def test_colours_are_those_of_the_weights(name, mean, std):
    found = TimmViT.colours(name)
    assert found[0] == pytest.approx([255 * value for value in mean])
    assert found[1] == pytest.approx([255 * value for value in std])


# ---- in the methods -----------------------------------------------------------------------------


def afa(**changes):
    vit = dict(type="TimmViT", name=ONE, img_size=64, **SMALL, **changes)
    heads = {f"{head}__in_channels": None for head in ("cls_head", "decode_head", "affinity_head")}
    return make_afa(backbone=dict(vit, _delete_=True), **heads)


@pytest.mark.parametrize("changes", [{}, dict(drop_path_rate=0.3, with_cp=True)], ids=str)
def test_afa_teaches_every_weight(changes):
    model = afa(**changes).train()
    inputs, samples = make_inputs(height=64, width=48), make_samples([[1, 0, 1], [0, 1, 0]])
    for phase in PHASES:
        model.set_phase(phase)
        model.zero_grad()
        total(model(inputs, samples, mode="loss")).backward()
        without = [n for n, p in model.backbone.named_parameters() if p.grad is None]
        assert not without
    model.set_phase("pseudo")
    model.zero_grad()
    model(inputs, samples, mode="loss")["loss_aff"].backward()
    assert model.backbone.body.blocks[-1].attn.qkv.weight.grad.any()
    assert not model.backbone.body.norm.weight.grad  # the loss goes no other way


@pytest.mark.parametrize("propagation", ["affinity", "attention"])
def test_afa_makes_labels_of_photos_of_any_size(propagation):
    model = afa().eval()
    model.train_cfg = dataclasses.replace(model.train_cfg, propagation=propagation)
    model.test_cfg = dataclasses.replace(model.test_cfg, pseudo_labels=True)
    samples = make_samples([[1, 0, 1]], ori_shape=(45, 70))
    (sample,) = model.predict(make_inputs(1, 45, 70), samples)
    for field in ("pred_sem_seg", "pred_cam", "pred_par", "pred_propagated"):
        assert sample.get(field).data.shape[-2:] == (45, 70)
