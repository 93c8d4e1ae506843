"""What happens, as tables: events to columns to pandas.

pandas is imported when the first frame is made, not before.
"""

from golem_nb.frames.history import History, history
from golem_nb.frames.offers import OfferTable
from golem_nb.frames.recorder import Recorder, Totals
from golem_nb.frames.text import clean

__all__ = ["History", "OfferTable", "Recorder", "Totals", "clean", "history"]
