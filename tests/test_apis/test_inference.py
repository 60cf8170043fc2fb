import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from toy_afa import make_afa, make_inputs
from toy_predict import CLASSES, PALETTE, draw_photo, write_checkpoint, write_config, write_photos

from afa.apis import inference, inference_model, init_model, show_result_pyplot
from afa.apis.inference import add_crf, changed_test_cfg, photo_inputs
from afa.datasets.voc import VOC12Dataset
from afa.engine.checkpoints.fit import CheckpointError
from afa.engine.config.check import ConfigError
from afa.files.crf import CRFSettings, crf_of_logits
from afa.files.label_png import distinct_palette
from afa.files.photo import read_photo
from afa.models.functional import present_classes
from afa.visualization import draw_segments


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return write_config(folder), write_checkpoint(folder)


@pytest.fixture(scope="module")
def model(files):
    return init_model(*files, device="cpu")


def plain_inputs(model, path):
    """The test pipeline as a data set runs it."""
    steps = [
        dict(type="LoadPhoto"),
        dict(type="ResizeToFit", scale=(48, 48)),
        dict(type="PackWSSSInputs"),
    ]
    packed = Compose(steps)(dict(img_path=str(path)))
    return model.data_preprocessor(pseudo_collate([packed]), False)["inputs"]


# ---- init_model ---------------------------------------------------------------------------------


def test_model_has_the_weights_and_needs_neither_data_nor_pretrained_weights(files, model):
    state = torch.load(files[1], weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert model.dataset_meta == dict(classes=CLASSES, palette=PALETTE)
    assert model.cfg.model.type == "AFA"
    assert not model.test_cfg.pseudo_labels  # predictions do not need them


def test_options_and_config_objects(files):
    options = {"model.test_cfg.pseudo_labels": True, "model.train_cfg.cam_scales": [1.0]}
    cfg = Config.fromfile(files[0])
    for config in (files[0], cfg):
        model = init_model(config, files[1], "cpu", options)
        assert model.test_cfg.pseudo_labels
        assert model.train_cfg.cam_scales == [1.0]
    assert cfg.model.backbone.init_cfg is not None  # the given config is left as it was


def test_classes_come_from_the_checkpoint_or_else_from_the_config(files, tmp_path):
    bare = write_checkpoint(tmp_path, "bare.pth", classes=None)
    assert init_model(files[0], bare, "cpu").dataset_meta == dict(classes=CLASSES, palette=PALETTE)
    unnamed = write_config(tmp_path, **{"test_dataloader.dataset.metainfo": None})
    model = init_model(unnamed, files[1], "cpu")
    assert model.dataset_meta["classes"] == CLASSES
    model = init_model(unnamed, bare, "cpu")
    assert model.dataset_meta["classes"] == ("background", "class 1", "class 2", "class 3")
    assert model.dataset_meta["palette"] == distinct_palette(4)


def test_classes_of_voc_have_the_colours_of_voc():
    voc = VOC12Dataset.METAINFO
    assert inference._dataset_meta(21, voc["classes"], None)["palette"] == voc["palette"]
    named = ["background", *(f"class {i}" for i in range(1, 21))]
    assert inference._dataset_meta(21, named, None)["palette"] == distinct_palette(21)


def test_without_a_checkpoint_weights_are_drawn(files):
    model = init_model(files[0], device="cpu")
    assert model.backbone.norm1.weight.eq(1).all() and not model.training


def test_module_prefix_of_distributed_training(files, tmp_path, model):
    state = torch.load(files[1], weights_only=True)["state_dict"]
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "ddp.pth")
    loaded = init_model(files[0], tmp_path / "ddp.pth", "cpu").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())


def test_wrong_input_is_one_sentence(files, tmp_path):
    config, checkpoint = files
    with pytest.raises(FileNotFoundError, match=r"no config file 'nowhere\.py'"):
        init_model("nowhere.py", checkpoint)
    (tmp_path / "bare.py").write_text("default_scope = 'mmseg'\n")
    with pytest.raises(ValueError, match=r"config .*bare\.py has no model"):
        init_model(tmp_path / "bare.py", checkpoint)
    with pytest.raises(FileNotFoundError, match=r"checkpoint nowhere\.pth does not exist"):
        init_model(config, "nowhere.pth")
    with pytest.raises(ConfigError, match="did you mean 'train_cfg'"):
        init_model(config, checkpoint, cfg_options={"trian_cfg.a": 1})
    with pytest.raises(
        CheckpointError, match=r"does not fit the model: .*convs\.0\.conv\.weight has"
    ):
        init_model(config, checkpoint, cfg_options={"model.decode_head.channels": 8})
    other = write_checkpoint(tmp_path, classes=("background", "a", "b", "c"))
    with pytest.raises(CheckpointError, match="trained for 4 classes"):
        init_model(config, other)
    with pytest.raises(ValueError, match="device must be 'cpu', 'cuda' or 'cuda:1', got 'tpx'"):
        init_model(config, checkpoint, "tpx")
    with pytest.raises(ValueError, match="no device 'cuda:7': this machine has 0 GPUs"):
        init_model(config, checkpoint, "cuda:7")


