"""References to the Hugging Face Hub: how they can be written, and which are refused."""

from __future__ import annotations

import pytest

from modelfiles.references.hub import HubReference


@pytest.mark.parametrize(
    ("text", "repo", "choice"),
    [
        ("hf.co/user/Repo-GGUF", "user/Repo-GGUF", None),
        ("hf.co/user/repo:Q4_K_M", "user/repo", "Q4_K_M"),
        ("hf.co/user/repo:latest", "user/repo", None),
        ("HF.co/user/repo:", "user/repo", None),
        ("huggingface.co/user/repo/", "user/repo", None),
        ("https://huggingface.co/user/repo", "user/repo", None),
        ("http://hf.co/user/repo:q8_0", "user/repo", "q8_0"),
        ("hf://user/repo:sub/file.gguf", "user/repo", "sub/file.gguf"),
        (
            "https://huggingface.co/user/repo/blob/main/a/b-Q4_0.gguf?download=true",
            "user/repo",
            "a/b-Q4_0.gguf",
        ),
        ("https://huggingface.co/user/repo/resolve/main/b.gguf", "user/repo", "b.gguf"),
        ("https://huggingface.co/user/repo/tree/main", "user/repo", None),
        ("https://huggingface.co/user/repo/tree/main/", "user/repo", None),
        ("https://huggingface.co/user/repo/tree/main/sub/folder", "user/repo", "sub/folder"),
    ],
)
def test_every_way_to_write_a_repository(text: str, repo: str, choice: str | None) -> None:
    assert HubReference.parse(text, "model") == HubReference(repo, choice, "model")


@pytest.mark.parametrize("text", ["llama3.2", "user/repo", "hf.company/a/b", "./hf.co/a/b", ""])
def test_other_references_are_none(text: str) -> None:
    assert HubReference.parse(text, "model") is None


@pytest.mark.parametrize(
    "text",
    [
        "hf.co/",
        "hf.co/user",
        "hf.co/a/b/c",
        "hf.co/../b",
        "hf.co/a/b..c",
        "hf.co/a b/c",
        "hf.co/a/",
    ],
)
def test_what_begins_like_a_repository_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no repository of the Hugging Face Hub; write hf"):
        HubReference.parse(text, "adapter")
