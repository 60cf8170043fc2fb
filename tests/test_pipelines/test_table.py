from afa.pipelines import Pipeline, Stage
from afa.pipelines.table import stage_table


def test_table_has_states_and_means(root):
    one = Stage("one", "add.py", "cfg.py", args=["1"])
    two = Stage("two", "add.py", "cfg.py", args=["{one}"])
    pipeline = Pipeline([one, two], root / "work", "sum")
    pipeline.run(last="one")
    table = stage_table(pipeline)
    assert "sum, in" in table and "seg/mIoU 1.0" in table and "IoU.a" not in table
    assert [line.split("|")[2].strip() for line in table.splitlines()[4:6]] == ["finished", "new"]
