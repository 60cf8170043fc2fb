"""Wrong checkpoints, and those of others."""

import math
import sys

import torch
from safetensors.torch import save_file
from toy_faults import Fault, cut, option, write


def save(path, content):
    return lambda: torch.save(content, path)


def changed(path, **changes):
    """Change what a checkpoint holds."""

    def harm():
        state = torch.load(path, weights_only=True)
        torch.save({**state, **changes}, path)

    return harm


def broken(path, number, target=None):
    """Put a number that is none into one weight."""

    def harm():
        content = torch.load(path, weights_only=True)
        weights = content["state_dict"]
        name = next(name for name, one in weights.items() if one.is_floating_point())
        weights[name].view(-1)[0] = number
        if target is None:
            torch.save(content, path)
        else:
            save_file({k: v.contiguous() for k, v in weights.items()}, target)

    return harm


NOT_FINITE = "NaN or infinite numbers in 1 of"

FAULTS = [
    *(
        Fault(f"NaN in weights, {name}", command, NOT_FINITE, args, broken(path, number))
        for name, command, args, path, number in [
            ("test", "test", "", "afa.pth", math.nan),
            ("predict", "predict", "", "afa.pth", -math.inf),
            ("labels", "pseudo_labels", "", "cam.pth", math.nan),
            ("walk", "random_walk", "", "affinity.pth", math.inf),
            ("clusters", "sub_categories", "", "cam.pth", math.nan),
            ("load_from", "train", option("load_from=cam.pth"), "cam.pth", math.nan),
            ("resume", "train", "--resume cam.pth", "cam.pth", math.nan),
            (
                "initial weights",
                "train_afa",
                option(
                    "model.backbone.init_cfg.type=Pretrained "
                    "model.backbone.init_cfg.checkpoint=afa.pth"
                ),
                "afa.pth",
                math.nan,
            ),
            (
                "conversion",
                "model_converters/afa_official.py afa.pth out/a.pth",
                "",
                "afa.pth",
                math.nan,
            ),
        ]
    ),
    Fault(
        "NaN in safetensors",
        "predict.py afa.py afa.safetensors data/JPEGImages --out out",
        "The checkpoint afa.safetensors cannot be used: NaN or infinite",
        harm=broken("afa.pth", math.nan, "afa.safetensors"),
    ),
    Fault(
        "checkpoint of another alphabet",
        "test",
        "; '\u0430' (\\u0430) is 'a' here: use the config it was trained with",
        harm=changed(
            "afa.pth", meta=dict(dataset_meta=dict(classes=["background", "\u0430", "b", "c"]))
        ),
        status=1,
    ),
    Fault(
        "CAM of another alphabet",
        "predict",
        "There is no class '\u0430' (\\u0430); did you mean 'a'?",
        "--cam --labels \u0430",
    ),
    Fault(
        "checkpoint missing",
        "test.py afa.py nowhere.pth --work-dir out",
        "there is no checkpoint 'nowhere.pth'",
    ),
    Fault("checkpoint empty", "test", "afa.pth is empty", harm=write("afa.pth", b"")),
    Fault(
        "checkpoint cut", "predict", "afa.pth cannot be read: it is incomplete", harm=cut("afa.pth")
    ),
    Fault(
        "checkpoint text", "pseudo_labels", "cam.pth cannot be read", harm=write("cam.pth", "hello")
    ),
    Fault(
        "checkpoint a list",
        "test",
        "'afa.pth' is no checkpoint: it holds list",
        harm=save("afa.pth", [1, 2]),
        status=1,
    ),
    Fault(
        "checkpoint of numbers",
        "test",
        "afa.pth",
        harm=save("afa.pth", dict(state_dict=3)),
        status=1,
    ),
    Fault(
        "checkpoint of other keys",
        "predict",
        "Checkpoint 'afa.pth' does not fit",
        harm=save("afa.pth", {1: torch.zeros(1)}),
        status=1,
    ),
    Fault(
        "checkpoint of another model",
        "test.py afa.py cam.pth --work-dir out",
        "Checkpoint 'cam.pth' does not fit the model",
        status=1,
    ),
    Fault(
        "checkpoint of other classes",
        "test",
        "was trained for 2 classes (background, cat)",
        harm=changed("afa.pth", meta=dict(dataset_meta=dict(classes=["background", "cat"]))),
        status=1,
    ),
    Fault(
        "walk of another model",
        "random_walk.py cam.py cam.pth cams --split val --out out",
        "The random walk needs AffinityNet",
    ),
    Fault(
        "load_from missing",
        "train",
        "load_from: there is no checkpoint 'nowhere.pth'",
        option("load_from=nowhere.pth"),
    ),
    Fault("load_from other model", "train", "afa.pth", option("load_from=afa.pth"), status=1),
    Fault(
        "resume missing",
        "train",
        "There is no checkpoint 'nowhere.pth' to resume from",
        "--resume nowhere.pth",
    ),
    Fault("resume from weights", "train", "'cam.pth' holds weights", "--resume cam.pth", status=1),
    Fault(
        "initial weights missing",
        "train",
        "there is no checkpoint 'nowhere.pth'",
        option(
            "model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=nowhere.pth"
        ),
    ),
    Fault(
        "initial weights of others",
        "train_afa",
        "cam.pth",
        option(
            "model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=cam.pth"
        ),
    ),
    Fault(
        "conversion of nothing",
        "model_converters/afa_official.py nowhere.pth out/a.pth",
        "nowhere.pth does not exist",
    ),
    Fault("conversion of another", "model_converters/afa_official.py cam.pth out/a.pth", "cam.pth"),
    Fault("conversion over itself", "model_converters/psa_official.py cam.pth cam.pth", "cam.pth"),
]

if __name__ == "__main__":
    sys.exit("faults_of_checkpoints is imported by the tests.")
