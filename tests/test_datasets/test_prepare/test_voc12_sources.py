import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat

from afa.datasets.prepare.voc12_sources import (
    NUM_IMAGES,
    NUM_SBD,
    check_lists,
    derive_lists,
    find_missing,
    find_sbd,
    find_sources,
    read_sbd_mask,
)

LABEL = np.array([[0, 1, 20], [3, 2, 0]], np.uint8)


def test_published_sizes():
    assert NUM_IMAGES["train_aug"] == 10582 and NUM_IMAGES["val"] == 1449
    assert NUM_IMAGES["train"] + NUM_IMAGES["val"] == NUM_IMAGES["trainval"] == 2913
    assert NUM_IMAGES["test"] == 1456
    assert sum(NUM_SBD.values()) == 11355


def test_places_from_any_level(voc_tree):
    sources = find_sources(voc_tree.folder / "VOCdevkit", sbd=voc_tree.folder / "SBD")
    assert sources == find_sources(voc_tree.voc, sbd=voc_tree.sbd)
    assert (sources.root, sources.out, sources.sbd) == (voc_tree.voc, voc_tree.voc, voc_tree.sbd)
    elsewhere = find_sources(voc_tree.voc, sbd=voc_tree.sbd, out=voc_tree.folder / "out")
    assert elsewhere.target("a") == voc_tree.folder / "out" / "SegmentationClassAug" / "a.png"
    assert elsewhere.photo("a") == voc_tree.voc / "JPEGImages" / "a.jpg"


def test_ready_masks_are_found(voc_tree):
    ready = voc_tree.folder / "ready" / "SegmentationClassAug"
    ready.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no masks .*--sbd.*--masks"):
        find_sources(voc_tree.voc)
    with pytest.raises(ValueError, match=r"no masks .*ready"):
        find_sources(voc_tree.voc, masks=ready)
    (ready / "2007_000001.png").touch()
    for folder in (ready, ready.parent):
        assert find_sources(voc_tree.voc, masks=folder).masks == ready
    own = voc_tree.voc / "SegmentationClassAug"
    own.mkdir()
    (own / "2007_000001.png").touch()
    assert find_sources(voc_tree.voc).masks == own
    assert find_sources(voc_tree.voc, out=voc_tree.folder / "out").masks == own
    with pytest.raises(ValueError, match="not both"):
        find_sources(voc_tree.voc, sbd=voc_tree.sbd, masks=ready)


@pytest.mark.parametrize("name", ["JPEGImages", "Annotations", "ImageSets/Segmentation"])
def test_what_is_no_vocdevkit_is_refused(voc_tree, name):
    (voc_tree.voc / name).rename(voc_tree.folder / "away")
    with pytest.raises(ValueError, match=rf"no folder '.*{name}': give VOCdevkit"):
        find_sources(voc_tree.folder / "VOCdevkit", sbd=voc_tree.sbd)


def test_masks_have_an_order(voc_tree):
    names = [
        [name for name, _ in voc_tree.sources().mask_sources(img_id)]
        for img_id in ("2007_000001", "2007_000002", "2008_000001", "2009_000009")
    ]
    assert names == [["VOC", "SBD"], ["VOC"], ["SBD"], []]


def test_lists_are_derived(voc_tree):
    lists = derive_lists(voc_tree.sources())
    assert lists == dict(
        # SBD has both val images and lacks 2007_000002 of VOC's train.
        train_aug=["2007_000001", "2007_000002", "2008_000001", "2008_000002"],
        train=["2007_000001", "2007_000002"],
        val=["2007_000004", "2007_000003"],
        trainval=["2007_000001", "2007_000002", "2007_000003", "2007_000004"],
        test=["2009_000009"],
    )
    assert check_lists(lists, voc_tree.sources()) == []
    assert find_missing(lists, voc_tree.sources()) == ([], set())


def test_lists_from_ready_masks(voc_tree):
    ready = voc_tree.folder / "ready"
    ready.mkdir()
    for img_id in ("2008_000002", "2007_000003", "2008_000001"):
        (ready / f"{img_id}.png").touch()
    (ready / "README.md").touch()
    lists = derive_lists(voc_tree.sources(masks=ready))
    assert lists == derive_lists(voc_tree.sources())


