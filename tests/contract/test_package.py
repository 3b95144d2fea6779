import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import trainingjob_api


def test_the_modules_that_are_searched_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(str(trainingjob_api.__file__)).read_text())
    seen = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named = [name.partition("trainingjob_api.")[2] for name in seen]
    assert sorted(name for name in named if name) == sorted(trainingjob_api._MODULES)


def test_every_public_name_of_a_module_is_one_of_the_package() -> None:
    for module in trainingjob_api._MODULES:
        loaded = vars(import_module(f"trainingjob_api.{module}"))
        public = {name: value for name, value in loaded.items() if not name.startswith("_")}
        assert public
        for name, value in public.items():
            assert name not in trainingjob_api._MODULES, "the module would hide the name"
            assert getattr(trainingjob_api, name) is value, (
                "two modules have a public name for different things"
            )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = trainingjob_api.nothing


def test_a_reason_needs_no_models() -> None:
    program = "import sys; from trainingjob_api import Reason; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
