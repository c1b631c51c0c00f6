"""How a user's file gets into the store: by reflink, hard link or copy, and always verified."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from modelfiles.store.blobs import Blob, BlobFolder, StagedBlob, hash_file
from tests.modelfiles.user_files import Folder


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    path = tmp_path / "staging"
    path.mkdir()
    return path


def blob_folder(tmp_path: Path, link_from_bytes: int) -> BlobFolder:
    (tmp_path / "blobs").mkdir(exist_ok=True)
    return BlobFolder(tmp_path / "blobs", link_from_bytes)


def add(blobs: BlobFolder, source: Path, staging: Path) -> Path:
    staged = blobs.stage(source, staging, lambda n_bytes: None)
    blobs.adopt(staged)
    assert list(staging.iterdir()) == []
    return blobs.path_of(staged.blob)


def test_a_blob_is_named_by_the_hash_of_its_content(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    source = folder.gguf("a.gguf")
    place = add(blob_folder(tmp_path, 1000), source, staging)
    assert place.name == "sha256-" + hashlib.sha256(source.read_bytes()).hexdigest()
    assert place.read_bytes() == source.read_bytes()
    assert hash_file(source) == Blob(place.name.replace("-", ":"), source.stat().st_size)


def test_small_files_are_copied_and_read_only(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    source = folder.gguf("a.gguf")
    place = add(blob_folder(tmp_path, 1000), source, staging)
    assert not place.samefile(source)
    assert place.stat().st_mode & 0o222 == 0
    source.write_bytes(b"GGUFother")
    assert place.read_bytes() == b"GGUFa.gguf"


def test_large_files_cost_no_second_copy(folder: Folder, tmp_path: Path, staging: Path) -> None:
    source = folder.gguf("a.gguf")
    mode = source.stat().st_mode
    blobs = blob_folder(tmp_path, link_from_bytes=1)
    place = add(blobs, source, staging)
    # On a file system that clones, a clone is better than a link and costs nothing either.
    is_linked = place.samefile(source)
    assert is_linked or place.stat().st_mode & 0o222 == 0
    assert source.stat().st_mode == mode, "the user's own file must keep its mode"
    assert add(blobs, source, staging) == place


def test_a_symbolic_link_is_followed(folder: Folder, tmp_path: Path, staging: Path) -> None:
    source = folder.gguf("a.gguf")
    (folder.path / "link.gguf").symlink_to(source)
    place = add(blob_folder(tmp_path, 1), folder.path / "link.gguf", staging)
    assert not place.is_symlink()
    assert place.read_bytes() == source.read_bytes()


def test_a_known_content_is_not_written_again(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    blobs = blob_folder(tmp_path, 1000)
    place = add(blobs, folder.gguf("a.gguf", "same"), staging)
    staged = blobs.stage(folder.gguf("b.gguf", "same"), staging, lambda n_bytes: None)
    assert staged.path.samefile(place)


def test_a_blob_that_was_changed_is_replaced_by_the_true_content(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    blobs = blob_folder(tmp_path, 1000)
    source = folder.gguf("a.gguf")
    place = add(blobs, source, staging)
    place.chmod(0o644)
    place.write_bytes(b"XXXXXXXXXX")
    assert place.stat().st_size == source.stat().st_size
    assert add(blobs, source, staging) == place
    assert place.read_bytes() == source.read_bytes()


def test_a_blob_given_as_source_is_taken_as_it_is(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    blobs = blob_folder(tmp_path, 1000)
    place = add(blobs, folder.gguf("a.gguf"), staging)
    staged = blobs.stage(place, staging, lambda n_bytes: None)
    place.unlink()
    blobs.adopt(staged)
    assert place.read_bytes() == b"GGUFa.gguf"


def test_a_linked_blob_that_is_edited_in_place_is_noticed(folder: Folder, tmp_path: Path) -> None:
    blobs = blob_folder(tmp_path, 1)
    source = folder.gguf("a.gguf")
    blob = hash_file(source)
    os.link(source, blobs.path_of(blob))
    since_ns = source.stat().st_mtime_ns
    assert blobs.is_intact(blob, since_ns)
    source.write_bytes(b"GGUFb.gguf")
    os.utime(source, ns=(since_ns + 1, since_ns + 1))
    assert not blobs.is_intact(blob, since_ns)


def test_a_blob_of_another_size_is_noticed_whatever_its_time_says(
    folder: Folder, tmp_path: Path, staging: Path
) -> None:
    blobs = blob_folder(tmp_path, 1000)
    place = add(blobs, folder.gguf("a.gguf"), staging)
    blob = hash_file(place)
    place.chmod(0o644)
    place.write_bytes(b"GGUF")
    os.utime(place, ns=(0, 0))
    assert not blobs.is_intact(blob, since_ns=1)
    place.unlink()
    assert not blobs.is_intact(blob, since_ns=1)


def test_only_unused_blobs_are_removed(folder: Folder, tmp_path: Path, staging: Path) -> None:
    blobs = blob_folder(tmp_path, 1000)
    kept, dropped = (add(blobs, folder.gguf(f"{n}.gguf"), staging) for n in "ab")
    blobs.remove_all_but({kept.name})
    assert kept.exists()
    assert not dropped.exists()


def test_adopting_two_names_of_one_file_leaves_one(folder: Folder, tmp_path: Path) -> None:
    blobs = blob_folder(tmp_path, 1000)
    source = folder.gguf("a.gguf")
    blob = hash_file(source)
    os.link(source, blobs.path_of(blob))
    os.link(source, tmp_path / "temporary")
    blobs.adopt(StagedBlob(blob, tmp_path / "temporary"))
    assert not (tmp_path / "temporary").exists()
    assert blobs.path_of(blob).exists()