# ---- inference_model ----------------------------------------------------------------------------


def test_prediction_is_that_of_the_plain_pipeline(model, tmp_path):
    for name in write_photos(tmp_path):
        path = tmp_path / name
        result = inference_model(model, path)
        inputs = plain_inputs(model, path)
        with torch.no_grad():
            logits = model.head_logits(inputs)
            scores = model.cls_head(model.extract_feat(inputs)[-1]).sigmoid()[0]
        size = read_photo(path).shape[:2]
        label = F.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(1)
        assert result.pred_sem_seg.data.shape == (1, *size), name
        assert torch.equal(result.pred_sem_seg.data, label), name
        torch.testing.assert_close(result.pred_label, scores)
        assert "cams" not in result and "seg_logits" not in result


def test_a_turned_photo_is_predicted_upright(model, tmp_path):
    write_photos(tmp_path)
    assert inference_model(model, tmp_path / "turned.jpg").pred_sem_seg.shape == (80, 60)
    assert inference_model(model, tmp_path / "plain.jpg").pred_sem_seg.shape == (60, 80)


def test_arrays_paths_and_lists_give_the_same(model, tmp_path):
    write_photos(tmp_path)
    path = tmp_path / "plain.jpg"
    one = inference_model(model, path)
    assert one.metainfo["img_path"] == str(path)
    several = inference_model(model, [read_photo(path), str(path), tmp_path / "pixel.png"])
    for other in several[:2]:
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
    assert several[2].pred_sem_seg.shape == (1, 1)


def test_cams_of_the_predicted_and_of_given_classes(model):
    photo = draw_photo()
    result = inference_model(model, photo, cam=True)
    over = [name for name, p in zip(CLASSES[1:], result.pred_label, strict=True) if p > 0.5]
    assert result.metainfo["cam_classes"] == over
    assert result.cams.shape == (len(over), 36, 48)  # the network's input
    given = inference_model(model, photo, cam=True, classes=["dog", "cat", "dog"])
    assert given.metainfo["cam_classes"] == ["cat", "dog"]
    inputs = photo_inputs(model, photo)["inputs"]
    class_idx = present_classes(torch.tensor([[1, 1, 0]]))
    torch.testing.assert_close(given.cams, model.cams_and_walk(inputs, class_idx)[0][0])
    assert given.cams.min() >= 0 and given.cams.max() <= 1
    none = inference_model(model, photo, cam=True, classes=[])
    assert none.cams.shape[0] == 0 and none.metainfo["cam_classes"] == []


def test_crf_stands_beside_the_segmentation(model):
    pytest.importorskip("pydensecrf")
    photo = draw_photo()
    plain, sharp = inference_model(model, photo), inference_model(model, photo, crf=True)
    assert torch.equal(plain.pred_sem_seg.data, sharp.pred_sem_seg.data)
    assert sharp.pred_crf.data.shape == (1, 60, 80) and sharp.pred_crf.data.dtype == torch.int64
    assert "seg_logits" not in sharp and model.test_cfg.seg_logits is None


def test_a_huge_input_is_reduced_for_the_network_alone(model, monkeypatch):
    monkeypatch.setattr(inference, "MAX_INPUT_PIXELS", 30 * 20)
    photo = draw_photo(60, 80)
    packed = inference._pack(model, photo, None, 30 * 20)
    assert packed["inputs"].shape == (3, 21, 28) and packed["inputs"].dtype == torch.uint8
    whole = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    close = F.interpolate(whole, (21, 28), mode="area")[0] - packed["inputs"]
    assert close.abs().mean() < 12
    assert inference_model(model, photo).pred_sem_seg.shape == (60, 80)


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_arrays_that_are_no_photo_are_refused(model, photo):
    with pytest.raises(ValueError, match=r"photo must be \(H, W, 3\) uint8 BGR, got"):
        inference_model(model, photo)


