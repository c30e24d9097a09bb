"""`figures/tlsrecords.py` under the name that it had."""
from smtp_from_scratch.lab.figures.tlsrecords import Records

__all__ = ["Records"]
