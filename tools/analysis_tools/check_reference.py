"""Compare AFA with values of the authors' program: `check_reference.py FILE --encoder WEIGHTS`.

FILE (.npz, no pickle) holds crops, weights in the authors' names and what their program made of
them, intermediate results included. Crop 320, batch of 2, MiT of any size, VOC's constants.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afa.utils.cli import main_guard

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/afa/afa_mit-b1_2xb2-20k_voc12aug-512x512.py"
# Limits: of values relative to the largest one (if above 1), of labels as a share of the pixels.
VALUES, LABELS, LOSSES, GRADIENTS, TEST_LOGITS = 2e-5, 1e-4, 1e-5, 1e-3, 1e-4
Row = tuple[str, float, float]  # entry, difference, limit


class Reference(dict):
    """Arrays by name; one that is missing is the file's fault."""

    def __missing__(self, name: str) -> Any:
        """Refuse."""
        raise ValueError(f"The reference has no entry '{name}'.")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description="Compare AFA's labels, losses and gradients with values of the authors' "
        "program. Exit status 0 if all are within their limits, else 1."
    )
    parser.add_argument("file", type=Path, help="reference values (.npz)")
    parser.add_argument("--encoder", type=Path, required=True, help="weights of the encoder (.pth)")
    return parser.parse_args()


