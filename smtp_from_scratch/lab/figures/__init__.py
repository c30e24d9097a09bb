"""The figures: what was said, read and drawn; a text face, SVG or HTML, and data for tests."""