def test_without_the_test_archive_there_is_no_test_list(voc_tree):
    (voc_tree.voc / "ImageSets" / "Segmentation" / "test.txt").unlink()
    assert "test" not in derive_lists(voc_tree.sources())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/JPEGImages/a.jpg /Mask/a.png\n", "must have one image id per line, got the line"),
        ("JPEGImages/a.jpg\n", "must hold ids such as 2007_000032, got 'JPEGImages/a.jpg'"),
        ("../a\n", r"no image id: The image id '\.\./a' is no name"),
        ("..\\a\n", r"no image id: The image id .* is no name"),
        ("..\n", r"no image id: The image id '\.\.' is no name"),
        ("a\na\n", "names the image 'a' twice"),
        ("", "is empty"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("whose", ["VOC", "SBD"])
def test_what_is_no_list_is_refused(voc_tree, text, message, whose):
    folder = voc_tree.voc / "ImageSets" / "Segmentation" if whose == "VOC" else voc_tree.sbd
    sources = voc_tree.sources()
    (folder / "train.txt").unlink()
    if text is not None:
        (folder / "train.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        derive_lists(sources)


def test_train_and_val_share_no_image(voc_tree):
    path = voc_tree.voc / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text(path.read_text() + "2007_000003\n")
    with pytest.raises(ValueError, match=r"share images \(2007_000003\)"):
        derive_lists(voc_tree.sources())


def test_other_sizes_are_told_with_what_explains_them(voc_tree):
    (voc_tree.sbd / "train.txt").write_text("2007_000003\n2007_000001\n")
    sources = voc_tree.sources()
    faults = check_lists(derive_lists(sources), sources)
    assert faults == [
        "train_aug has 3 images, not 4.",
        f"'{voc_tree.sbd / 'train.txt'}' has 2 images, not 3.",
        "SBD's lists lack 1 of its masks: 2008_000002.",
    ]


def test_each_kind_of_missing_file_is_told_with_the_first_ids(voc_tree):
    (voc_tree.voc / "JPEGImages" / "2007_000001.jpg").unlink()
    (voc_tree.voc / "JPEGImages" / "2009_000009.jpg").unlink()
    (voc_tree.voc / "Annotations" / "2007_000003.xml").unlink()
    (voc_tree.sbd / "cls" / "2008_000001.mat").unlink()
    (voc_tree.sbd / "cls" / "2008_000002.mat").unlink()
    (voc_tree.sbd / "cls" / "2007_000001.mat").unlink()  # VOC has its mask
    (voc_tree.voc / "SegmentationClass" / "2007_000004.png").unlink()  # SBD's is no stand-in
    faults, lacking = find_missing(derive_lists(voc_tree.sources()), voc_tree.sources())
    photos, annotations = voc_tree.voc / "JPEGImages", voc_tree.voc / "Annotations"
    assert faults == [
        f"1 of 6 photos in '{photos}' are missing: 2007_000001.",
        f"1 of 6 XML files in '{annotations}' are missing: 2007_000003.",
        f"1 of 4 masks in '{voc_tree.voc / 'SegmentationClass'}' are missing: 2007_000004.",
        f"2 of 2 masks in '{voc_tree.sbd}' are missing: 2008_000001, 2008_000002.",
        "1 of 1 test photos (VOC2012test.tar has them) are missing: 2009_000009.",
    ]
    assert lacking == {
        *("2007_000001", "2007_000003", "2007_000004"),
        *("2008_000001", "2008_000002", "2009_000009"),
    }


def test_ready_masks_stand_in_for_those_of_voc(voc_tree):
    ready = voc_tree.folder / "ready"
    ready.mkdir()
    (voc_tree.voc / "SegmentationClass" / "2007_000004.png").unlink()
    for img_id in ("2007_000004", "2008_000001"):
        (ready / f"{img_id}.png").touch()
    sources = voc_tree.sources(masks=ready)
    lists = derive_lists(voc_tree.sources())
    assert find_missing(lists, sources) == (
        [f"1 of 6 masks in '{ready}' are missing: 2008_000002."],
        {"2008_000002"},
    )


def test_a_mask_that_is_there_needs_no_source(voc_tree):
    (voc_tree.sbd / "cls" / "2008_000001.mat").unlink()
    (voc_tree.voc / "SegmentationClassAug").mkdir()
    (voc_tree.voc / "SegmentationClassAug" / "2008_000001.png").touch()
    assert find_missing(derive_lists(voc_tree.sources()), voc_tree.sources()) == ([], set())


def test_only_the_first_ids_are_named(voc_tree):
    ids = [f"2010_{number:06d}" for number in range(7)]
    faults, lacking = find_missing(dict(train_aug=ids, val=[], trainval=[]), voc_tree.sources())
    assert faults[0].endswith("are missing: " + ", ".join(ids[:5]) + " and 2 more.")
    assert lacking == set(ids)


@pytest.mark.parametrize(
    "level", ["", "dataset", "benchmark_RELEASE/dataset", "benchmark/benchmark_RELEASE/dataset"]
)
def test_sbd_is_found_from_each_level_of_the_archive(tmp_path, level):
    root = tmp_path / level
    (root / "cls").mkdir(parents=True)
    for name in ("train.txt", "val.txt"):
        with pytest.raises(ValueError, match=f"has no '{name}'"):
            find_sbd(tmp_path)
        (root / name).touch()
    assert find_sbd(tmp_path) == root


def test_a_folder_without_sbd_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"There is no SBD in .*benchmark\.tgz"):
        find_sbd(tmp_path / "nowhere")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, float])
