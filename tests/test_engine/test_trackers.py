import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend
from toy_run import write_cfg

from afa.engine import trackers
from afa.engine.runner import build_runner
from afa.engine.trackers import BACKENDS, prepare_trackers, telling_trackers, use_trackers
from afa.utils.cli import TRACKERS

LOCAL = dict(type="LocalVisBackend")
BOARD = dict(type="TensorboardVisBackend")
PICTURE = np.full((8, 9, 3), 200, np.uint8)


def _cfg(*backends, **keys):
    return Config(dict(visualizer=dict(type="Visualizer", vis_backends=list(backends)), **keys))


def _backends(cfg):
    return [dict(backend) for backend in cfg.visualizer.vis_backends]


# ---- the option ---------------------------------------------------------------------------------


def test_the_tools_offer_what_there_is():
    assert {*BACKENDS, "none"} == set(TRACKERS)


def test_trackers_replace_those_of_the_config_and_keep_their_settings():
    wandb = dict(type="WandbVisBackend", init_kwargs=dict(project="x"))
    cfg = _cfg(LOCAL, wandb, BOARD)
    use_trackers(cfg, ["mlflow", "wandb", "mlflow"])
    assert _backends(cfg) == [LOCAL, dict(type="MLflowVisBackend"), wandb]
    assert cfg.visualizer.type == "Visualizer"
    use_trackers(cfg, ["none"])
    assert _backends(cfg) == [LOCAL]
    use_trackers(cfg, ["tensorboard"])
    assert _backends(cfg) == [LOCAL, BOARD]
    cfg = Config(dict(a=1))
    use_trackers(cfg, ["tensorboard"])
    assert _backends(cfg) == [LOCAL, BOARD] and cfg.visualizer.type == "SegLocalVisualizer"


def test_none_stands_alone():
    with pytest.raises(ValueError, match="--tracker none stands alone"):
        use_trackers(_cfg(), ["none", "wandb"])


def test_ours_stand_in_the_place_of_mmengines(tmp_path):
    work = tmp_path / "x" / "run"
    cfg = _cfg(LOCAL, dict(type="MLflowVisBackend", tags=dict(a=1)), work_dir=str(work))
    prepare_trackers(cfg, "train", "auto")  # there is nothing to go on from
    run = dict(name="x/run", record=str(work / "trackers.json"), goes_on=False)
    own = dict(type="AFAMLflowVisBackend", tags=dict(a=1), run=run)
    assert _backends(cfg) == [LOCAL, own]
    work.mkdir(parents=True)
    (work / "iter_3.pth").touch()
    prepare_trackers(cfg, "train", "auto")  # again, as with the config that a run has left
    assert _backends(cfg)[1]["run"]["goes_on"] is True
    prepare_trackers(cfg, "train", None)
    assert _backends(cfg)[1]["run"]["goes_on"] is False
    cfg.work_dir = "work_dirs/run"
    prepare_trackers(cfg, "train", "other/iter_3.pth")
    assert _backends(cfg)[1]["run"]["name"] == "run"
    assert _backends(cfg)[1]["run"]["goes_on"] is True
    prepare_trackers(cfg, "test", None)  # it would be an empty run
    assert _backends(cfg) == [LOCAL]


# ---- the run that belongs to a work dir ---------------------------------------------------------


class Noted(trackers._Run, LocalVisBackend):
    """A tracker whose runs are numbers."""

    failed = 0

    def begin(self, number):
        earlier = self._earlier()
        self._note(earlier or number)
        return earlier or number

    def fail(self):
        self.failed += 1
        raise RuntimeError("the tracker is not reached either")


def test_a_resumed_training_goes_on_with_its_run(tmp_path):
    def begun(number, goes_on):
        run = dict(name="n", record=str(tmp_path / "work/trackers.json"), goes_on=goes_on)
        return Noted(str(tmp_path), run=run).begin(number)

    assert begun("1", goes_on=True) == "1"  # nothing is noted yet
    (tmp_path / "work/trackers.json").write_text(json.dumps(dict(Noted="1", Other="9")))
    assert begun("2", goes_on=True) == "1"
    assert begun("3", goes_on=False) == "3"
    noted = json.loads((tmp_path / "work/trackers.json").read_text())
    assert noted == dict(Noted="3", Other="9")
    (tmp_path / "work/trackers.json").write_text("{")
    assert begun("4", goes_on=True) == "4"
    assert Noted(str(tmp_path)).begin("5") == "5"  # without a work dir


