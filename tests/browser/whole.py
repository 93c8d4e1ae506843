"""All panels at once, on the stage: for hosts that show them each in a cell."""

from __future__ import annotations

from rush import Rush
from stage import COLOURS, HOSTILE, Shell, StagedTerminal, Stall, cluster, desk, job, lanes, terminal, trails

from golem_nb.frames import Recorder

lanes()
trails()


def _cancel() -> None:
    job.change(state="cancelled", running=0, outcome="cancelled by hand <b>")


def _resume(instance_id: str) -> None:
    cluster.change(service=f"resumed: {instance_id}")


# a batch that does end when its button is pressed, and a cluster that says what was pressed
job.cancel = _cancel
cluster.resume_instance = _resume


class Hearing(Shell):
    """Says what it has heard."""

    def write(self, data: bytes) -> None:
        super().write(data)
        self.say(b"\r\nheard: " + self.typed)


StagedTerminal.shell_class = Hearing

desk._recorder = recorder = Recorder()
_rush = Rush(["sun", HOSTILE, "$x^2$"])
for _event in (*_rush.begin(), *_rush.turn(), _rush.proposal(1)):
    recorder.take(_event)
    desk.take(_event)

card = desk.card()
progress = desk.progress(job)
market = desk.market(Stall(20))
control = desk.cluster(cluster)
board = desk.dashboard()
shell = terminal()
shell._shell.say(COLOURS)

PANELS = ("card", "progress", "market", "control", "board", "shell")
