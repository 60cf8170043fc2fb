"""The stages of a pipeline as a table: state, time, memory, figures."""

from prettytable import PrettyTable

from afa.pipelines.pipeline import Pipeline
from afa.pipelines.record import read_record


def stage_table(pipeline: Pipeline) -> str:
    """Tabulate every stage with its state, time, peak memory, and figures that are means.

    Args:
        pipeline: the pipeline, run or not.

    Returns:
        Lines of text.
    """
    table = PrettyTable(["stage", "state", "seconds", "peak MiB", "figures (%)"], align="l")
    for stage in pipeline.stages:
        folder = pipeline.folders[stage.name]
        record, state = read_record(folder), pipeline.state(stage)
        if record is None:
            table.add_row([stage.name, state, "", "", ""])
            continue
        means = {
            name: value
            for name, value in record.figures.items()
            if name.rsplit("/", 1)[-1] in ("mIoU", "F1")
        }
        figures = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
        table.add_row(
            [stage.name, state, f"{record.seconds:.0f}", f"{record.peak_memory_mib:.0f}", figures]
        )
    return f"{pipeline.method}, in {pipeline.work_dir}\n{table}"
