import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from toy_hub import REPO, hub_at

from afa.files.crf import CRFSettings, best_label, dense_crf
from afa.files.label_png import read_label_png, write_label_png
from afa.files.maps import read_maps, write_counts, write_maps
from afa.labels.folder import (
    LabelFolder,
    LabelJob,
    MapFolder,
    config_digest,
    content_digests,
    finish_label,
    merge_labels,
)
from afa.models.functional import merge_thresholds

# ---- digests ------------------------------------------------------------------------------------


MODEL = dict(type="AFA", backbone=dict(arch="b0", init_cfg=dict(checkpoint="a")), scales=(1.0, 0.5))


def test_initial_weights_and_the_kind_of_container_do_not_count():
    digest = config_digest(MODEL)
    backbone = dict(arch="b0", init_cfg=None, pretrained=True)  # timm's networks have both
    elsewhere = dict(MODEL, backbone=backbone, scales=[1.0, 0.5])
    assert config_digest(elsewhere) == config_digest(ConfigDict(MODEL)) == digest
    assert len(digest) == 12


@pytest.mark.parametrize(
    "change", [dict(scales=(1.0,)), dict(backbone=dict(arch="b1")), dict(extra=None)]
)
def test_all_else_counts(change):
    assert config_digest({**MODEL, **change}) != config_digest(MODEL)


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path):
    content = bytes(range(256)) * 5000  # more than is read at a time
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()[:16]
        assert _checkpoint(tmp_path / name) == f"{name}, sha256 {sha256}"
    (tmp_path / "b.pth").write_bytes(content[:-1])
    assert _checkpoint(tmp_path / "b.pth")[-16:] != _checkpoint(tmp_path / "a.pth")[-16:]


def test_the_digest_of_a_file_of_the_hub(tmp_path, monkeypatch):
    with hub_at({"a.safetensors": b"abc"}, tmp_path, monkeypatch):
        digest = _checkpoint(f"hf://{REPO}/a.safetensors")
    assert digest == f"a.safetensors, sha256 {hashlib.sha256(b'abc').hexdigest()[:16]}"


def _checkpoint(path):
    return content_digests([], path, {})["checkpoint"]


# ---- label maps ---------------------------------------------------------------------------------


SETTINGS = dict(tool="pseudo_labels", kind="cam", background_scores=[0.45], crf=None)


def _fill(folder, img_id):
    folder.make_parents([img_id])
    write_label_png(folder.file("labels", img_id), np.zeros((2, 3), np.uint8))
    write_maps(folder.file("maps", img_id), [1], np.zeros((1, 2, 3)), (2, 3))
    counts = torch.zeros(2, 3, 4, dtype=torch.int64)
    write_counts(folder.file("sweep", img_id), [0.1, 0.2], counts.numpy())


def test_an_image_is_finished_when_all_that_is_wanted_is_whole(tmp_path):
    folder = LabelFolder(tmp_path / "out")
    folder.prepare(SETTINGS)
    assert not folder.is_finished("a")
    _fill(folder, "a")
    assert folder.is_finished("a", with_maps=True, scores=[0.1, 0.2])
    assert not folder.is_finished("a", scores=[0.1, 0.3])  # another sweep
    path = folder.file("maps", "a")
    path.write_bytes(path.read_bytes()[:-9])
    assert folder.is_finished("a") and not folder.is_finished("a", with_maps=True)
    path = folder.file("labels", "a")
    path.write_bytes(path.read_bytes()[:-9])
    assert not folder.is_finished("a")


def test_the_same_settings_go_on_and_others_are_refused(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    _fill(folder, "a")
    folder.prepare(dict(SETTINGS))
    assert folder.is_finished("a")
    other = dict(SETTINGS, kind="par", background_scores=[0.3])
    text = (
        r"made with other settings \(kind was cam, now par, "
        r"background_scores was \[0.45\], now \[0.3\]\): give another folder .* --overwrite"
    )
    with pytest.raises(ValueError, match=text):
        folder.prepare(other)
    assert folder.is_finished("a")


def test_overwrite_removes_what_is_there_before_new_settings_stand(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    _fill(folder, "a")
    _fill(folder, "sub/b")
    (tmp_path / "notes.txt").write_text("mine")
    folder.prepare(dict(SETTINGS, kind="par"), overwrite=True)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".png", ".npz")]
    assert json.loads((tmp_path / "settings.json").read_text())["kind"] == "par"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_stop_while_overwriting_can_be_overwritten_again(tmp_path, monkeypatch):
    folder, new = LabelFolder(tmp_path), dict(SETTINGS, kind="par")
    folder.prepare(SETTINGS)
    _fill(folder, "a")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("afa.labels.folder.write_json", full)
    with pytest.raises(OSError, match="no space left"):
        folder.prepare(new, overwrite=True)
    monkeypatch.undo()
    assert not folder.is_finished("a")
    with pytest.raises(ValueError, match="kind was cam, now par"):
        folder.prepare(new)
    folder.prepare(new, overwrite=True)


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.png").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"has a folder 'labels', but no settings.json"):
            LabelFolder(tmp_path).prepare(SETTINGS, overwrite)
    assert (tmp_path / "labels/a.png").read_bytes() == b"precious"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        LabelFolder(tmp_path / "file").prepare(SETTINGS)


