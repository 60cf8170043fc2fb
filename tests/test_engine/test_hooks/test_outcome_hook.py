import re

import pytest
from toy_faults import run_tool

from afa.engine.hooks.outcome_hook import outcome

AFA = ["cam", "par", "propagated", "seg"]


def test_a_segmentation_far_behind_its_labels_is_trained_longer():
    figures = {"cls/F1": 80.0, "cam/mIoU": 44.0, "par/mIoU": 46.0, "seg/mIoU": 2.8}
    kind, lines = outcome(figures, AFA, 600)
    assert kind == "par"
    assert lines[0].startswith("Labels 46.0 mIoU ('par'), segmentation 2.8.")
    assert "train the phases with labels longer (--iters 1200" in lines[1]


@pytest.mark.parametrize("seg, said", [(40.0, "near its labels"), (47.0, "what its labels show")])
def test_a_segmentation_that_has_learned_is_the_one_to_use(seg, said):
    kind, lines = outcome({"cls/F1": 80.0, "par/mIoU": 46.0, "seg/mIoU": seg}, AFA, 600)
    assert kind == "seg" and said in lines[1] and "longer (--iters" not in lines[1]


def test_a_classifier_that_has_not_learned_is_said_first():
    _, lines = outcome({"cls/F1": 12.0, "par/mIoU": 9.0, "seg/mIoU": 8.0}, AFA, 600)
    assert lines[0].startswith("The classifier finds few of the classes (F1 12.0)")


def test_without_masks_there_is_no_verdict():
    kind, lines = outcome({"cls/F1": 80.0}, AFA, 600)
    assert kind == "seg" and lines[0].startswith("No figure says how well it segments")
    assert "Where '--kind seg' looks worse than '--kind propagated'" in lines[1]
    kind, lines = outcome({"cls/F1": 80.0, "seg/mIoU": float("nan")}, AFA, 600)
    assert lines[0].startswith("No figure")


def test_models_of_one_kind():
    assert outcome({"seg/mIoU": 60.0}, ["seg"], 9) == ("seg", ["Segmentation 60.0 mIoU."])
    kind, lines = outcome({"cam/mIoU": 40.0, "par/mIoU": 39.0}, ["cam", "par"], 9)
    assert kind == "cam" and lines[0].startswith("Labels 40.0 mIoU ('cam').")
    kind, lines = outcome({"seg/mIoU": 60.0}, AFA, 9)
    assert "were not measured: model.test_cfg.pseudo_labels=True" in lines[1]


def test_a_training_ends_with_a_command_that_works(world, capfd):
    assert run_tool("train.py afa.py --work-dir out --iters 3") == 0
    said = "".join(capfd.readouterr())
    command = re.findall(r"To use it on photos: \S+python\S* tools/(.+) PHOTOS (--kind \w+)", said)
    assert len(command) == 1 and "What came out:" in said
    assert "iter_3.pth" in command[0][0]
    photos = "data/JPEGImages --out out/predicted"
    tool, checkpoint = command[0][0].split()  # the toy's own parts need its config
    assert (
        run_tool(f"{tool} afa.py {checkpoint} {photos} {command[0][1]} --cam --cls-thr 0.999") == 0
    )
    assert "4 of them have no class above 0.999" in capfd.readouterr().out
    assert len(list((world / "out/predicted/cams").rglob("*.jpg"))) == 4
