from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from toy_afa import afa_cfg
from toy_run import losses

import afa.datasets
import afa.evaluation  # noqa: F401  registers the metrics, as the line above the data sets
from afa.datasets.shapes import write_shapes
from afa.engine.hooks import WSSSVisualizationHook
from afa.engine.hooks import wsss_visualization_hook as module
from afa.engine.runner import build_runner
from afa.models.segmentors.base import TrainingView
from afa.visualization import overlay_cam

MAX_ITERS = 4


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, num_train=8, num_val=3, size=48)
    return root


def _loader(data_root, split, batch_size, pipeline):
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="InfiniteSampler" if split == "train" else "DefaultSampler"),
        dataset=dict(
            type="ShapesDataset",
            data_root=str(data_root),
            ann_file=f"ImageSets/Segmentation/{split}.txt",
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
            image_labels="Annotations",
            pipeline=pipeline,
            test_mode=split == "val",
        ),
    )


def _cfg(data_root, work_dir, hook=None, validate=True, **model):
    """A run whose augmentation and dropout draw from the global random states."""
    load, pack = dict(type="LoadPhoto"), dict(type="PackWSSSInputs")
    augment = [
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomCropPad", crop_size=(64, 64)),
    ]
    model = dict(decode_head__num_classes=7, cls_head__num_classes=7, **model)
    model.update(decode_head__dropout_ratio=0.3, backbone__drop_path_rate=0.3)
    cfg = dict(
        default_scope="mmseg",
        model=afa_cfg(data_preprocessor__size=(64, 64), **model),
        work_dir=str(work_dir),
        train_dataloader=_loader(data_root, "train", 2, [load, *augment, pack]),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=MAX_ITERS, val_interval=99),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=1),
            checkpoint=dict(type="CheckpointHook", interval=99, by_epoch=False, save_last=False),
        ),
        custom_hooks=[dict(type="PhaseHook", phases=dict(cls=0, pseudo=1, propagated=2))],
        log_processor=dict(type="AFALogProcessor", by_epoch=False, window_size=1),
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        randomness=dict(seed=3),
    )
    if validate:
        loads = [load, dict(type="LoadAnnotations"), pack]
        cfg.update(
            val_dataloader=_loader(data_root, "val", 1, loads),
            val_cfg=dict(type="ValLoop"),
            val_evaluator=dict(type="WSSSIoUMetric", prefix="seg"),
        )
    if hook is not None:
        cfg["custom_hooks"].append(dict(type="WSSSVisualizationHook", **hook))
    return Config(cfg)


def _pictures(runner):
    folder = Path(runner.log_dir) / "vis_data" / "vis_image"
    return {path.name: cv2.imread(str(path)) for path in sorted(folder.glob("*"))}


def test_losses_and_weights_do_not_depend_on_pictures(data_root, tmp_path):
    plain = build_runner(_cfg(data_root, tmp_path / "plain"))
    plain.train()
    drawn = build_runner(_cfg(data_root, tmp_path / "drawn", dict(interval=1, num_images=2)))
    drawn.train()
    assert len(losses(plain)) == MAX_ITERS
    assert losses(drawn) == losses(plain)
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, drawn.model.state_dict()[key]), key
    assert _pictures(plain) == {}
    names = [f"wsss_{kind}_{step}.png" for kind in ("labels", "queries") for step in (1, 2, 3, 4)]
    assert list(_pictures(drawn)) == names


@pytest.mark.parametrize("model", [{}, dict(train_cfg__propagation=None)])
def test_training_images_are_drawn_where_there_is_no_validation(data_root, tmp_path, model):
    hook = dict(interval=2, num_images=3, num_queries=2)
    runner = build_runner(_cfg(data_root, tmp_path, hook, validate=False, **model))
    runner.train()
    pictures = _pictures(runner)
    assert len(pictures) == 4
    # photo, 1 to 3 CAMs, pseudo label, prediction (, propagated label); no truth in training
    columns = (pictures["wsss_labels_2.png"].shape[1] - 6) / 198
    assert columns - (3 if model else 4) in (1, 2, 3)
    assert pictures["wsss_queries_2.png"].shape[1] == 6 + 5 * 198
    queries = pictures["wsss_queries_2.png"][:, :200]  # the photos stay the same
    assert (queries == pictures["wsss_queries_4.png"][:, :200]).all()


def test_truth_is_drawn_for_validation_images(data_root, tmp_path, monkeypatch):
    seen = []
    original = module._look
    monkeypatch.setattr(module, "_look", lambda *a: seen.append(original(*a)) or seen[-1])
    runner = build_runner(_cfg(data_root, tmp_path, dict(interval=4, num_images=9)))
    runner.train()
    assert [look.name for look in seen] == ["val_00000", "val_00001", "val_00002"]
    for look in seen:
        path = data_root / "SegmentationClassAug" / f"{look.name}.png"
        assert look.truth.shape == look.image.shape[:2]
        assert (look.truth == np.array(Image.open(path))).all()
        photo = cv2.imread(str(data_root / "JPEGImages" / f"{look.name}.jpg"))[..., ::-1]
        assert np.abs(look.image.astype(int) - photo).max() <= 1
        mask = np.unique(look.truth)
        assert sorted(look.cams) == [value for value in mask if 0 < value < 255]
        for cam in look.cams.values():
            assert cam.shape == look.image.shape[:2] and cam.min() >= 0 and cam.max() <= 1
        tokens = look.token_grid[0] * look.token_grid[1]
        assert list(look.query_maps) == ["attention", "affinity"]
        for maps in look.query_maps.values():
            assert maps.shape == (tokens, tokens) and maps.min() >= 0 and maps.max() <= 1
        assert np.allclose(look.query_maps["attention"].max(1), 1)
        assert list(look.labels) == ["pseudo label", "propagated label", "prediction"]
    columns = 5 + min(3, max(len(look.cams) for look in seen))
    assert _pictures(runner)["wsss_labels_4.png"].shape[1] == 6 + columns * 198