@pytest.mark.parametrize("img_id", ["../a", "/etc/a", "a/../../b", "", "a/"])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path, img_id):
    with pytest.raises(ValueError, match="no name inside a folder"):
        LabelFolder(tmp_path).file("labels", img_id)


def test_tidy_removes_half_files_and_empty_folders(tmp_path):
    folder = LabelFolder(tmp_path)
    folder.prepare(SETTINGS)
    write_label_png(folder.file("labels", "a"), np.zeros((2, 3), np.uint8))
    half = tmp_path / "labels" / "b.png.123.part"
    half.write_bytes(b"half")
    folder.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "settings.json"]
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["a.png"]
    folder.prepare(SETTINGS)
    assert folder.is_finished("a")


# ---- kept maps ----------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    """Maps of one photo of 6 x 8 pixels, as tools/pseudo_labels.py leaves them."""
    (tmp_path / "maps").mkdir()
    maps = np.stack([np.full((3, 4), 0.2), np.full((3, 4), 1.0)])
    write_maps(tmp_path / "maps" / "a.npz", [2, 3], maps, (6, 8))
    (tmp_path / "settings.json").write_text(json.dumps(dict(kind="cam")))
    return tmp_path


def test_either_folder_will_do(kept):
    for path in (kept, kept / "maps"):
        maps = MapFolder(path)
        found = maps.read("a", (6, 8), 4)
        assert found.classes == [2, 3] and maps.settings == dict(kind="cam")
        assert np.allclose(found.maps[:, 0, 0], [51 / 255, 1])


def test_maps_after_the_walk_begin_with_the_background(kept):
    with pytest.raises(ValueError, match=r"have not walked: \S+ tools/random_walk\.py --save-maps"):
        MapFolder(kept, walked=True).read("a", (6, 8), 4)
    maps = np.random.rand(2, 3, 4).astype(np.float32)
    write_maps(kept / "maps" / "a.npz", [0, 2], maps, (6, 8), exact=True)
    found = MapFolder(kept, walked=True).read("a", (6, 8), 4)
    assert found.classes == [0, 2] and np.array_equal(found.maps, maps)
    with pytest.raises(ValueError, match=r"which comes from CAMs here: \S+ tools/pseudo_labels.py"):
        MapFolder(kept).read("a", (6, 8), 4)


def test_unknown_origin_and_no_folder(kept):
    (kept / "settings.json").write_text("[1]")
    assert MapFolder(kept).settings == {}
    (kept / "settings.json").unlink()
    assert MapFolder(kept).settings == {}
    with pytest.raises(ValueError, match=r"no folder of maps .*--save-maps"):
        MapFolder(kept / "none")


def test_maps_of_other_photos_and_classes_are_refused(kept):
    maps = MapFolder(kept)
    with pytest.raises(ValueError, match=r"no maps of the image 'b'.*--save-maps"):
        maps.read("b", (6, 8), 4)
    with pytest.raises(ValueError, match=r"\(6, 8\) pixels .* 'a' has \(8, 6\)"):
        maps.read("a", (8, 6), 4)
    with pytest.raises(ValueError, match=r"map of class 3, but the data set has 2 classes"):
        maps.read("a", (6, 8), 3)
    with pytest.raises(ValueError, match=r"no name inside a folder"):
        maps.read("../a", (6, 8), 4)


