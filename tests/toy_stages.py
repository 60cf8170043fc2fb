"""Short runs of the multi-stage methods on some small pictures, and tools in forked processes."""

import itertools
import os
import runpy
import signal
import socket
import sys
import traceback
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import afa.models  # noqa: F401  registers what is built
from afa.datasets.shapes import write_shapes
from afa.datasets.shapes_generator import CLASSES, PALETTE
from afa.datasets.transforms import LoadPhoto
from afa.files.label_png import read_label_png
from afa.files.maps import write_maps
from afa.pipelines import pipeline as module

ROOT = Path(__file__).resolve().parent.parent
IDS = [f"val_{i:05d}" for i in range(4)]
AFFINITY_NET = dict(
    type="AffinityNet",
    backbone=dict(type="ToyLevels"),
    affinity_head=dict(
        type="FeatureAffinityHead", in_channels=(4, 5, 6), channels=(2, 3, 4), radius=3
    ),
    num_steps=16,
)
CLASSIFIER = dict(
    type="CAMClassifier",
    backbone=dict(type="ToyLevels"),
    cls_head=dict(type="CAMHead", in_channels=6, num_classes=len(CLASSES), pooling="avg"),
)


@MODELS.register_module()
class ToyLevels(BaseModule):
    """Three convolutions; all levels at stride 4."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(
            nn.Conv2d(wide, narrow, 3, stride=4 if wide == 3 else 1, padding=1)
            for wide, narrow in pairwise((3, 4, 5, 6))
        )

    def forward(self, x):
        levels = []
        for conv in self.convs:
            x = conv(x).relu()
            levels.append(x)
        return tuple(levels)


def write_stage(folder, root, model):
    """Write config and checkpoint of a small network for four pictures; give their paths."""
    init_default_scope("mmseg")
    torch.manual_seed(0)
    preprocessor = dict(
        type="SegDataPreProcessor", mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True
    )
    model = dict(model, data_preprocessor=preprocessor)
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=MODELS.build(model).state_dict(), meta=meta), folder / "toy.pth")
    dataset = dict(
        type="ShapesDataset",
        data_root=str(root),
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        image_labels="Annotations",
        pipeline=[
            dict(type="LoadPhoto"),
            dict(type="LoadAnnotations"),
            dict(type="PackWSSSInputs"),
        ],
    )
    sampler = dict(type="DefaultSampler", shuffle=False)
    cfg = dict(
        default_scope="mmseg",
        custom_imports=dict(imports=["afa.models", "afa.datasets"], allow_failed_imports=False),
        work_dir=str(folder / "work"),
        model=model,
        val_dataloader=dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset),
    )
    Config(cfg).dump(folder / "toy.py")
    return folder / "toy.py", folder / "toy.pth"


def write_cams(folder, root):
    """Write maps as CAMs might be: blurred masks, of half the size of the photo."""
    (folder / "maps").mkdir(parents=True)
    for img_id in IDS:
        mask = read_label_png(root / "SegmentationClassAug" / f"{img_id}.png")
        classes = [int(label) for label in np.unique(mask) if 0 < label < 255]
        blurred = [cv2.blur((mask == label).astype(np.float32), (11, 11)) for label in classes]
        small = [cv2.resize(one, None, fx=0.5, fy=0.5) for one in blurred]
        write_maps(folder / "maps" / f"{img_id}.npz", classes, np.stack(small), mask.shape)
    return folder


def run_tool(name, *args):
    """Run a tool in this process, where the imports are there; give its exit status."""
    before = sys.argv
    sys.argv = [name, *(str(arg) for arg in args)]
    try:
        runpy.run_path(str(ROOT / "tools" / name), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
    return 0


def files_of(folder):
    """Give name and content of all files that hold results."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".png", ".npz") or path.name == "sub_labels.json"
    }


class ForkedTool:
    """Stand in for ``subprocess.Popen``: run a tool in a fork, which has imported everything.

    In the place of torchrun there is one more fork for each of its processes.
    """

    def __init__(self, command, pass_fds=()):
        self.returncode = None
        self.pid = _fork(lambda: self._start(command[1:]))

    def _start(self, words):
        """Run the tool, or as many as torchrun would; give the exit status."""
        if words[:2] != ["-m", "torch.distributed.run"]:
            return self._run(words)
        (count,) = (int(w.partition("=")[2]) for w in words if w.startswith("--nproc_per_node="))
        words = words[[word.endswith(".py") for word in words].index(True) :]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = dict(WORLD_SIZE=count, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        pids = [
            _fork(lambda rank=rank: self._run(words, RANK=rank, LOCAL_RANK=rank, **group))
            for rank in range(count)
        ]
        return max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)

    def _run(self, words, **env):
        os.environ.update({name: str(value) for name, value in env.items()})
        self.prepare(words)
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
        return 0

    def prepare(self, words):
        """Do something in the fork before the tool runs."""

    def wait(self):
        """Wait for its end."""
        os.waitpid(self.pid, 0)


def _fork(work):
    """Call a function that gives an exit status in a fork; give the number of the process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = work()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return pid


def kill_at_photo(stage, count):
    """Give a tool that kills itself and its pipeline at a photo of a stage, counted from 1."""

    class KilledTool(ForkedTool):
        def prepare(self, words):
            places = dict(pairwise(words))
            out = places.get("--out") or places["--work-dir"]
            if Path(out).name.partition("_")[2] == stage:
                load, photos = LoadPhoto.transform, itertools.count(1)

                def transform(self, results):
                    if next(photos) == count:
                        os.killpg(0, signal.SIGKILL)
                    return load(self, results)

                LoadPhoto.transform = transform

    return KilledTool


def run_killed(pipeline, stage, count):
    """Run a pipeline in a process group that is killed in a stage; tell whether it was."""

    def run():
        os.setsid()
        module.subprocess = SimpleNamespace(Popen=kill_at_photo(stage, count))
        pipeline.run()
        return 0

    status = os.waitpid(_fork(run), 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def write_pictures(root, num_train=6, num_val=2):
    """Write a Shapes set of small pictures."""
    write_shapes(root, num_train, num_val, size=48)
    return Path(root)


def quick_options(root):
    """Give options that make every stage short."""
    options = {
        "data_root": str(root),
        "train_cfg.max_iters": 2,
        "default_hooks.checkpoint.interval": 1,
        "train_dataloader.batch_size": 2,
    }
    for split in ("train", "test"):  # AffinityNet has no validation
        options[f"{split}_dataloader.num_workers"] = 0
        options[f"{split}_dataloader.persistent_workers"] = False
    return options


if __name__ == "__main__":
    sys.exit("toy_stages is imported by the tests.")
