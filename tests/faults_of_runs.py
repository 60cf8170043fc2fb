"""Runs that would fail late, or go on as another run: what is said before the first iteration."""

import sys

import torch
from faults_of_machine import raising
from toy_faults import Fault, more, option

SGD = dict(optimizer=dict(type="SGD", lr=0.001))
GROUPS = [dict(lr=0.1, params=[0]), dict(lr=0.1, params=[1])]


def resumable(name="cam", path="old.pth", groups=(), **meta):
    """Write a checkpoint that a run could go on from; `meta` says how it was trained."""

    def harm():
        state = torch.load(f"{name}.pth", weights_only=True)
        state["meta"] |= dict(iter=1, epoch=0, **meta)
        optimizer = dict(param_groups=list(groups), state={})
        torch.save(dict(state, optimizer=optimizer, message_hub={}, param_schedulers=[]), path)

    return harm


def backbone(text):
    """Give the classifier another backbone."""
    return more("cam.py", f"model['backbone'] = dict(pretrained=False, {text})")


FAULTS = [
    # ---- heads and backbone ---------------------------------------------------------------------
    Fault(
        "channels of the classifier",
        "train_afa",
        "model.cls_head.in_channels is 512, but MiTAttn gives 256 there: leave in_channels out",
        option("model.cls_head.in_channels=512"),
    ),
    Fault(
        "channels of the segmentation head",
        "train_afa",
        "model.decode_head.in_channels is [1, 2, 3, 4], but MiTAttn gives [32, 64, 160, 256]",
        option("model.decode_head.in_channels=[1,2,3,4]"),
    ),
    Fault(
        "number of attention maps",
        "test",
        "model.affinity_head.in_channels is 12, but MiTAttn gives 16 attention maps",
        option("model.affinity_head.in_channels=12"),
    ),
    Fault(
        "map that is not there",
        "predict",
        "model.decode_head takes the map [0, 1, 2, 7] of the backbone (in_index), but MiTAttn",
        harm=more("afa.py", "model['decode_head']['in_index'] = [0, 1, 2, 7]"),
    ),
    Fault(
        "argument of a network of timm",
        "train",
        "model.backbone: TIMMBackbone has no argument 'drop_path_rat'; did you mean 'drop_path_rat",
        harm=backbone("type='TIMMBackbone', model_name='resnet10t', drop_path_rat=0.1"),
    ),
    Fault(
        "argument of another network of timm",
        "train",
        "no argument 'dynamic_img_siz'; did you mean 'dynamic_img_size'?",
        harm=backbone("type='TIMMBackbone', model_name='vit_tiny_patch16_224', dynamic_img_siz=1"),
    ),
    # ---- the rehearsal --------------------------------------------------------------------------
    Fault(
        "rehearse is a text",
        "train",
        "rehearse must be True or False, got str 'maybe'.",
        option("rehearse=maybe"),
    ),
    Fault(
        "refiner that fails in the last phase",
        "train_afa",
        "Rehearsed before the first iteration, the loss of phase 'propagated' fails: RuntimeError:",
        patch=raising("afa.models.PAR.refine_sets", RuntimeError("no two sets\nat once")),
    ),
    Fault(
        "segmentation that fails in a later phase",
        "train_afa",
        "the loss of phase 'propagated' fails in model.decode_head (SegformerHead): TypeError",
        patch=raising("mmseg.models.decode_heads.SegformerHead.forward", TypeError("x")),
    ),
    Fault(
        "channels of a silent backbone",
        "train",
        "the loss fails in model.cls_head (CAMHead): RuntimeError: Given groups=1, weight of size",
        option("model.cls_head.in_channels=7"),
    ),
    Fault(
        "level of a silent backbone",
        "train.py affinity.py --work-dir out",
        "the loss fails in model.affinity_head (FeatureAffinityHead): FeatureAff",
        harm=more("affinity.py", "model['affinity_head']['in_index'] = (0, 1, 5)"),
    ),
    Fault(
        "nothing learns",
        "train",
        "the loss fails: RuntimeError: element 0 of tensors does not require grad",
        patch=lambda patch: patch.setattr("afa.models.CAMHead.loss", lambda *args: torch.zeros(())),
    ),
    Fault(
        "prediction that fails",
        "train",
        "the prediction of a validation image fails: KeyError: 'pred_label'",
        patch=raising("afa.models.CAMClassifier.predict", KeyError("pred_label")),
    ),
    Fault(
        "metric that fails",
        "train",
        "val_evaluator, with a validation image, fails: TypeError: no scores",
        patch=raising("afa.evaluation.MultiLabelMetric.process", TypeError("no scores")),
    ),
    # ---- resume ---------------------------------------------------------------------------------
    Fault(
        "resume with another seed",
        "train",
        "'old.pth' was trained with randomness.seed 3, this run has 4: that cannot change in the",
        f"--resume old.pth {option('randomness.seed=4')}",
        harm=resumable(seed=3),
        status=1,
    ),
    Fault(
        "resume with another optimizer",
        "train",
        "optim_wrapper.optimizer.type Adam before iteration 1, this run has SGD",
        "--resume old.pth",
        harm=resumable(
            plain_config=dict(
                optim_wrapper=dict(optimizer=dict(type="Adam")),
                train_cfg=dict(type="IterBasedTrainLoop"),
                train_dataloader=dict(sampler=dict(type="SeededInfiniteSampler")),
            )
        ),
        status=1,
    ),
    Fault(
        "resume with another sampler",
        "train",
        "train_dataloader.sampler {",
        "--resume old.pth",
        harm=resumable(
            plain_config=dict(
                optim_wrapper=SGD,
                train_cfg=dict(type="IterBasedTrainLoop"),
                train_dataloader=dict(sampler=dict(type="InfiniteSampler")),
            )
        ),
        status=1,
    ),
    Fault(
        "resume with another loop",
        "train",
        "train_cfg.type EpochBasedTrainLoop before iteration 1, this run has IterBasedTrainLoop",
        "--resume old.pth",
        harm=resumable(
            plain_config=dict(
                optim_wrapper=SGD,
                train_cfg=dict(type="EpochBasedTrainLoop"),
                train_dataloader=dict(sampler=dict(type="SeededInfiniteSampler")),
            )
        ),
        status=1,
    ),
    Fault(
        "resume with other phases",
        "train_afa",
        "phases {'pseudo': 0} before iteration 1, this run has {'cls': 0}",
        "--resume old.pth",
        harm=resumable(
            "afa",
            plain_config=dict(
                optim_wrapper=SGD,
                train_cfg=dict(type="IterBasedTrainLoop"),
                train_dataloader=dict(sampler=dict(type="SeededInfiniteSampler")),
                custom_hooks=[dict(type="PhaseHook", phases=dict(pseudo=0))],
            ),
        ),
        status=1,
    ),
    Fault(
        "resume from the newest of another training",
        "train",
        "iter_1.pth' was trained with randomness.seed 3, this run has 4",
        f"--resume {option('randomness.seed=4')}",
        harm=resumable(path="out/iter_1.pth", seed=3),
        status=1,
    ),
    Fault(
        "resume with other groups of parameters",
        "train",
        "'old.pth' was trained with 2 groups of parameters, this run has 1, or others: give the",
        "--resume old.pth",
        harm=resumable(groups=GROUPS),
        status=1,
    ),
    # ---- what is not there ----------------------------------------------------------------------
    Fault(
        "wandb is not installed",
        "train",
        "WandbVisBackend needs the package wandb, which is not installed: pip install 'afa[wandb]'",
        "--tracker wandb",
    ),
    Fault(
        "aim is not installed",
        "test",
        "AimVisBackend needs the package aim, which is not installed: pip install aim, or take it",
        option("visualizer.vis_backends.0.type=AimVisBackend"),
    ),
]

if __name__ == "__main__":
    sys.exit("faults_of_runs is imported by the tests.")