def test_maps_with_a_background_and_broken_ones_are_refused(kept):
    write_maps(kept / "maps" / "b.npz", [0, 1], np.zeros((2, 3, 4)), (6, 8))
    with pytest.raises(ValueError, match=r"map of the background.*--kind cam"):
        MapFolder(kept).read("b", (6, 8), 4)
    (kept / "maps" / "a.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="broken"):
        MapFolder(kept).read("a", (6, 8), 4)


def test_a_photo_may_have_no_class(kept):
    write_maps(kept / "maps" / "c.npz", [], np.zeros((0, 3, 4)), (6, 8))
    assert MapFolder(kept).read("c", (6, 8), 4).maps.shape == (0, 3, 4)


PHOTO = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
STILL = CRFSettings(num_iters=0)  # a CRF that changes nothing


def _scores(num_labels=3, size=(6, 8)):
    return np.random.rand(num_labels, *size).astype(np.float32)


def _resized(scores, size=(12, 16)):
    return F.interpolate(torch.tensor(scores)[None], size=size, mode="bilinear")[0].numpy()


def _job(tmp_path, **changes):
    base = dict(png=tmp_path / "a.png", size=(12, 16), classes=[0, 4, 9])
    return LabelJob(**{**base, **changes})


def test_a_ready_label_map_is_written_as_it_is(tmp_path):
    label = np.random.choice([0, 4, 255], (12, 16)).astype(np.uint8)
    finish_label(_job(tmp_path, labels=[label]), palette=[[1, 2, 3]])
    assert np.array_equal(read_label_png(tmp_path / "a.png"), label)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_maps_are_written_where_asked_for(tmp_path):
    maps, label = _scores(2), np.zeros((12, 16), np.uint8)
    wanted = dict(npz=tmp_path / "a.npz", kept=([4, 9], maps))
    finish_label(_job(tmp_path, labels=[label], **wanted))
    found = read_maps(tmp_path / "a.npz")
    assert found.classes == [4, 9] and found.size == (12, 16)
    assert np.abs(found.maps - maps).max() < 0.003


@pytest.mark.parametrize("logits", [False, True])
def test_a_crf_of_no_steps_gives_the_best_of_the_resized_scores(tmp_path, logits):
    scores = _scores()
    finish_label(_job(tmp_path, scores=[scores], photo=PHOTO, logits=logits), crf=STILL)
    expected = np.array([0, 4, 9])[_resized(scores).argmax(axis=0)]
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)


def test_the_crf_gets_shares_that_sum_to_one(tmp_path):
    scores = _scores()
    finish_label(_job(tmp_path, scores=[1.7 * scores], photo=PHOTO), crf=CRFSettings(num_iters=3))
    shares = _resized(scores)
    shares /= shares.sum(axis=0)
    expected = dense_crf(PHOTO, shares, CRFSettings(num_iters=3)).argmax(axis=0)
    assert np.array_equal(read_label_png(tmp_path / "a.png"), np.array([0, 4, 9])[expected])
    assert not np.array_equal(expected, shares.argmax(axis=0))


def test_two_scores_give_undecided_pixels(tmp_path):
    high, low = _scores(), _scores()
    finish_label(_job(tmp_path, scores=[high, low], photo=PHOTO), crf=STILL)
    labels = [np.array([0, 4, 9])[_resized(one).argmax(axis=0)] for one in (high, low)]
    expected = merge_thresholds(*(torch.tensor(label)[None] for label in labels))[0].numpy()
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)
    assert 255 in expected
    labels = [label.astype(np.uint8) for label in labels]
    assert np.array_equal(merge_labels(*labels), expected)
    finish_label(_job(tmp_path, labels=labels))
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)


def test_a_reduced_photo_gives_a_label_map_of_the_size_of_the_photo(tmp_path):
    scores = _scores(size=(3, 4))
    job = _job(tmp_path, scores=[scores], photo=PHOTO[::2, ::2], size=(12, 16))
    finish_label(job, crf=STILL)
    small = _resized(scores, (6, 8))
    expected = np.array([0, 4, 9])[_resized(small / small.sum(axis=0)).argmax(axis=0)]
    assert (read_label_png(tmp_path / "a.png") == expected).mean() > 0.98  # but for ties


def test_an_image_without_classes_is_background(tmp_path):
    finish_label(_job(tmp_path, classes=[0], scores=[_scores(1)], photo=PHOTO))
    assert not read_label_png(tmp_path / "a.png").any()


def test_best_label_against_all_maps_at_once():
    probs = _scores(5)
    assert np.array_equal(best_label(probs, (6, 8)), probs.argmax(axis=0))
    assert np.array_equal(best_label(probs, (13, 9)), _resized(probs, (13, 9)).argmax(axis=0))


def test_a_worker_imports_neither_torch_nor_mmseg():
    code = "import sys, afa.labels.folder; print({'torch', 'mmseg', 'mmengine'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
