"""llama.cpp's own converters, run from a folder of its source in this process."""

from __future__ import annotations

import hashlib
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = "convert_lora_to_gguf.py"


class LlamaCppSource:
    """A folder of llama.cpp's source.

    Args:
        folder: Where convert_lora_to_gguf.py lies. Its `conversion` and its own `gguf` are
            imported, so this process must not have imported another gguf.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / SCRIPT).is_file():
            raise FileNotFoundError(f"{folder} has no {SCRIPT}: name a folder of llama.cpp")
        self._folder = folder
        sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
        from conversion import ModelBase

        # The tiny models have no layers that predict several tokens; this is what `--no-mtp` sets.
        ModelBase.no_mtp = True

    def write_base(self, model: Path, renamed: Mapping[str, Any], out: Path) -> None:
        """Write the saved model as float32 GGUF without a vocabulary.

        Args:
            model: A folder with config.json and weights.
            renamed: What the converter is to find in the configuration besides.
            out: The file to write.
        """
        import gguf
        from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

        hparams = {**ModelBase.load_hparams(model, False), **renamed}
        parent = get_model_class(get_model_architecture(hparams, ModelType.TEXT))

        class WithoutVocabulary(parent):  # type: ignore[misc, valid-type]  # found at run time
            model_arch = parent.model_arch

            def set_vocab(self) -> None:
                self._set_vocab_none()
                key = gguf.Keys.LLM.VOCAB_SIZE.format(arch=self.gguf_writer.arch)
                if not any(key in shard for shard in self.gguf_writer.kv_data):
                    self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])

        writer = WithoutVocabulary(
            model, gguf.LlamaFileType.ALL_F32, out, hparams=hparams, model_name="Tiny"
        )
        writer.write()

    def convert_adapter(
        self, adapter: Path, model: Path, renamed: Mapping[str, Any], out: Path
    ) -> None:
        """Run convert_lora_to_gguf.py on a PEFT folder; the arguments are as in `write_base`."""
        arguments = ["--base", str(model), "--outtype", "f32", "--outfile", str(out), str(adapter)]
        with _arguments(arguments), _more_hparams(renamed):
            runpy.run_path(str(self._folder / SCRIPT), run_name="__main__")


def hashes_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return shape (numpy's order) and SHA-256 of the bytes of every tensor of a float32 GGUF."""
    import gguf

    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type != gguf.GGMLQuantizationType.F32:
            raise ValueError(f"{tensor.name} of {path} is no float32")
        found[str(tensor.name)] = {
            "shape": [int(n) for n in reversed(tensor.shape)],
            "sha256": hashlib.sha256(tensor.data.tobytes()).hexdigest(),
        }
    return found


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = [SCRIPT, *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _more_hparams(renamed: Mapping[str, Any]) -> Iterator[None]:
    from conversion import ModelBase

    load = ModelBase.load_hparams
    ModelBase.load_hparams = staticmethod(
        lambda folder, is_mistral_format: {**load(folder, is_mistral_format), **renamed}
    )
    try:
        yield
    finally:
        ModelBase.load_hparams = staticmethod(load)
