"""What docs/faq.md tells people to type could run, and its tables are those of the configs."""

import re
import shlex
import string
from pathlib import Path

import cv2
import numpy as np
import pytest
from toy_commands import build, commands, parse, variables

from afa.labels.options import PseudoLabelOptions

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "faq.md").read_text(encoding="utf-8")
VARIABLES = variables(PAGE)


def _fenced():
    """Commands in blocks, as words."""
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)).replace("\\\n", " ")
    found = re.findall(r"^python (tools/.*)$", blocks, re.M)
    return [tuple(shlex.split(string.Template(one).substitute(VARIABLES))) for one in found]


COMMANDS = sorted({*commands(PAGE, VARIABLES), *_fenced()})


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command(words, tmp_path):
    name, args = parse(words)
    config = getattr(args, "config", None) or VARIABLES["CONFIG"]
    options = list(getattr(args, "cfg_options", None) or ())
    if config == VARIABLES["OWN"]:  # its classes are counted in the labels of the photos
        (tmp_path / "labels.csv").write_text("photo,labels\na.jpg,cat\nb.jpg,dog\n")
        cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "b.jpg"), np.zeros((8, 8, 3), np.uint8))
        options.append(f"data_root={tmp_path}")
    if name != "run_pipeline.py":
        build(config, tuple(options))
    if name == "pseudo_labels.py":
        fields = PseudoLabelOptions.__dataclass_fields__
        PseudoLabelOptions(**{key: getattr(args, key) for key in fields if hasattr(args, key)})


def test_the_page_has_commands_of_both_kinds():
    assert len(COMMANDS) > 15 and len(_fenced()) == 3
    assert "(docs/faq.md)" in (DOCS.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "photos"),
    [
        ("configs/afa/afa_mit-b1_2xb2-20k_voc12aug-512x512.py", 10582),
        ("configs/afa/afa_mit-b1_2xb4-80k_coco14-512x512.py", 82081),
        ("configs/afa/afa_mit-b0_1xb8-820it_shapes-96x96.py", 800),
    ],
)
def test_the_table_of_iterations_is_that_of_the_configs(config, photos):
    cfg, _ = build(config, ())
    batch = cfg.train_dataloader.batch_size * int(re.search(r"_(\d)xb", config)[1])
    total = cfg.train_cfg.max_iters
    phases = next(hook for hook in cfg.custom_hooks if hook.type == "PhaseHook").phases
    numbers = f"| {photos:,} | {batch} | {total:,} | {total * batch / photos:.1f} | "
    numbers += f"{phases.pseudo / total:.0%} | {phases.propagated / total:.0%} |".replace("%", " %")
    assert numbers in PAGE


def test_background_scores_are_those_of_the_configs():
    model = build(VARIABLES["CONFIG"], ())[0].model
    assert f"| {model.test_cfg.bkg_thr} |" in PAGE
    assert f"| {model.train_cfg.bkg_thr_high}, {model.train_cfg.bkg_thr_low} |" in PAGE
    classifier = "configs/affinitynet/classifier_resnet38_4xb4-10k_voc12aug-448x448.py"
    assert f"ResNet38 | {build(classifier, ())[0].model.test_cfg.bkg_thr} |" in PAGE