def test_a_classifier_gives_the_label_map_of_its_cams(tmp_path):
    cfg = Config.fromfile(write_config(tmp_path, **{"model.type": "CAMClassifier"}))
    for name in ("decode_head", "affinity_head", "train_cfg"):
        cfg.model.pop(name)
    model = init_model(cfg, device="cpu", cfg_options={"model.test_cfg.cls_thr": 0.0})
    photo = draw_photo()
    result = inference_model(model, photo, cam=True)
    assert inference.label_field(result) == "pred_par"
    assert result.pred_par.shape == (60, 80) and result.cams.shape == (3, 36, 48)
    assert show_result_pyplot(model, photo, result, show=False).shape[1] == 480
    with pytest.raises(ValueError, match="CAMClassifier makes none"):
        inference_model(model, photo, crf=True)


def test_unknown_classes_and_models_without_cams_are_said(model, files):
    with pytest.raises(ValueError, match="no class 'dgo'; did you mean 'dog'"):
        inference_model(model, draw_photo(), cam=True, classes=["dgo"])
    with pytest.raises(ValueError, match="no class 'background'; the classes are cat, dog"):
        inference_model(model, draw_photo(), cam=True, classes=["background"])
    with pytest.raises(ValueError, match=r"AFA; Linear has none"):
        inference.class_indices(torch.nn.Linear(1, 1), None)
    with pytest.raises(ValueError, match="gives no label map"):
        inference.label_field(SegDataSample())
    broken = init_model(files[0], None, "cpu", {"test_dataloader.dataset.pipeline": []})
    with pytest.raises(ValueError, match=r"no test_dataloader\.dataset\.pipeline"):
        inference_model(broken, draw_photo())


# ---- show_result_pyplot -------------------------------------------------------------------------


def test_result_is_drawn_and_written(model, tmp_path):
    photo = draw_photo()
    result = inference_model(model, photo)
    out = tmp_path / "a.png"
    drawn = show_result_pyplot(model, photo, result, 0.3, show=False, out_file=out)
    label = result.pred_sem_seg.data[0].numpy()
    assert (drawn == draw_segments(photo[..., ::-1], label, CLASSES, PALETTE, 0.3)).all()
    assert (read_photo(out)[..., ::-1] == drawn).all()
    bare = show_result_pyplot(model, photo, result, with_labels=False, show=False)
    assert bare.shape == (360, 480, 3)  # six times the photo, no legend


def test_result_is_shown_and_the_sharpened_label_comes_first(model, monkeypatch):
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca().images[0].get_array()))
    photo = draw_photo()
    result = inference_model(model, photo)
    plain = show_result_pyplot(model, photo, result)
    assert (shown[0] == plain).all()
    result.set_data(dict(pred_crf=result.pred_sem_seg.clone()))
    result.pred_crf.data[:] = 2
    drawn = show_result_pyplot(model, photo, result, show=False)
    label = np.full((60, 80), 2)
    assert (drawn == draw_segments(photo[..., ::-1], label, CLASSES, PALETTE)).all()


# ---- add_crf ------------------------------------------------------------------------------------


