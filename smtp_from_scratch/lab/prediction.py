"""A first line for outputs that are folded until the reader has made a prediction."""
from __future__ import annotations


def predict(question: str = "") -> None:
    """Print a line that gives nothing away: JupyterLab shows the first line of a folded output."""
    print(question or "Your prediction first; then open this.")
