"""Files and folders that the tests of models start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.library import Library
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels
from tests.modelfiles.user_files import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "user"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def package(tmp_path: Path) -> PackagedModels:
    """A packaged model `demo` with one adapter at scale 0."""
    folder = Folder(tmp_path / "package")
    folder.gguf("base.gguf", "packaged base")
    folder.gguf("pirate.gguf", "packaged pirate")
    folder.modelfile("FROM ./base.gguf\nADAPTER ./pirate.gguf scale=0\nSYSTEM Be brief.\n")
    return PackagedModels({"demo": folder.path})


@pytest.fixture
def store(home: Path, package: PackagedModels) -> ModelStore:
    return ModelStore(home, package)


@pytest.fixture
def library(home: Path, package: PackagedModels) -> Library:
    return Library(home, package)
