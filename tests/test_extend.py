"""The worked examples of docs/extend.md run as they stand there, next to an unchanged afa."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afa.datasets.shapes import write_shapes
from afa.engine.config import load_config
from afa.engine.runner import build_runner
from afa.files.label_png import read_label_png
from afa.labels.options import PseudoLabelOptions
from afa.labels.stages import make_pseudo_labels

ROOT = Path(__file__).resolve().parent.parent
CODE = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", (ROOT / "docs/extend.md").read_text(), re.S)
CONFIGS = sorted(name for name, text in CODE if "_base_" in text)
SHORT = {
    "train_cfg.max_iters": 4,
    "train_cfg.val_interval": 4,
    "train_dataloader.batch_size": 2,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "default_hooks.checkpoint.interval": 4,
}
PHASES = {"plain-stage_shapes.py": dict(classify=0, segment=2)}


def test_the_examples_are_those_that_the_tests_know():
    assert len(CODE) == 6 and len(CONFIGS) == 3 and set(PHASES) <= set(CONFIGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write the examples and a few Shapes into a folder that Python finds modules in."""
    folder = tmp_path_factory.mktemp("extend")
    for name, text in CODE:
        (folder / name).write_text(text)
    (folder / "configs").symlink_to(ROOT / "configs")
    write_shapes(folder / "data" / "shapes", num_train=6, num_val=2, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("name", CONFIGS)
def test_an_example_trains_validates_and_makes_labels(folder, name):
    phases = PHASES.get(name, dict(cls=0, pseudo=1, propagated=2))
    options = {f"custom_hooks.0.phases.{phase}": begin for phase, begin in phases.items()}
    work = folder / "work" / Path(name).stem
    cfg = load_config(name, work_dir=str(work), options={**SHORT, **options})
    runner = build_runner(cfg)
    runner.train()
    losses = runner.message_hub.log_scalars
    last = list(phases)[-1]
    assert runner.model.phase == last and np.isfinite(losses["train/loss_seg"].current())
    assert {"val/cam/mIoU", "val/par/mIoU", "val/seg/mIoU"} <= set(losses)

    out = folder / "labels" / Path(name).stem
    make_pseudo_labels(
        cfg, str(work / "iter_4.pth"), PseudoLabelOptions("train", "par", out=str(out))
    )
    made = sorted((out / "labels").glob("*.png"))
    assert len(made) == 6
    for path in made:
        photo = Image.open(folder / "data" / "shapes" / "JPEGImages" / f"{path.stem}.jpg")
        assert read_label_png(path).shape == photo.size[::-1]


def test_what_an_example_needs_is_in_its_own_files(folder):
    """The modules come from the folder of the examples; afa knows none of their names."""
    for name, text in CODE:
        if "_base_" not in text:
            assert Path(sys.modules[name.removesuffix(".py")].__file__).parent == folder
        for word in re.findall(r"^class (\w+)", text, re.M):
            assert not any(word in path.read_text() for path in (ROOT / "afa").rglob("*.py"))