def test_a_training_that_fails_tells_its_trackers_once(toy_cfg, tmp_path):
    runner = build_runner(toy_cfg)
    backends = [Noted(str(tmp_path / name)) for name in "ab"]
    backends[0].add_scalar("x", 1)  # the other has not begun
    runner.visualizer._vis_backends.update(a=backends[0], b=backends[1])
    with pytest.raises(KeyboardInterrupt), telling_trackers(runner.visualizer):
        raise KeyboardInterrupt
    assert [backend.failed for backend in backends] == [1, 0]
    with telling_trackers(runner.visualizer):
        pass
    assert backends[0].failed == 1
    toy_cfg.optim_wrapper.optimizer.lr = 1e30
    failing = build_runner(toy_cfg)
    failing.visualizer._vis_backends.update(a=backends[0])
    with pytest.raises(ValueError, match="loss_toy is nan"):
        failing.train()
    assert backends[0].failed == 2


# ---- the real packages, without network ---------------------------------------------------------


def run_python(repo, *args, **env):
    paths = os.pathsep.join([str(repo), str(repo / "tests")])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **env}
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)


def _train(cfg, name, resume=None, iters=6):
    """Train the toy, with a picture and a name that trackers do not like; give the record."""
    cfg = cfg.copy()
    cfg.train_cfg.max_iters = iters
    use_trackers(cfg, [name])
    runner = build_runner(cfg, resume=resume)
    runner.visualizer.add_image("wsss_labels", PICTURE, iters)
    runner.visualizer.add_scalars({"seg/IoU.cat (big)": 50.0}, iters)
    runner.train()
    return json.loads(Path(cfg.work_dir, "trackers.json").read_text())


