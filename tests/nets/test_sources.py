"""What a user's function is known by: the source of its module, and of all that this one imports of its own."""

import hashlib
import importlib
import sys

import pytest

from study.nets import sources
from study.nets.modules import own_modules
from study.spec.config import Build, Load, Trial
from study.spec.errors import UsageError
from study.trial.run import run
from tests.helpers import ROOT

FILES = {
    "kit/__init__.py": "from kit import plots\n",
    "kit/nets.py": "from .parts.blocks import block\nfrom . import sizes\n\ndef make(shape, n):\n    import late\n",
    "kit/parts/__init__.py": "",
    "kit/parts/blocks.py": "import json, torch\nfrom ..sizes import WIDTH\nblock = WIDTH\n",
    "kit/sizes.py": "WIDTH = 3\n",
    "kit/plots.py": "",
    "late.py": "import broken\n",
    "broken.py": "no python (\n",
    "plain.py": "import functools\nfrom study.nets import build\n\ndef make(shape, classes):\n    pass\n\n"
                "part = functools.partial(make, classes=2)\n",
    "other.py": "from plain import make\n",
}  # fmt: skip
REACHED = {"kit.nets", "kit.parts.blocks", "kit.sizes", "late", "broken"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a package and modules beside it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] in ("kit", "late", "plain", "other")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_a_module_is_made_of_what_it_imports_of_its_own_package_and_folder(here):
    assert set(own_modules("kit.nets", here / "kit/nets.py")) == REACHED
    assert set(own_modules("kit", here / "kit/__init__.py")) == {"kit", "kit.plots"}


def test_the_project_the_standard_library_and_installed_libraries_stand_apart():
    torch = importlib.util.find_spec("torchvision.models.resnet").origin
    for name, file in (("torchvision.models.resnet", torch), ("json.decoder", json_file()),
                       ("study.nets.build", ROOT / "study/nets/build.py")):  # fmt: skip
        assert set(own_modules(name, type(ROOT)(file))) == {name}


def json_file():
    return importlib.util.find_spec("json.decoder").origin


@pytest.mark.parametrize("edited", sorted({f"{name.replace('.', '/')}.py" for name in REACHED}))
def test_an_edit_to_any_of_them_is_another_function(here, edited):
    before = sources.source_digest("kit.nets:make", "--model")
    assert sources.source_digest("kit.nets:make", "--model") == before
    (here / edited).write_text((here / edited).read_text() + "\n# edited\n")
    assert sources.source_digest("kit.nets:make", "--model") != before


def test_an_edit_to_what_is_not_imported_is_none(here):
    before = sources.source_digest("kit.nets:make", "--model")
    (here / "kit/plots.py").write_text("A = 1\n")
    (here / "plain.py").write_text("\n")
    assert sources.source_digest("kit.nets:make", "--model") == before


def test_the_digest_of_a_module_alone_is_that_of_earlier_versions(here):
    alone = hashlib.sha256((here / "plain.py").read_bytes()).hexdigest()[:16]
    assert sources.source_digest("plain:make", "--model") == alone
    assert sources.function_digests(["plain:make", 3], "--set") == {"plain:make": alone}


def test_a_function_that_was_made_elsewhere_is_known_by_the_module_that_names_it_too(here):
    """functools.partial belongs to functools, and a name may come from another module."""
    for name, edited in (("plain:part", "plain.py"), ("other:make", "other.py"), ("other:make", "plain.py")):
        before = sources.source_digest(name, "--model")
        (here / edited).write_text((here / edited).read_text() + "\n# edited\n")
        assert sources.source_digest(name, "--model") != before, (name, edited)


def test_a_function_without_source_is_refused(here):
    with pytest.raises(UsageError, match="has no Python source"):
        sources.source_digest("math:sqrt", "--model")


def test_a_trial_does_not_run_with_another_source_than_it_was_planned_with(here):
    digest = sources.source_digest("kit.nets:make", "--model")
    alone = hashlib.sha256((here / "kit/nets.py").read_bytes()).hexdigest()[:16]
    for known in (digest, alone, ""):
        sources.unchanged("kit.nets:make", known, "--model")
    (here / "kit/sizes.py").write_text("WIDTH = 4\n")
    with pytest.raises(UsageError, match=r"--model kit.nets:make was edited since .*; --resume --retry-failed"):
        sources.unchanged("kit.nets:make", digest, "--model")
    stages = (Load(test_size=40), Build(model="kit.nets:make", source=digest))
    with pytest.raises(UsageError, match="was edited since this trial was planned"):
        list(run(Trial(seed=0, stages=stages, measures=())))