def read_reference(path: Path) -> Reference:
    """Read an .npz file without pickle, as arrays by name."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return Reference((name, file[name]) for name in file.files)
    except FileNotFoundError:
        raise
    except Exception as error:  # zip and numpy raise many kinds for broken files
        raise ValueError(f"{path} is no file of reference values (.npz): {error}") from error


def build_model(reference: Reference, encoder: Path) -> Any:
    """Build AFA with the reference weights, in evaluation mode: no drop path, no dropout."""
    import torch
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    import afa.models  # noqa: F401  registers what is built
    from afa.engine.config import load_config
    from afa.models.backbones.mit_weights import guess_arch
    from afa.models.backbones.pretrained import unwrap_state_dict
    from afa.models.converters.afa_official import convert_afa_official
    from afa.utils.checkpoint import load_state

    names = [name for name in reference if name.startswith("weights/")]
    state = {n.removeprefix("weights/"): torch.from_numpy(reference[n]) for n in names}
    loaded = unwrap_state_dict(load_state(encoder))
    state |= {f"encoder.{k}": v for k, v in loaded.items() if not k.startswith("head.")}
    state = convert_afa_official(state)

    num_classes, channels = state["decode_head.conv_seg.weight"].shape[:2]
    backbone = {k.removeprefix("backbone."): v for k, v in state.items()}
    cfg = load_config(str(ROOT / CONFIG)).model
    cfg.backbone.update(arch=guess_arch(backbone), init_cfg=None)
    cfg.cls_head.num_classes = num_classes
    cfg.decode_head.update(num_classes=num_classes, channels=channels)
    init_default_scope("mmseg")
    model = MODELS.build(cfg)
    model.load_state_dict(state)
    return model.eval()


def rows(reference: Reference, model: Any) -> Iterator[Row]:
    """Compare every entry: its name, the difference, and the limit."""
    for batch in sorted({name.split("/")[0] for name in reference if name.startswith("batch")}):
        values = Reference(
            (name.removeprefix(f"{batch}/"), value)
            for name, value in reference.items()
            if name.startswith(f"{batch}/")
        )
        for name, difference, limit in step_rows(values, model):
            yield f"{batch}/{name}", difference, limit
    if "test/network_input" in reference:
        yield from test_rows(reference, model)


def step_rows(values: Reference, model: Any) -> Iterator[Row]:
    """Compare one training step with propagated labels."""
    import torch
    import torch.nn.functional as F

    from afa.models.functional import affinity_label, ignore_outside, stacked_masks

    cfg, preprocessor = model.train_cfg, model.data_preprocessor
    rgb = torch.from_numpy(values["images_rgb"]).permute(0, 3, 1, 2).float()
    inputs = (rgb - preprocessor.mean) / preprocessor.std
    labels = torch.from_numpy(values["image_labels"]).float()
    boxes, size = values["img_box"].tolist(), tuple(inputs.shape[2:])
    inside = ignore_outside(torch.zeros(len(rgb), *size, dtype=torch.long), boxes) == 0

    made = model.make_labels(inputs, labels, boxes)
    walk = made["walk"]
    for score, word in ((cfg.bkg_thr_low, "low"), (cfg.bkg_thr_high, "high")):
        walked = walk(stacked_masks(made["cams"], made["class_idx"], [score], walk.grid))
        for i, count in enumerate(labels.sum(1).long().tolist()):
            yield _values(f"walked_{word}_{i}", walked[i, : 1 + count], values)
    for i, count in enumerate(labels.sum(1).long().tolist()):
        yield _values(f"cams_{i}", made["cams"][i, :count], values)
    yield _labels("pseudo_label", made["pseudo"], values, inside)
    yield _labels("propagated_label", made["propagated"], values, inside)

    model.zero_grad()
    feats, attn = model.backbone(inputs, with_attn=True)
    cls_logits, seg_logits = model.cls_head(feats[-1]), model.decode_head(feats)
    affinity = model.affinity_head(attn)
    aff_label = affinity_label(made["pseudo"], feats[-1].shape[2:], cfg.radius)
    yield _labels("affinity_label", aff_label, values)[:2] + (0.0,)
    yield _values("affinity", affinity, values)
    yield _values("cls_logits", cls_logits, values)
    yield _values("seg_logits", seg_logits, values)

    loss_aff = model.affinity_head.loss_aff
    resized = F.interpolate(seg_logits, size=size, mode="bilinear", align_corners=False)
    seg = model.decode_head.loss_decode(resized, made["propagated"], ignore_index=255)
    weighted = dict(
        cls=model.cls_head.loss(cls_logits, labels), seg=seg, aff=loss_aff(affinity, aff_label)
    )
    factors = dict(seg=model.decode_head.loss_decode.loss_weight, aff=loss_aff.loss_weight)
    found = [loss / factors.get(name, 1.0) for name, loss in weighted.items()]
    found.append(sum(weighted.values()))
    wanted = values["losses_cls_seg_aff_total"]
    for name, value, want in zip((*weighted, "total"), found, wanted, strict=True):
        yield f"loss {name}", abs(value.item() - want) / abs(want), LOSSES
    found[-1].backward()
    yield from gradient_rows(values, model)
    model.zero_grad()


def gradient_rows(values: Reference, model: Any) -> Iterator[Row]:
    """Compare the norm of every gradient: the largest difference of each part of the network."""
    ours = {author_name(name): p.grad for name, p in model.named_parameters() if p.grad is not None}
    worst: dict[str, float] = {}
    for entry, want in values.items():
        if not entry.startswith("grad_norm/"):
            continue
        name = entry.removeprefix("grad_norm/")
        if name not in ours:
            raise ValueError(f"The model has no gradient of '{name}', which the reference has.")
        part = name.split(".")[0]
        difference = abs(ours[name].double().norm().item() - want) / max(abs(float(want)), 1e-12)
        worst[part] = max(worst.get(part, 0.0), difference)
    for part, difference in worst.items():
        yield f"grad_norm/{part}", difference, GRADIENTS


def author_name(name: str) -> str:
    """Name a parameter of ours as the authors' program does."""
    for old, new in (
        ("backbone.", "encoder."),
        ("affinity_head.proj.", "attn_proj."),
        ("cls_head.", ""),
        ("decode_head.conv_seg.", "decoder.linear_pred."),
        ("decode_head.fusion_conv.", "decoder.linear_fuse."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    for i in range(4):  # their bias is that of our batch norm, see afa_official
        for part in ("conv.weight", "bn.bias"):
            if name == f"decode_head.convs.{i}.{part}":
                return f"decoder.linear_c{i + 1}.proj.{part.split('.')[1]}"
    return name


def test_rows(reference: Reference, model: Any) -> Iterator[Row]:
    """Compare the test of one photo: five scales, mirror images, no CRF."""
    import torch

    from afa.models.functional.photo_size import label_map
    from afa.models.segmentors.multi_scale_tta import MultiScaleTTA

    tta = MultiScaleTTA(model, **model.test_cfg.tta).eval()
    logits = tta.merged_logits(torch.from_numpy(reference["test/network_input"]))
    difference = _values("logits_quarter", logits, reference, "test/")[1]
    yield "test/logits_quarter", difference, TEST_LOGITS
    wanted = reference["test/label"]
    yield _labels("label", label_map(logits[0], wanted.shape), reference, prefix="test/")


def _values(name: str, found: Any, reference: Reference, prefix: str = "") -> Row:
    import torch

    wanted = torch.from_numpy(reference[prefix + name])
    if found.shape != wanted.shape:
        raise ValueError(f"{prefix}{name} is {tuple(wanted.shape)}, ours {tuple(found.shape)}.")
    largest = (found.detach() - wanted).abs().max().item()
    return prefix + name, largest / max(1.0, wanted.abs().max().item()), VALUES


def _labels(
    name: str, found: Any, reference: Reference, inside: Any = None, prefix: str = ""
) -> Row:
    import torch

    differs = found.squeeze() != torch.from_numpy(reference[prefix + name]).long().squeeze()
    differs = differs if inside is None else differs[inside]
    return prefix + name, differs.float().mean().item(), LABELS


def main() -> None:
    """Print the table; exit status 1 if an entry is beyond its limit."""
    args = parse_args()
    reference = read_reference(args.file)
    model = build_model(reference, args.encoder)
    failed = 0
    print("| entry | difference | limit | |\n|---|---|---|---|")
    for name, difference, limit in rows(reference, model):
        good = difference <= limit
        failed += not good
        print(f"| {name} | {difference:.2e} | {limit:.0e} | {'ok' if good else 'BEYOND'} |")
    if failed:
        print(f"{failed} entries are beyond their limits.")
        sys.exit(1)
    print("All entries are within their limits.")


if __name__ == "__main__":
    main_guard(main)
