"""The documentation site: `make docs` builds it into `build/docs`, and runs its code."""

import os
import sys
from pathlib import Path

import grujax

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "grujax"
author = "The grujax developers"
copyright = author
version = release = grujax.__version__

extensions = [
    "docstrings",
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = []

# Pages: Markdown with LaTeX between dollar signs, and an anchor for each heading.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

# Code cells run whenever a page is built. One that fails stops the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ["MATPLOTLIBRC"] = str(HERE / "matplotlibrc")
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning of Jupyter's debugger
os.environ["TQDM_DISABLE"] = "1"

# The reference, from the docstrings. A name between single backticks links to its entry.
default_role = "py:obj"
autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state shapes and dtypes
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_math_renderer = "mathml"
html_theme = "sphinx_book_theme"
html_title = f"grujax {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search field is in the sidebar
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_copy_source = False
html_show_copyright = False
html_domain_indices = False  # the API reference lists the modules
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