def _view(cams, values, untrained=()):
    """A look at a picture of 40 x 60, as the hook has it."""
    view = TrainingView(torch.tensor(cams), {}, {}, (1, 1), torch.tensor(values), untrained)
    image = np.full((40, 60, 3), 100, np.uint8)
    labels = {"pseudo label": np.zeros((40, 60), int), "prediction": np.ones((40, 60), int)}
    maps = dict(attention=np.ones((1, 1)), affinity=np.ones((1, 1)))
    return module._Look("a", image, module._cams(view), labels, None, maps, (1, 1), untrained)


@pytest.fixture
def drawn(monkeypatch):
    """Draw looks, and return what the grid is made of: rows, titles, row titles, captions."""
    hook, seen = WSSSVisualizationHook(interval=1, num_queries=1), []
    hook._metainfo = dict(classes=["back", *"abcd"], palette=[[50 * i] * 3 for i in range(5)])
    monkeypatch.setattr(module, "grid", lambda *given, **more: seen.append((given, more)))

    def draw(looks, what="labels"):
        getattr(hook, f"_draw_{what}")(looks)
        (rows, titles, names, *_), more = seen.pop()
        return rows, titles, names, more.get("captions")

    return draw


def test_each_class_has_a_cam_of_its_own_with_its_name(drawn):
    cams = np.zeros((4, 40, 60), np.float32)
    cams += np.array([0.1, 0.4, 0.2, 0.3], np.float32)[:, None, None]
    one, other, none = _view(cams, [1, 2, 3, 4]), _view(cams[:1], [3]), _view(cams[:1], [0])
    rows, titles, names, captions = drawn([one, other, none])
    assert titles == ["photo", "CAM", "CAM", "CAM", "pseudo label", "prediction"]
    assert names == ["a (no room for the CAMs of a)", "a", "a"]
    assert captions == [
        ["", "b", "d", "c", "", ""], ["", "c", "", "", "", ""], ["", "no class", "", "", "", ""]
    ]  # fmt: skip
    for picture, height in zip(rows[0][1:4], (0.4, 0.3, 0.2), strict=True):
        expected = overlay_cam(one.image, np.full((40, 60), height))
        assert np.abs(picture.astype(int) - expected).max() <= 1
    assert all((picture == 255).all() for picture in (*rows[1][2:4], *rows[2][1:4]))


def test_what_has_learned_nothing_yet_says_so(drawn):
    look = _view(np.zeros((1, 40, 60), np.float32), [1], ("prediction", "affinity"))
    marked = "\n(not trained yet)"
    assert drawn([look])[1] == ["photo", "CAM", "pseudo label", "prediction" + marked]
    assert drawn([look], "queries")[1] == ["query points", "attention 1", "affinity 1" + marked]


def test_only_the_first_phase_leaves_heads_untrained(data_root, tmp_path, monkeypatch):
    seen = []
    original = module._look
    monkeypatch.setattr(module, "_look", lambda *a: seen.append(original(*a)) or seen[-1])
    build_runner(_cfg(data_root, tmp_path, dict(interval=1, num_images=1))).train()
    waiting = ("propagated label", "prediction", "affinity")
    assert [tuple(look.untrained) for look in seen] == [waiting, (), (), ()]


def test_only_the_first_process_draws():
    hook = WSSSVisualizationHook(interval=1)
    runner = SimpleNamespace(rank=1, iter=0, model=SimpleNamespace(training_view=None))
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)  # would fail on a visualizer that is not there
    assert hook._samples == []


def test_a_model_without_labels_is_refused(toy_cfg):
    toy_cfg.custom_hooks.append(dict(type="WSSSVisualizationHook", interval=1))
    with pytest.raises(ValueError, match="ToyModel has none: take the hook out"):
        build_runner(toy_cfg).train()


@pytest.mark.parametrize("name", ["interval", "num_images", "num_queries"])
def test_numbers_must_be_positive(name):
    with pytest.raises(ValueError, match=f"needs {name} >= 1, got 0"):
        WSSSVisualizationHook(**{"interval": 1, name: 0})


def test_truth_of_a_padded_input_is_undecided_in_the_padding():
    data = torch.ones(1, 4, 6, dtype=torch.long)
    sample = SimpleNamespace(metainfo=dict(img_shape=(2, 3)), gt_sem_seg=SimpleNamespace(data=data))

    class Sample(SimpleNamespace):
        def __contains__(self, name):
            return hasattr(self, name)

    truth = module._truth(Sample(**vars(sample)), (3, 4))
    assert truth.tolist() == [[1, 1, 1, 255], [1, 1, 1, 255], [255] * 4]
    assert module._truth(Sample(metainfo={}), (3, 4)) is None