def edge_sample(height=24, width=32, classes=3):
    """A photo with an edge in the middle, and logits whose edge lies four pixels beside it."""
    photo = np.full((height, width, 3), 40, np.uint8)
    photo[:, width // 2 :] = 220
    logits = torch.full((classes, height, width), -9.0)
    logits[0, :, : width // 2 + 4] = 0.4
    logits[1, :, : width // 2 + 4] = 0.0
    logits[1, :, width // 2 + 4 :] = 0.8
    logits[0, :, width // 2 + 4 :] = 0.0
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=logits)))
    return photo, sample


def test_the_label_follows_the_edge_of_the_photo():
    pytest.importorskip("pydensecrf")
    model = make_afa()
    photo, sample = edge_sample()
    add_crf(model, photo, sample)
    label = sample.pred_crf.data
    assert label.shape == (1, 24, 32) and label.dtype == torch.int64
    assert (label[0, :, :16] == 0).all() and (label[0, :, 16:] == 1).all()
    assert "seg_logits" not in sample  # nobody has asked for them


def test_it_is_the_crf_of_the_possible_labels_with_the_settings_of_the_config():
    pytest.importorskip("pydensecrf")
    settings = dict(num_iters=2, bi_rgb_std=13)
    model = make_afa(test_cfg=dict(crf=dict(settings, label_thr=0.01), seg_logits="full"))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    logits = torch.from_numpy(rng.normal(size=(4, 10, 15)).astype(np.float32))
    logits[2] = -20  # a label that the photo cannot have
    sample = SegDataSample()
    sample.set_data(dict(seg_logits=PixelData(data=logits)))
    add_crf(model, photo, sample)
    some = logits[[0, 1, 3]].numpy()
    best = crf_of_logits(photo[..., ::-1].copy(), some, settings=CRFSettings(**settings))
    assert np.array_equal(sample.pred_crf.data[0].numpy(), np.array([0, 1, 3])[best])
    assert "seg_logits" in sample


def test_a_large_photo_is_reduced_for_the_crf():
    pytest.importorskip("pydensecrf")
    model = make_afa(test_cfg=dict(crf=dict(max_side=32)))
    photo, sample = edge_sample()
    large = cv2.resize(photo, (320, 240), interpolation=cv2.INTER_NEAREST)
    add_crf(model, large, sample)
    label = sample.pred_crf.data[0]
    assert label.shape == (240, 320)
    assert (label[:, :155] == 0).all() and (label[:, 165:] == 1).all()


def test_logits_are_kept_for_a_while():
    model = make_afa().eval()
    inputs = make_inputs(1)
    given = model.test_cfg
    with changed_test_cfg(model, seg_logits="head"), torch.no_grad():
        assert "seg_logits" in model.predict(inputs)[0]
    assert model.test_cfg is given
    with torch.no_grad():
        assert "seg_logits" not in model.predict(inputs)[0]


# ---- kinds of label maps, and the threshold of the classifier -----------------------------------


@pytest.mark.parametrize("kind", ["cam", "par", "propagated"])
def test_a_kind_is_what_the_evaluation_makes_of_the_predicted_classes(files, model, kind):
    photo = draw_photo(seed=3)
    scores = inference_model(model, photo).pred_label
    thr = float(scores.sort().values[:2].mean())  # two of three classes are found
    whole = init_model(
        *files, "cpu", {"model.test_cfg.pseudo_labels": True, "model.test_cfg.cls_thr": thr}
    )
    wanted = inference_model(whole, photo).get(f"pred_{kind}").data
    given = model.test_cfg
    result = inference_model(model, photo, kind=kind, cls_thr=thr)
    assert inference.label_field(result) == f"pred_{kind}"
    assert torch.equal(result.get(f"pred_{kind}").data, wanted)
    assert set(wanted.unique().tolist()) - {0} <= set(
        ((scores > thr).nonzero() + 1).flatten().tolist()
    )
    others = {"pred_cam", "pred_par", "pred_propagated"} - {f"pred_{kind}"}
    assert not others & set(result.keys()) and model.test_cfg is given
    drawn = show_result_pyplot(model, photo, result, show=False)
    label = wanted[0].numpy()
    assert (drawn == draw_segments(photo[..., ::-1], label, CLASSES, PALETTE)).all()


def test_above_the_highest_threshold_nothing_is_found(model):
    photo = draw_photo(seed=3)
    result = inference_model(model, photo, cam=True, kind="par", cls_thr=1.0)
    assert not result.pred_par.data.any()
    best = CLASSES[1 + int(result.pred_label.argmax())]
    assert result.metainfo["cam_classes"] == [best] and result.cams.shape[0] == 1
    named = inference_model(model, photo, cam=True, classes=[best])
    assert torch.equal(result.cams, named.cams)


def test_the_segmentation_is_a_kind(model):
    photo = draw_photo(seed=3)
    result = inference_model(model, photo, kind="seg")
    assert inference.label_field(result) == "pred_sem_seg"
    assert torch.equal(result.pred_sem_seg.data, inference_model(model, photo).pred_sem_seg.data)


def test_kinds_and_thresholds_that_cannot_be(model):
    photo = draw_photo()
    with pytest.raises(ValueError, match="--kind must be one of cam, par, propagated, seg, got 'a"):
        inference_model(model, photo, kind="affinity")
    with pytest.raises(ValueError, match="--crf sharpens the segmentation, not --kind par"):
        inference_model(model, photo, crf=True, kind="par")
    with pytest.raises(ValueError, match=r"test_cfg\.cls_thr must be between 0 and 1, got 7"):
        inference_model(model, photo, cls_thr=7)
