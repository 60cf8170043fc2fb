import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import gpu
import gpu_checks


@pytest.fixture
def voc_photos(tmp_path):
    """Four photos in VOC's layout."""
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/SegmentationAug"):
        (root / folder).mkdir(parents=True)
    names = [f"2007_00000{i}" for i in range(4)]
    for i, name in enumerate(names):
        photo = np.random.randint(0, 256, (40, 60, 3), np.uint8)
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 20:40] = 8 + 4 * (i % 2)  # cat, dog
        Image.fromarray(photo).save(root / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{name}.png")
    labels = {name: [("cat", "dog")[i % 2]] for i, name in enumerate(names)}
    (root / "image_labels.json").write_text(json.dumps(labels))
    for split, some in dict(train_aug=names[:2], val=names[2:]).items():
        (root / f"ImageSets/SegmentationAug/{split}.txt").write_text("\n".join(some))
    return root


@pytest.fixture
def call(repo, tmp_path, monkeypatch):
    """Run gpu.py with fake parts; returns status and page."""

    def run(parts, *more):
        monkeypatch.setattr(gpu, "PARTS", parts)
        monkeypatch.setattr(
            sys, "argv", ["gpu.py", "--out", str(tmp_path / "out"), "--device", "cpu", *more]
        )
        with pytest.raises(SystemExit) as stop:
            gpu.main()
        return stop.value.code, (tmp_path / "out/gpu.md").read_text()

    return run


def test_a_part_that_failed_is_told(call):
    def speed(args, out, seconds):
        return dict(status=None)

    def photos(args, out, seconds):
        return gpu.run_photos(args, out, seconds)

    code, page = call(dict(speed=(speed, 10), photos=(photos, 10)), "--data-root", "no/where")
    assert code == 1
    assert "- speed: 0 s, the time ran out" in page and "- photos: 0 s, exit status 1" in page
    assert "AFA on photos: there is no 'no/where'." in page


def test_no_part_begins_without_time(call, capsys):
    def slow(args, out, seconds):
        time.sleep(1.5)
        return dict(status=0)

    code, page = call(dict(one=(slow, 400), two=(slow, 400)), "--seconds", "8")
    assert code == 0 and "- one:" in page and "two" not in page
    assert "two: no time is left" in capsys.readouterr().out


def test_checks_go_on_after_a_process_that_died(tmp_path, monkeypatch):
    calls = []

    def fake(command, seconds, log):
        left = [str(word) for word in command[command.index("--checks") + 1 :]]
        calls.append(left)
        row = dict(name=left[0], what="", outcome="passed", said="", figures=[], seconds=1.0)
        with (tmp_path / "checks/results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return -11 if len(calls) == 1 else 0 if len(left) == 1 else 1

    monkeypatch.setattr(gpu, "run_command", fake)
    monkeypatch.setattr(gpu, "_check_names", lambda: ["a", "b", "c"])
    args = gpu.argparse.Namespace(tiny=False, device="cuda")
    found = gpu.run_checks(args, tmp_path, 100)
    assert calls == [["a", "b", "c"], ["c"]] and found["status"] == 1 and not found["not_run"]
    outcomes = {row["name"]: (row["outcome"], row["said"]) for row in found["results"]}
    assert outcomes["b"] == ("failed", "its process ended (-11)") and outcomes["c"][0] == "passed"


def test_single_checks_have_lines_of_their_own(tmp_path, monkeypatch):
    argv = ["gpu.py", "--device", "cpu", "--out", str(tmp_path), "--checks", "second_gpu"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as stop:
        gpu.main()
    assert stop.value.code == 0
    assert '"outcome": "not here"' in (tmp_path / "results.jsonl").read_text()


def test_wrong_checks_and_a_missing_gpu_are_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no check 'pars': choose from par, losses"):
        gpu_checks.run_checks(["pars"], "cpu", tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "out")])
    with pytest.raises(ValueError, match=r"--device cuda needs a GPU.*--device cpu --tiny"):
        gpu.main()
    assert not (tmp_path / "out").exists()


def test_a_command_is_killed_with_its_children(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "print('begun', flush=True); time.sleep(60)\n"
    )
    assert gpu.run_command([tool], 3, tmp_path / "log") is None
    assert "begun" in (tmp_path / "log").read_text()
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        state = _state(pid)
        if state in (None, "Z"):
            return
        time.sleep(0.1)
    raise AssertionError(f"the child is still there: {state}")


def _state(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _rehearse(repo, out, *more):
    command = [repo / "tools/benchmarks/gpu.sh", "--device", "cpu", "--tiny", *more]
    env = {**os.environ, "OUT": str(out), "PYTHON": sys.executable}
    return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_rehearsal_of_the_whole_script(repo, tmp_path, voc_photos):
    done = _rehearse(repo, tmp_path / "out", "--seconds", 2000, "--data-root", voc_photos)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    found = json.loads((tmp_path / "out/gpu.json").read_text())
    assert list(found["seconds"]) == ["checks", "speed", "throughput", "photos"]
    assert [row["outcome"] for row in found["checks"]["results"]] == ["passed", "passed"]
    assert set(found["speed"]["parts"]) == {"par", "cams", "step", "par/bfloat16"}
    assert "throughput" in found["throughput"]["parts"]
    assert {"seg/mIoU", "cam/mIoU", "cls/mAP"} <= set(found["photos"]["figures"])
    page = (tmp_path / "out/gpu.md").read_text()
    assert "| par: PAR against" in page and "20k iterations" in page and "seg/mIoU" in page
    for name in found["photos"]["pictures"]:
        assert (tmp_path / "out" / name).is_file()