def test_mlflow(toy_cfg, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'afa[mlflow]'")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    toy_cfg._long = ["a" * 7000]
    first = _train(toy_cfg, "mlflow", iters=3)
    toy_cfg._long, toy_cfg._more = ["b"], [dict(c=1)]
    assert _train(toy_cfg, "mlflow", resume="auto") == first
    client = mlflow.MlflowClient((Path(toy_cfg.work_dir).parent / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("afa").experiment_id])
    assert run.info.run_id == first["AFAMLflowVisBackend"] and run.info.status == "FINISHED"
    assert run.info.run_name.endswith("/work")
    losses = client.get_metric_history(run.info.run_id, "loss_toy")
    assert [metric.step for metric in losses] == [1, 2, 3, 4, 5, 6]
    assert run.data.metrics["seg/IoU.cat _big_"] == 50.0 and "toy/accuracy" in run.data.metrics
    params = run.data.params
    assert params["optim_wrapper.optimizer.lr"] == "0.1" and params["_more.0.c"] == "1"
    assert len(params["_long"]) == 500 and params["_long"].startswith("['aaa")
    names = [item.path for item in client.list_artifacts(run.info.run_id)]
    assert {"config.py", "wsss_labels"} <= set(names) and names[0].endswith(".log")
    pictures = [item.path for item in client.list_artifacts(run.info.run_id, "wsss_labels")]
    assert pictures == ["wsss_labels/000003.png", "wsss_labels/000006.png"]
    toy_cfg.load_from = str(Path(toy_cfg.work_dir) / "last_checkpoint")  # a text
    with pytest.raises(ValueError, match="cannot be read"):
        _train(toy_cfg, "mlflow")
    second = json.loads(Path(toy_cfg.work_dir, "trackers.json").read_text())["AFAMLflowVisBackend"]
    assert second != run.info.run_id and client.get_run(second).info.status == "FAILED"
    toy_cfg.load_from, toy_cfg.optim_wrapper.optimizer.lr = None, 1e30
    with pytest.raises(ValueError, match="loss_toy is nan"):
        _train(toy_cfg, "mlflow")
    statuses = [one.info.status for one in client.search_runs([run.info.experiment_id])]
    assert sorted(statuses) == ["FAILED", "FAILED", "FINISHED"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ValueError, match=r"MLflow cannot begin a run \(.*its store is http://127"):
        _train(toy_cfg, "mlflow")


def _wandb_records(folder):
    """Read what wandb has kept for later: records in blocks of 32 KiB, some in several parts."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    data, position, whole = path.read_bytes(), 7, b""
    while position < len(data):
        if (left := -position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_wandb(toy_cfg, monkeypatch):
    pytest.importorskip("wandb", reason="pip install 'afa[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    first = _train(toy_cfg, "wandb", iters=3)
    toy_cfg._note = "another config"
    assert _train(toy_cfg, "wandb", resume="auto") == first
    folders = sorted(Path(toy_cfg.work_dir).glob("*/vis_data/wandb/offline-run-*"))
    history, projects, exits = [], set(), []
    for folder in folders:
        assert folder.name.endswith(first["AFAWandbVisBackend"])
        assert list((folder / "files/media/images").glob("wsss_labels_*.png"))
        assert not list(folder.rglob("*.py"))  # no code of the current folder
        for record in _wandb_records(folder):
            if record.WhichOneof("record_type") == "run":
                projects.add(record.run.project)
            elif record.WhichOneof("record_type") == "exit":
                exits.append(record.exit.exit_code)
            elif record.WhichOneof("record_type") == "history":
                items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
                history.append(items)
    steps = [int(items["iteration"]) for items in history if "loss_toy" in items]
    assert steps == [1, 2, 3, 4, 5, 6] and projects == {"afa"} and exits == [0, 0]
    drawn = [items for items in history if "wsss_labels" in items]
    assert [int(items["iteration"]) for items in drawn] == [3, 6]


def test_wandb_without_an_account(toy_cfg, monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb", reason="pip install 'afa[wandb]'")

    def refuse(**kwargs):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`.")

    monkeypatch.setattr(wandb, "init", refuse)
    text = r"wandb cannot begin a run \(No API key configured\): log in \(`wandb login`\), or set"
    with pytest.raises(ValueError, match=text):
        _train(toy_cfg, "wandb")


def test_clearml(tmp_path, repo):
    pytest.importorskip("clearml", reason="pip install 'afa[clearml]'")
    # It would ask git about the current folder.
    env = dict(HOME=str(tmp_path), CLEARML_OFFLINE_MODE="1", CLEARML_VCS_REPO_URL="none")
    tool, args = repo / "tools/train.py", ["--tracker", "clearml"]
    path = write_cfg(tmp_path)
    for options in (["--cfg-options", "train_cfg.max_iters=3"], ["--resume"]):
        done = run_python(repo, tool, path, *args, *options, **env)
        assert done.returncode == 0, done.stderr[-3000:]
    noted = json.loads((tmp_path / "work/trackers.json").read_text())["AFAClearMLVisBackend"]
    (packed,) = tmp_path.rglob(f"{noted}.zip")
    files = zipfile.ZipFile(packed)
    events = [json.loads(line) for line in files.read("metrics.jsonl").splitlines()]
    steps = [one["iter"] for line in events for one in line if one["metric"] == "loss_toy"]
    assert steps[-3:] == [4, 5, 6]
    assert not [name for name in files.namelist() if name.endswith(".pth")]
    done = run_python(repo, tool, path, *args, HOME=str(tmp_path), CLEARML_OFFLINE_MODE="0")
    assert done.returncode == 2 and "ClearML cannot begin a run (" in done.stderr


def test_of_two_processes_the_first_one_writes(tmp_path, repo):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'afa[mlflow]'")
    args = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    args += [repo / "tools/train.py", write_cfg(tmp_path), "--launcher", "pytorch"]
    done = run_python(repo, *args, "--tracker", "mlflow")
    assert done.returncode == 0, done.stderr[-3000:]
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("afa").experiment_id])
    losses = client.get_metric_history(run.info.run_id, "loss_toy")
    assert [metric.step for metric in losses] == [1, 2, 3, 4, 5, 6]
