"""A small world of data, configs and weights, and the faults that are done to it on purpose."""

import hashlib
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from toy_afa import NUM_CLASSES, afa_cfg
from toy_photos import CLASSES, PALETTE, make_cfg, write_photos
from toy_stages import AFFINITY_NET, ROOT

from afa.files.label_png import read_label_png
from afa.files.maps import write_maps

IDS = [f"photo_{number:02d}" for number in range(4)]
OUT = "out"  # every command writes below it, and nowhere else
# The command of each tool; faults are added behind it, or done to the files that it reads.
COMMANDS = {
    "train": "train.py cam.py --work-dir out",
    "train_afa": "train.py afa.py --work-dir out",
    "train_own": "train.py own.py --work-dir out",
    "test": "test.py afa.py afa.pth --work-dir out",
    "predict": "predict.py afa.py afa.pth data/JPEGImages --out out",
    "pseudo_labels": "pseudo_labels.py cam.py cam.pth --split val --kind cam --out out",
    "random_walk": "random_walk.py affinity.py affinity.pth cams --split val --out out",
    "affinity_labels": "affinity_labels.py cam.py cams --split val --out out --no-crf",
    "sub_categories": "sub_categories.py cam.py cam.pth --split val --out out",
    "run_pipeline": "run_pipeline.py pipeline.py --work-dir out",
    "check_dataset": "check_dataset.py cam.py --workers 0",
}


@dataclass(frozen=True)
class Fault:
    """A wrong thing that a user does, and what must be said.

    Args:
        name: what is wrong, in a few words.
        command: key of ``COMMANDS``, or a whole command.
        text: what the sentence says; the names and values that came, and what to do.
        args: behind the command.
        harm: is called in the folder of the world, before the command.
        patch: changes the machine (a full disk, no memory); gets pytest's monkeypatch.
        status: exit status.
    """

    name: str
    command: str
    text: str
    args: str = ""
    harm: Callable[[], object] | None = None
    patch: Callable | None = None
    status: int = 2


