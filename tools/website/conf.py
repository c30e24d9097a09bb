"""How Sphinx makes the readable pages: chapters as they are stored, docs, and the API from docstrings."""
import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))

project = "SMTP from Scratch"
author = copyright = "The SMTP from Scratch authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
nb_execution_mode = "off"                      # what is stored was run and compared by the tests
nb_ipywidgets_js: dict[str, dict[str, str]] = {}       # nothing is fetched from elsewhere
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing", "myst.header", "mystnb.unknown_mime_type", "misc.highlighting_failure",
                     "toc.not_included", "autodoc"]
exclude_patterns = ["_build"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["diagrams.js"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "use_download_button": False, "use_fullscreen_button": True, "use_repository_button": False,
    "home_page_in_toc": True, "show_navbar_depth": 1, "show_toc_level": 2, "navbar_persistent": [],
}
