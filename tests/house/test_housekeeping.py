"""The house rules hold for this repository, and each rule finds a planted fault."""

import subprocess
from pathlib import Path

import pytest

from housekeeping.__main__ import problems
from housekeeping.commands import check_commands
from housekeeping.layout import check_layout
from housekeeping.links import anchors, check_links
from housekeeping.names import REGISTRY_HOSTS, check_names
from housekeeping.tree import Tree
from housekeeping.words import check_words

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def plant(tmp_path):
    """Return a function that commits nothing but tracks the given files, and gives their tree."""

    def make(**files):
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        subprocess.run(["git", "add", "--all"], cwd=tmp_path, check=True)
        return Tree(tmp_path)

    return make


def test_this_repository_keeps_its_rules():
    assert [str(problem) for problem in problems(ROOT)] == []


def test_operator_is_a_plain_folder():
    assert not (ROOT / "operator/__init__.py").exists()


@pytest.mark.parametrize("line", [*(f"see https://{host}/x" for host in REGISTRY_HOSTS), "cd /root" + "/x"])
def test_a_host_or_a_machine_path_is_found_with_its_line(plant, line):
    [found] = check_names(plant(**{"docs/a.md": f"# title\n\n{line}\n"}))
    assert (found.path, found.line) == ("docs/a.md", 3)


@pytest.mark.parametrize(
    "line", ["FROM python:3.12", "${HOME}/root/x", "the /work folder of a pod", "a/home/b/c"]
)
def test_ordinary_paths_are_left_alone(plant, line):
    assert list(check_names(plant(**{"a.txt": line}))) == []


def test_binary_files_are_skipped(plant):
    assert list(check_names(plant(**{"a.png": b"\x89PNG\xff\xfe"}))) == []


def test_an_operator_package_is_found(plant):
    [found] = check_layout(plant(**{"operator/__init__.py": ""}))
    assert "operator module" in found.message


def test_a_module_of_401_lines_is_found_and_one_of_400_is_not(plant):
    tree = plant(**{"crds/a.py": "x = 1\n" * 400, "crds/b.py": "x = 1\n" * 401, "docs/c.md": "x\n" * 900})
    assert [found.path for found in check_layout(tree)] == ["crds/b.py"]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("operator/trainingjob_operator/applying.py", "noun"),
        ("crds/trainingjob_api/job.py", "crds/trainingjob_api/jobs.py"),
    ],
)
def test_a_badly_named_module_is_found(plant, path, word):
    tree = plant(**{path: "", "crds/trainingjob_api/jobs.py": "", "operator/role_binding.py": ""})
    found = [str(found) for found in check_layout(tree) if found.path == path]
    assert len(found) == 1
    assert word in found[0]
    assert not [found for found in check_layout(tree) if found.path == "operator/role_binding.py"]


@pytest.mark.parametrize("path", ["crds/a.py", "docs/a.md", "README.md", "helm/x/values.yaml"])
@pytest.mark.parametrize(
    ("text", "word"),
    [("it goes on", "goes on"), ("Tells", "Tells"), ("run it\nanew", "anew"), ("it is mended", "mended")],
)
def test_a_word_to_avoid_is_found_with_its_line_and_a_better_one(plant, path, text, word):
    [found] = check_words(plant(**{path: f"\n{text}\n"}))
    assert (found.path, found.line) == (path, 2 + text.count("\n"))
    assert found.message.startswith(f"avoid {word!r}; write: ")


def test_plain_words_and_other_folders_are_left_alone(plant):
    tree = plant(**{"docs/a.md": "recommend a reminder, retell", "tests/a.py": "anew", "docs/a.png": "anew"})
    assert list(check_words(tree)) == []


LINKS = """# The *first* heading
[file](b.md) [folder](sub) [self](#the-first-heading) [deep](sub/c.md#two-words) [web](https://example.org/x)
[gone](nowhere.md) [wrong](sub/c.md#three) `[code](not/a/link.md)` ![picture](missing.png)

```
[fenced](not/a/link.md)
```

[reference]: absent.md
"""


def test_broken_links_are_found_with_their_lines(plant):
    tree = plant(**{"docs/a.md": LINKS, "docs/b.md": "b", "docs/sub/c.md": "## Two words!\n"})
    found = [(found.line, found.message) for found in check_links(tree)]
    assert found == [
        (3, "link to nowhere.md: the repository has no docs/nowhere.md"),
        (3, "link to sub/c.md#three: docs/sub/c.md has no such heading"),
        (3, "link to missing.png: the repository has no docs/missing.png"),
        (9, "link to absent.md: the repository has no docs/absent.md"),
    ]


def test_anchors_are_those_of_github():
    text = "# `run`: a [link](x.md)\n## Same\n## Same\n```\n# no heading\n```\n### Über-long, isn't it?\n"
    assert anchors(text) == {"run-a-link", "same", "same-1", "über-long-isnt-it"}


README = "# x\n```sh\nmake run   # train\nmake test  # test\n```\n"
MAKEFILE = "".join(
    f"{t}:\n" for t in ("run", "test", "check", "bench", "e2e", "crd", "lock", "clean", "help")
)
SCRIPT = "make test </dev/null || status=$?\nmake check\n"


def test_commands_that_agree_pass(plant):
    tree = plant(**{"README.md": README, "Makefile": MAKEFILE, ".ci/run": SCRIPT})
    assert list(check_commands(tree)) == []


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        pytest.param({"Makefile": MAKEFILE.replace("lock:\n", "")}, "Makefile", id="target-missing"),
        pytest.param(
            {"README.md": README.replace("make test", "pytest")}, "README.md", id="other-command-first"
        ),
        pytest.param({"README.md": README + "```\nmake tea\n```\n"}, "README.md", id="unknown-target-shown"),
        pytest.param({"README.md": "no block"}, "README.md", id="no-block"),
        pytest.param({".ci/run": "make check\nmake test\n"}, ".ci/run", id="other-order"),
        pytest.param({".ci/run": "pytest\nmake check\n"}, ".ci/run", id="not-the-readme's"),
    ],
)
def test_commands_that_differ_are_found(plant, changed, path):
    tree = plant(**{"README.md": README, "Makefile": MAKEFILE, ".ci/run": SCRIPT, **changed})
    assert [found.path for found in check_commands(tree)] == [path]
