"""Faces that can be operated: buttons and sliders where there is a kernel, the static face everywhere else."""
from __future__ import annotations

from functools import cached_property
from typing import Any

from smtp_from_scratch.lab.figures.faces import Face


class Interactive(Face):
    """A face with a `box` of controls. A subclass writes `build`, which returns an ipywidgets VBox."""

    def build(self) -> Any:
        raise NotImplementedError

    @cached_property
    def box(self) -> Any:
        """The widgets, made when they are first needed."""
        return self.build()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_()
        try:
            import ipywidgets  # noqa: F401
        except ImportError:
            return bundle
        return {**self.box._repr_mimebundle_(), **bundle}


def button(description: str, on_click: Any, tooltip: str = "", width: str = "90px") -> Any:
    """A button that calls `on_click()`."""
    import ipywidgets

    made = ipywidgets.Button(description=description, tooltip=tooltip, layout=ipywidgets.Layout(width=width))
    made.on_click(lambda _: on_click())
    return made


def column(*children: Any) -> Any:
    """Widgets below one another."""
    import ipywidgets

    return ipywidgets.VBox(children)


def row(*children: Any) -> Any:
    """Widgets beside one another, wrapped where the window is narrow."""
    import ipywidgets

    return ipywidgets.HBox(children, layout=ipywidgets.Layout(flex_flow="row wrap"))


def pane() -> Any:
    """A place for HTML."""
    import ipywidgets

    return ipywidgets.HTML()