def run_tool(command: str) -> int:
    """Run a tool in this process, through its main_guard; give its exit status."""
    name, *args = command.split()
    before = sys.argv
    sys.argv = [name, *args]
    try:
        runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def files_in(folder: Path) -> dict[str, str]:
    """Give name and digest of every file below a folder, links and empty folders too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


def write_world(folder: Path) -> None:
    """Write data, configs and weights; configs name their files relative to the folder."""
    write_photos(folder / "data", len(IDS), splits=("train", "val"))
    _write(
        folder, "afa", afa_cfg(test_cfg=dict(pseudo_labels=True), data_preprocessor__size=(32, 32))
    )
    classifier = dict(
        type="CAMClassifier",
        data_preprocessor=_preprocessor(),
        backbone=dict(type="ToyLevels"),
        cls_head=dict(type="CAMHead", in_channels=6, num_classes=NUM_CLASSES, pooling="avg"),
        test_cfg=dict(pseudo_labels=True),
    )
    _write(folder, "cam", classifier)
    _write_own(folder)
    _write(folder, "affinity", dict(AFFINITY_NET, data_preprocessor=_preprocessor()))
    (folder / "cams/maps").mkdir(parents=True)
    for img_id in IDS:
        mask = read_label_png(folder / f"data/SegmentationClassAug/{img_id}.png")
        (label,) = set(mask.flat) - {0, 255}
        maps = (mask == label)[None].astype("float32")
        write_maps(folder / f"cams/maps/{img_id}.npz", [int(label)], maps, mask.shape)
    stages = [dict(name="cam", tool="train.py", config=str(folder / "cam.py"))]
    Config(dict(method="toy", stages=stages)).dump(folder / "pipeline.py")
    (folder / OUT).mkdir()
    (folder / OUT / "mine.txt").write_text("is not to be touched\n")


def _preprocessor() -> dict:
    mean, std = [120.0] * 3, [60.0] * 3
    return dict(type="SegDataPreProcessor", mean=mean, std=std, bgr_to_rgb=True, size=(32, 32))


def _write(folder: Path, name: str, model: dict) -> None:
    """Write config and checkpoint of a model: the test of toy_photos, with a short training."""
    cfg = make_cfg("data", "out")
    dataset = dict(cfg.val_dataloader.dataset, ann_file="ImageSets/train.txt", test_mode=False)
    dataset["pipeline"] = [
        dict(type="LoadPhoto"),
        dict(type="LoadAnnotations"),
        dict(type="RandomScale", ratio_range=(0.9, 1.1)),
        dict(type="RandomCropPad", crop_size=(32, 32)),
        dict(type="PackWSSSInputs"),
    ]
    cfg.model = model
    cfg.custom_imports.imports.append("toy_stages")
    cfg.train_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type="SeededInfiniteSampler"),
        dataset=dataset,
    )
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=2)
    cfg.optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.001))
    cfg.param_scheduler = [dict(type="PolyLR", by_epoch=False, begin=0, end=3)]
    cfg.default_hooks = dict(
        logger=dict(type="LoggerHook", interval=1),
        checkpoint=dict(type="CheckpointHook", interval=2, by_epoch=False),
    )
    cfg.custom_hooks = [dict(type="ReproducibleHook")]
    cfg.log_processor = dict(type="AFALogProcessor", by_epoch=False)
    if name == "afa":
        cfg.custom_hooks.append(dict(type="PhaseHook", phases=dict(cls=0, propagated=1)))
    else:
        cfg.val_evaluator = cfg.test_evaluator = dict(type="MultiLabelMetric", prefix="cls")
    cfg.dump(folder / f"{name}.py")
    init_default_scope("mmseg")
    torch.manual_seed(0)
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    state = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=meta), folder / f"{name}.pth")


def _write_own(folder: Path) -> None:
    """Write the same photos as photos of one's own, and the config of the classifier for them."""
    shutil.copytree(folder / "data/JPEGImages", folder / "own")
    lines = [f"{img_id}.jpg,{CLASSES[1 + index % 3]}" for index, img_id in enumerate(IDS)]
    (folder / "own/labels.csv").write_text("\n".join(["photo,labels", *lines]) + "\n")
    cfg = Config.fromfile(folder / "cam.py")
    for name in ("train", "val", "test"):
        steps = [
            step
            for step in cfg[f"{name}_dataloader"].dataset.pipeline
            if step.type != "LoadAnnotations"
        ]
        cfg[f"{name}_dataloader"].dataset = dict(
            type="OwnPhotosDataset",
            data_root="own",
            data_prefix=dict(img_path=""),
            split="train" if name == "train" else "val",
            pipeline=steps,
        )
    cfg.dump(folder / "own.py")


def write_json(path: str, content: object) -> Callable[[], object]:
    """Give a harm that writes JSON to a file."""
    return lambda: Path(path).write_text(json.dumps(content))


def write(path: str, content: str | bytes) -> Callable[[], object]:
    """Give a harm that puts something else into a file."""
    data = content.encode() if isinstance(content, str) else content
    return lambda: Path(path).write_bytes(data)


def cut(path: str, keep: float = 0.5) -> Callable[[], object]:
    """Give a harm that cuts a file off."""

    def harm() -> None:
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: int(keep * len(data))])

    return harm


def more(path: str, lines: str) -> Callable[[], object]:
    """Give a harm that adds lines to a config, which is a program."""
    return lambda: Path(path).write_text(f"{Path(path).read_text()}\n{lines}\n")


def option(text: str) -> str:
    """Give the argument that changes a config."""
    return f"--cfg-options {text}"


def remove(path: str) -> Callable[[], object]:
    """Give a harm that removes a file."""
    return lambda: Path(path).unlink()


if __name__ == "__main__":
    sys.exit("toy_faults is imported by the tests.")
