"""Wrong things done on purpose: each is answered by one sentence, and nothing is lost."""

import faults_of_checkpoints
import faults_of_configs
import faults_of_data
import faults_of_labels
import faults_of_machine
import faults_of_runs
import faults_of_values
import pytest
from toy_faults import COMMANDS, OUT, files_in, run_tool

TABLES = (
    faults_of_data,
    faults_of_labels,
    faults_of_configs,
    faults_of_values,
    faults_of_checkpoints,
    faults_of_machine,
    faults_of_runs,
)
FAULTS = [fault for table in TABLES for fault in table.FAULTS]


@pytest.mark.parametrize("command", [*COMMANDS.values()])
def test_without_a_fault_every_command_works(world, command):
    if not command.startswith("run_pipeline"):  # its stages are processes of their own
        assert run_tool(command) == 0


def test_there_are_many():
    assert len(FAULTS) >= 80 and len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_one_sentence_and_nothing_lost(fault, world, monkeypatch, capfd):
    if fault.harm is not None:
        fault.harm()
    before = files_in(world.parent)
    capfd.readouterr()
    with monkeypatch.context() as patch:
        if fault.patch is not None:
            fault.patch(patch)
        status = run_tool(f"{COMMANDS.get(fault.command, fault.command)} {fault.args}")
    said = capfd.readouterr().err
    assert status == fault.status
    assert "Traceback" not in said
    # A config is told all at once: the same fault in the training and the validation set.
    *sentences, hint = said.splitlines()
    assert sentences[0].startswith("Error: ") and hint.startswith("(AFA_DEBUG=1 shows")
    assert all(fault.text in sentence for sentence in sentences)
    after = files_in(world.parent)
    assert {name: after.get(name) for name in before} == before
    new = set(after) - set(before)
    assert all(name.startswith(f"world/{OUT}/") for name in new)
