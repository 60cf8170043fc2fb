import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest

from afa.apis import demo
from afa.apis.demo import make_data, prepare_work_dir, run_demo

OPTIONS = {
    "train_cfg.max_iters": 12,
    "train_cfg.val_interval": 12,
    "custom_hooks.0.phases.pseudo": 4,
    "custom_hooks.0.phases.propagated": 8,
    "custom_hooks.2.interval": 6,
    "default_hooks.checkpoint.interval": 6,
    "train_dataloader.batch_size": 2,
    **{
        f"{split}_dataloader.{key}": value
        for split in ("train", "val", "test")
        for key, value in dict(num_workers=0, persistent_workers=False).items()
    },
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Work dir and data of one tiny demo, with what it returned and printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    root = tmp_path_factory.mktemp("demo")
    work = root / "work"
    prepare_work_dir(work)
    for name in ("iter_99.pth", "best_seg_mIoU_iter_99.pth", "summary.json", "notes.txt"):
        (work / name).write_text("of an earlier run")
    (work / "20200101_000000").mkdir()
    said = StringIO()
    with redirect_stdout(said):
        summary = run_demo(str(work), str(root / "shapes"), 5, OPTIONS, 16, 6, "python demo.py")
    return work, root / "shapes", summary, said.getvalue()


def test_summary_has_every_figure(folders):
    work, _, summary, _ = folders
    written = json.loads((work / "summary.json").read_text())
    assert set(written) == {
        "figures", "seconds", "peak_memory_mib", "device", "checkpoint", "config", "options",
        "command", "git", "versions",
    }  # fmt: skip
    assert set(written) == set(summary)
    for prefix in ("cam", "par", "propagated", "seg"):
        for name in ("mIoU", "aAcc", "mAcc", "IoU.background", "IoU.star"):
            assert f"{prefix}/{name}" in written["figures"]
    assert {"cls/F1", "cls/mAP", "cls/F1.ball"} <= set(written["figures"])
    assert set(written["seconds"]) == {"generation", "training", "testing", "total"}
    assert written["seconds"]["total"] >= written["seconds"]["training"] > 0
    assert written["peak_memory_mib"] > 100
    assert written["device"] == "CPU (1 thread)"
    assert written["command"] == "python demo.py" and "torch" in written["versions"]
    assert written["options"]["randomness.seed"] == 5
    assert (work / written["checkpoint"]).is_file()


def test_sheet_has_six_columns_and_all_images(folders):
    image = cv2.imread(str(folders[0] / "summary.png"))
    assert image.shape[1] == 6 + 6 * 166
    assert image.shape[0] > 6 * 100


def test_old_files_of_the_demo_are_gone_and_others_are_left(folders):
    work = folders[0]
    names = {path.name for path in work.iterdir()}
    assert "notes.txt" in names
    assert not {"iter_99.pth", "best_seg_mIoU_iter_99.pth", "20200101_000000"} & names


def test_console_is_calm_and_the_log_is_not(folders):
    work, shapes, _, said = folders
    assert "holds a finished demo" in said
    assert f"Generated 16 training and 6 validation pictures in {shapes}" in said
    assert "train 12/12 phase propagated loss" in said and "s left" in said
    assert "val at iteration 12: classification F1" in said
    assert "What to try next" in said and "summary.png" in said and "report.html" in said
    assert len(said.splitlines()) < 40
    for noise in ("System environment", "default_hooks", "Loads checkpoint", "Iter(train)"):
        assert noise not in said
    logs = [path.read_text() for path in work.glob("*/*.log")]
    assert len(logs) == 2
    assert all("System environment" in log and "default_hooks" in log for log in logs)


def test_pictures_are_drawn_during_training(folders):
    names = [path.name for path in folders[0].glob("*/vis_data/vis_image/*.png")]
    assert sorted(names) == sorted(
        f"wsss_{kind}_{step}.png" for kind in ("labels", "queries") for step in (6, 12)
    )
    assert len(list(folders[0].glob("*/vis_data/events.out.tfevents.*"))) >= 1


def test_data_of_other_settings_are_refused(folders):
    with pytest.raises(ValueError, match=r"num_train is 16, not 17.*another folder with --data-r"):
        make_data(str(folders[1]), 17, 6)
    assert make_data(str(folders[1]), 16, 6) < 5


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "iter_1.pth").write_text("precious")
    with pytest.raises(ValueError, match="not of an earlier demo"):
        prepare_work_dir(tmp_path)
    assert (tmp_path / "iter_1.pth").read_text() == "precious"
    with pytest.raises(ValueError, match="is a file: choose another"):
        prepare_work_dir(tmp_path / "iter_1.pth")


def test_links_in_the_work_dir_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep.txt").write_text("x")
    work = tmp_path / "work"
    assert prepare_work_dir(work) is False
    (work / "20200101_000000").symlink_to(outside)
    assert prepare_work_dir(work) is True
    assert (outside / "keep.txt").is_file()


def test_wrong_option_comes_before_anything_is_removed(tmp_path):
    prepare_work_dir(tmp_path / "work")
    (tmp_path / "work" / "iter_1.pth").write_text("old")
    with pytest.raises(ValueError, match="cannot change 'max_iters'"):
        run_demo(str(tmp_path / "work"), str(tmp_path / "data"), options={"max_iters": 3})
    assert (tmp_path / "work" / "iter_1.pth").is_file()


def test_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="left no checkpoint"):
        demo._checkpoint(str(tmp_path))


def test_tool_hands_over_and_ends_with_a_sentence_when_stopped(repo, monkeypatch, capsys):
    seen = []

    def run(*args, **kwargs):
        seen.append((args, kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", run)
    argv = ["tools/demo.py", "--work-dir", "w", "--seed", "3", "--cfg-options", "train_cfg.a=1"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(Path(repo) / "tools/demo.py"), run_name="__main__")
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip().count("\n") == 0
    ((args, kwargs),) = seen
    assert args == ("w", "data/shapes", 3, {"train_cfg.a": 1})
    # runpy puts the path of the file into argv[0].
    assert kwargs["command"].endswith(
        "tools/demo.py --work-dir w --seed 3 --cfg-options train_cfg.a=1"
    )