def test_labels_of_the_nested_struct(tmp_path, compressed, dtype):
    content = dict(Boundaries=np.zeros((20, 1)), Segmentation=LABEL.astype(dtype))
    savemat(tmp_path / "a.mat", {"GTcls": content}, do_compression=compressed)
    label = read_sbd_mask(tmp_path / "a.mat")
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, LABEL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (dict(GTinst=dict(Segmentation=LABEL)), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=5), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Boundaries=LABEL)), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Segmentation="text")), "has no matrix GTcls.Segmentation"),
        (dict(GTcls=dict(Segmentation=np.zeros((2, 2, 2)))), "has no matrix"),
        (dict(GTcls=dict(Segmentation=np.zeros((0, 0)))), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL - 0.5)), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL * np.nan)), "must hold labels 0..255"),
        (dict(GTcls=dict(Segmentation=LABEL.astype(int) + 250)), "must hold labels 0..255"),
    ],
)
def test_other_contents_are_one_sentence(tmp_path, content, message):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=rf"a\.mat'.*{message}") as caught:
        read_sbd_mask(tmp_path / "a.mat")
    assert "\n" not in str(caught.value)


def test_broken_files_are_one_sentence(tmp_path):
    path = tmp_path / "a.mat"
    with pytest.raises(ValueError, match="There is no SBD file"):
        read_sbd_mask(path)
    savemat(path, {"GTcls": dict(Segmentation=LABEL)}, do_compression=True)
    whole = path.read_bytes()
    # cut, overwritten, HDF5 (MATLAB 7.3), no Matlab file, empty
    hdf = b"\x89HDF\r\n\x1a\n" + b"0" * 600
    for data in (whole[:150], whole[:150] + b"z" * 90, hdf, b"<html>", b""):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.mat' is broken \(") as caught:
            read_sbd_mask(path)
        assert "\n" not in str(caught.value)


def test_a_pickle_in_place_of_a_mat_file_is_not_run(tmp_path):
    path, trace = tmp_path / "a.mat", tmp_path / "trace"
    code = (
        "import os, pickle, sys\n"
        "class Bad:\n"
        "    def __reduce__(self):\n"
        "        return os.mkdir, (sys.argv[2],)\n"
        "open(sys.argv[1], 'wb').write(pickle.dumps(Bad()))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(trace)], check=True)
    with pytest.raises(ValueError, match="is broken"):
        read_sbd_mask(path)
    assert not trace.exists()
