import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from afa.pipelines import Pipeline, Stage, load_pipeline
from afa.pipelines.pipeline import StageError
from afa.pipelines.stage import read_record


def stages(first="1", plus=0, **options):
    return [
        Stage("one", "add.py", "cfg.py", args=[first]),
        Stage("two", "add.py", "cfg.py", args=["{one}", "10"], options=dict(plus=plus, **options)),
        Stage("three", "add.py", "cfg.py", args=["{two}", "100"]),
        Stage("aside", "add.py", "cfg.py", args=["5"]),
    ]


def calls(work):
    """How often each stage has run in its present folder."""
    return {p.name[3:]: len((p / "calls").read_text()) for p in work.glob("??_*[!0-9]")}


def test_stages_read_one_another_and_are_recorded(root):
    work = root / "work"
    records = Pipeline(stages(), work, "sum").run()
    assert [record.figures["seg/mIoU"] for record in records] == [1, 11, 111, 5]
    assert all(r.state == "finished" and r.peak_memory_mib > 1 for r in records)
    summary = json.loads((work / "pipeline.json").read_text())
    assert summary["method"] == "sum" and summary["num_stages"] == 4
    assert list(summary["stages"]) == ["one", "two", "three", "aside"]
    repeated = summary["stages"]["two"]["command"]
    assert repeated[1:4] == [str(root / "tools/add.py"), str(root / "cfg.py"), f"{work}/01_one"]


def test_finished_stages_are_skipped_and_changed_ones_redone_with_what_reads_them(root, capsys):
    work = root / "work"
    Pipeline(stages(), work, "sum").run()
    Pipeline(stages(), work, "sum").run()
    assert calls(work) == dict(one=1, two=1, three=1, aside=1)
    assert capsys.readouterr().out.count("skipped") == 4

    changed = Pipeline(stages(plus=7), work, "sum")
    assert [changed.state(s) for s in changed.stages] == [
        "finished", "changed", "changed", "finished",
    ]  # fmt: skip
    changed.run()
    assert (work / "03_three/sum").read_text() == "118"
    (aside,) = work.glob("02_two.before-*")
    assert (aside / "sum").read_text() == "11"  # nothing is lost
    assert "01_one.before" not in str(list(work.iterdir()))


def test_a_changed_config_file_counts_as_a_change(root):
    work = root / "work"
    Pipeline(stages(), work, "sum").run()
    (root / "cfg.py").write_text("value = 2\n")
    again = Pipeline(stages(), work, "sum")
    assert {again.state(s) for s in again.stages} == {"changed"}


def test_from_and_to(root):
    work = root / "work"
    with pytest.raises(ValueError, match="'two' comes after 'one', which is new: begin with"):
        Pipeline(stages(), work, "sum").run(first="two")
    assert len(Pipeline(stages(), work, "sum").run(last="two")) == 2
    Pipeline(stages(), work, "sum").run("three", "three")
    assert calls(work) == dict(one=1, two=1, three=1)
    with pytest.raises(ValueError, match="no stage 'tree': did you mean 'three'"):
        Pipeline(stages(), work, "sum").run(last="tree")


def test_a_failing_stage_stops_the_pipeline_and_goes_on_later(root):
    work = root / "work"
    with pytest.raises(StageError, match="status 3"):
        Pipeline(stages(plus=655), work, "sum").run()
    assert read_record(work / "02_two").state == "stopped"
    assert not (work / "03_three").exists()


RUN = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from afa.pipelines import Pipeline, stage
stage.ROOT = Path({root!r})
from test_pipeline import stages
Pipeline(stages(wait=1), {work!r}, "sum").run()
"""


def test_killed_and_started_again(root):
    work = root / "work"
    code = RUN.format(tests=str(Path(__file__).parent), root=str(root), work=str(work))
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    deadline = time.monotonic() + 60
    while not (work / "02_two/half").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    run.kill()
    run.wait()
    pipeline = Pipeline(stages(wait=1), work, "sum")
    with pytest.raises(ValueError, match="Another process works in"):
        pipeline.run()  # the stage has outlived its pipeline
    found = subprocess.run(["pgrep", "-f", str(work / "02_two")], capture_output=True, text=True)
    for number in found.stdout.split():
        subprocess.run(["kill", "-9", number], check=False)
    time.sleep(0.2)
    pipeline.run()
    assert (work / "03_three/sum").read_text() == "111"
    assert calls(work) == dict(one=1, two=2, three=1, aside=1)


def test_wrong_order(root):
    with pytest.raises(ValueError, match="'two' reads 'one', which is no stage before it"):
        Pipeline(stages()[1:], root / "work", "sum")
    with pytest.raises(ValueError, match="Two stages have the name 'one'"):
        Pipeline(stages()[:1] * 2, root / "work", "sum")


def test_options_go_to_one_stage_or_to_all(root):
    path = root / "pipeline.py"
    path.write_text(
        "method = 'sum'\n"
        "stages = [dict(name='one', tool='add.py', config='cfg.py', args=['1']),\n"
        "          dict(name='two', tool='add.py', config='cfg.py', args=['{one}'])]\n"
    )
    pipeline = load_pipeline(path, root / "work", {"plus": 3, "two.plus": 5})
    assert [s.options for s in pipeline.stages] == [{"plus": 3}, {"plus": 5}]
    assert [r.figures["seg/mIoU"] for r in pipeline.run()] == [4, 9]
    path.write_text("stages = 1\nmethod = 2\n")
    with pytest.raises(ValueError, match="is no pipeline"):
        load_pipeline(path)


def test_table_has_states_and_means(root):
    one = Stage("one", "add.py", "cfg.py", args=["1"])
    two = Stage("two", "add.py", "cfg.py", args=["{one}"])
    pipeline = Pipeline([one, two], root / "work", "sum")
    pipeline.run(last="one")
    table = pipeline.table()
    assert "sum, in" in table and "seg/mIoU 1.0" in table and "IoU.a" not in table
    assert [line.split("|")[2].strip() for line in table.splitlines()[4:6]] == ["finished", "new"]


def test_trackers_are_for_the_stages_that_train_and_change_no_result(root):
    (root / "tools/train.py").write_text(
        "import sys, json\nout = sys.argv[sys.argv.index('--work-dir') + 1]\n"
        "json.dump(sys.argv[1:], open(out + '/arguments', 'w'))\n"
    )
    two = [Stage("train", "train.py", "cfg.py"), Stage("add", "add.py", "cfg.py", args=["1"])]
    pipeline = Pipeline(two, root / "work", "sum")
    pipeline.trackers = ["wandb", "mlflow"]
    pipeline.run()
    given = json.loads((root / "work/01_train/arguments").read_text())
    assert given[-3:] == ["--tracker", "wandb", "mlflow"]
    assert "--tracker" not in json.loads((root / "work/01_train/stage.json").read_text())["command"]
    assert (root / "work/02_add/sum").read_text() == "1"
    assert Pipeline(two, root / "work", "sum").state(two[0]) == "finished"
