"""`figures/transcript.py` under the name that it had."""
from smtp_from_scratch.lab.figures.transcript import Transcript

__all__ = ["Transcript"]
