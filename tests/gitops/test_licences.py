"""The page of licences lists all locked packages with their reviewed licences."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import licences
from housekeeping.locks import read_lock
from licences import UnknownLicenceError, allowed, licence, packages

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/licences.md").read_text()
LISTED = {
    name: (text, tuple(images.split(", ")))
    for name, text, images in re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
}


def locked(name):
    """Return the releases of a package that the locks name, whichever Python they are for."""
    pins = [pin for lock in licences.IMAGES for pin in read_lock((ROOT / f"locks/{lock}.txt").read_text())]
    return {str(pin.version) for pin in pins if pin.name == name}


def as_locked(name):
    try:
        return distribution(name).version in locked(name)
    except PackageNotFoundError:
        return False


def test_the_page_lists_all_packages_of_the_images():
    assert {name: images for name, (_, images) in LISTED.items()} == packages()
    assert len(LISTED) > 100


# What this Python or platform does not install, another leg of the matrix has.
@pytest.mark.parametrize("name", [name for name in LISTED if as_locked(name)])
def test_the_page_shows_the_licences_of_the_metadata(name):
    assert licence(name) == LISTED[name][0]


def test_each_reviewed_package_is_installed_and_on_the_page():
    assert set(licences.REVIEWED) <= set(packages())
    assert all(f"- **{name}**: {review.note}." in PAGE for name, review in licences.REVIEWED.items())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("(MIT AND Zlib) OR 0BSD", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-or-later", False),
        ("", False),
        ("Dual License", False),
    ],
)
def test_only_listed_licences_are_allowed(expression, expected):
    assert allowed(expression) is expected


@pytest.fixture
def metadata(monkeypatch, tmp_path):
    """Return a function that installs a package which is nothing but its metadata."""

    def install(*lines):
        folder = tmp_path / "strange-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            "\n".join(("Metadata-Version: 2.4", "Name: strange", "Version: 1.0", *lines))
        )
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: BSD-3-Clause"], "BSD-3-Clause"),
        (["License: Apache 2.0"], "Apache-2.0"),
        (["License: see the file", "Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (
            ["License: BSD 3-Clause License", "Classifier: License :: OSI Approved :: BSD License"],
            "BSD-3-Clause",
        ),
    ],
)
def test_a_licence_is_read_from_each_place_in_the_metadata(metadata, lines, expected):
    metadata(*lines)
    assert licence("strange") == expected


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["License: Proprietary"],
        ["License: UNKNOWN", "Classifier: License :: OSI Approved :: GNU Affero General Public License v3"],
        ["License-Expression: SSPL-1.0", "Classifier: License :: OSI Approved :: MIT License"],
    ],
)
def test_a_licence_that_was_not_reviewed_is_rejected(metadata, lines):
    metadata(*lines)
    with pytest.raises(UnknownLicenceError, match=r"strange: .*REVIEWED"):
        licence("strange")


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(UnknownLicenceError, match="nowhere-to-be-found: not installed"):
        licence("nowhere-to-be-found")


def test_check_finds_a_page_that_is_out_of_date(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(licences, "packages", lambda: {"packaging": ("operator",)})
    monkeypatch.setattr(licences, "PAGE", tmp_path / "licences.md")
    assert licences.main([]) == 0
    assert "| packaging | Apache-2.0 OR BSD-2-Clause | operator |" in (tmp_path / "licences.md").read_text()
    assert licences.main(["--check"]) == 0
    monkeypatch.setattr(licences, "packages", dict)
    assert licences.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
