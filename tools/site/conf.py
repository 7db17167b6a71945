"""Sphinx's settings for the site. `tools/site_pages.py` lays the pages beside a copy of this file and runs Sphinx."""

import sys
from pathlib import Path

from docutils import nodes

from sfllava_course.web import mathml

sys.path.insert(0, str(Path(__file__).parent))

project = "SlowFast-LLaVA kit"
html_title = "SlowFast-LLaVA kit"
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings"]
exclude_patterns = ["downloads"]

nb_execution_mode = "off"  # the outputs are those that were committed, and tested
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of other libraries are not ours to print
autodoc_preserve_defaults = True  # as the source has them, not as the addresses of objects
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
default_role = "code"

html_theme = "sphinx_book_theme"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,  # each chapter links to its learner's edition
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search
    "footer_content_items": [],
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def write_formula(writer, node) -> None:
    """A formula as MathML, made now: the page needs no script for it, and nothing from elsewhere."""
    writer.body.append(mathml(node.astext(), block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app) -> dict:
    app.add_html_math_renderer("mathml", inline_renderers=(write_formula, None), block_renderers=(write_formula, None))
    return {"parallel_read_safe": True}
