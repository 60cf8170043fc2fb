"""The tool that prepares VOC 2012, as a user calls it."""

import json

import pytest
from toy_voc import VOCTree, mask, write_mat


@pytest.fixture
def call(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return lambda *args: run_main("dataset_converters/voc12.py", *args, "--workers", 0)


@pytest.fixture
def tree(tmp_path):
    tree = VOCTree(tmp_path)
    tree.make()
    return tree


def test_a_part_of_the_set_is_made_only_if_asked_for(call, tree):
    arguments = (tree.folder / "VOCdevkit", "--sbd", tree.folder / "SBD")
    code, _, err = call(*arguments)
    assert code == 2 and "Error: This is not the whole set (--allow-partial" in err
    assert "  train_aug has 4 images, not 10,582.\n" in err
    assert not (tree.voc / "image_labels.json").exists()
    code, out, err = call(*arguments, "--allow-partial")
    assert (code, err) == (0, "")
    assert "6/6 images" in out and "Masks: 4 from VOC, 2 from SBD." in out
    assert f"s: {tree.voc}" in out
    # Once more, from the masks alone, with other labels.
    code, _, err = call(tree.voc, "--allow-partial", "--difficult", "drop")
    assert code == 2 and "image_labels.json' is there already" in err
    code, out, _ = call(tree.voc, "--allow-partial", "--difficult", "drop", "--overwrite")
    assert code == 0 and "1 images have difficult objects only" in out
    labels = json.loads((tree.voc / "image_labels.json").read_text())
    assert labels["2007_000001"] == ["dog"]


def test_faults_are_lines_and_a_status(call, tree):
    write_mat(tree.sbd / "cls" / "2008_000001.mat", mask(21, height=9))
    arguments = (tree.voc, "--sbd", tree.sbd, "--out", tree.folder / "out")
    code, out, err = call(*arguments, "--allow-partial")
    assert code == 0 and "has the value 21" in out and "Images: train_aug 3," in out
    assert (tree.folder / "out" / "ImageSets" / "SegmentationAug" / "val.txt").is_file()
    code, _, err = call(tree.folder)
    assert code == 2 and "There is no folder" in err and "Traceback" not in err


def test_sbd_and_ready_masks_exclude_each_other(call, tree):
    code, _, err = call(tree.voc, "--sbd", tree.sbd, "--masks", tree.sbd)
    assert code == 2 and "not allowed with argument" in err
