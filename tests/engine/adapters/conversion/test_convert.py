"""PEFT folders converted for tiny bases: the deltas against numpy, and whole files or none."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.adapters.checking.check import require_fit
from engine.adapters.conversion.convert import Conversion, convert
from engine.adapters.conversion.converted_file import is_intact
from engine.adapters.conversion.identity import base_fingerprint
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.conversion.placement.plan import Plan
from engine.adapters.foreign.read import read_source
from engine.adapters.inspection.inspect import inspect
from engine.adapters.read import read_adapter
from engine.errors import AdapterError, Cancelled, EngineError
from engine.gguf.header import read_header
from engine.gguf.model_header import require_base
from engine.gguf.weights import WeightFile
from engine.llama.adapter import LoraAdapter
from engine.llama.model import Model
from tests.support.architecture_references import reference
from tests.support.peft_folders import Dtype, pair, write_peft
from tests.support.tiny_models import HEAD_SIZE, N_EMBD, N_FF, N_HEAD, N_HEAD_KV, write_base

Array = NDArray[Any]
ALPHA, R = 16.0, 8
ATTENTION, MLP = "model.layers.{}.self_attn.{}_proj", "model.layers.{}.mlp.{}_proj"
SHAPES = {
    "q": (ATTENTION, "attn_q", N_EMBD, N_EMBD),
    "k": (ATTENTION, "attn_k", N_HEAD_KV * HEAD_SIZE, N_EMBD),
    "v": (ATTENTION, "attn_v", N_HEAD_KV * HEAD_SIZE, N_EMBD),
    "o": (ATTENTION, "attn_output", N_EMBD, N_EMBD),
    "gate": (MLP, "ffn_gate", N_FF, N_EMBD),
    "up": (MLP, "ffn_up", N_FF, N_EMBD),
    "down": (MLP, "ffn_down", N_EMBD, N_FF),
}
N_HEADS = {"q": N_HEAD, "k": N_HEAD_KV}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base.gguf")


def modules_of(*names: str, ranks: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return random pairs in PEFT's orientation, by the module's path, for both layers."""
    pairs = {}
    for layer in range(2):
        for place, name in enumerate(names or SHAPES):
            path, _, n_out, n_in = SHAPES[name]
            rank = (ranks or {}).get(name, R)
            pairs[path.format(layer, name)] = pair(n_out, n_in, rank, seed=10 * layer + place)
    return pairs


def written(folder: Path, **options: Any) -> Path:
    modules = options.pop("modules", None) or modules_of()
    return write_peft(folder, modules, **{"alpha": ALPHA, "r": R, **options})


def in_gguf_order(b: Array, name: str) -> Array:
    """Return rows of q and k as llama.cpp wants them: the two halves of a head interleaved."""
    if name not in N_HEADS:
        return b
    n_heads = N_HEADS[name]
    halves = b.reshape(n_heads, 2, b.shape[0] // n_heads // 2, b.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(b.shape))


def stored(path: Path) -> dict[str, Array]:
    header = read_header(path)
    with WeightFile(header) as file:
        return {name: file.values(tensor) for name, tensor in header.tensors.items()}


def expected_b(folder_modules: dict[str, Any], layer: int, name: str) -> Array:
    path = SHAPES[name][0].format(layer, name)
    return in_gguf_order(folder_modules[path][1], name)


def require_deltas(out: Path, modules: dict[str, Any], scales: Mapping[str, float]) -> None:
    """Require A as it was, and B such that llama.cpp's alpha / rank gives the scale to 2**-24."""
    alpha = read_header(out).number("adapter.lora.alpha") or 0.0
    tensors = stored(out)
    assert len(tensors) == 2 * len(modules)
    for layer in range(2):
        for name, (path, target, _, _) in SHAPES.items():
            if path.format(layer, name) not in modules:
                continue
            a, _ = modules[path.format(layer, name)]
            b = expected_b(modules, layer, name)
            key = f"blk.{layer}.{target}.weight"
            np.testing.assert_array_equal(tensors[f"{key}.lora_a"], a)
            got = tensors[f"{key}.lora_b"].astype(np.float64) * alpha / b.shape[1]
            np.testing.assert_allclose(got, b.astype(np.float64) * scales[name], rtol=2.0**-23)


def test_every_pair_is_there_bit_by_bit_in_the_order_of_llama_cpp(
    tmp_path: Path, base: Path
) -> None:
    modules = modules_of()
    folder = written(tmp_path / "style", modules=modules)
    made = convert(folder, base, tmp_path / "style.gguf")
    tensors = stored(made.path)
    for layer in range(2):
        for name, (path, target, _, _) in SHAPES.items():
            a, _ = modules[path.format(layer, name)]
            key = f"blk.{layer}.{target}.weight"
            np.testing.assert_array_equal(tensors[f"{key}.lora_a"], a)
            np.testing.assert_array_equal(
                tensors[f"{key}.lora_b"], expected_b(modules, layer, name)
            )
    assert len(tensors) == 2 * made.n_pairs == 28
    assert (made.alpha, made.ranks, made.n_folded) == (16.0, (8,), 0)
    assert made.types == {"F32": 28}
    assert made.size_bytes == made.path.stat().st_size


def test_the_file_is_an_adapter_that_llama_cpp_loads(tmp_path: Path, base: Path) -> None:
    made = convert(written(tmp_path / "style"), base, tmp_path / "style.gguf")
    require_fit(made.path, base)
    adapter = read_adapter(made.path)
    assert (adapter.name, adapter.alpha, adapter.n_targets) == ("style", 16.0, 14)
    with Model(base) as model, LoraAdapter(model, made.path):
        pass


def test_rslora_of_one_rank_keeps_every_bit(tmp_path: Path, base: Path) -> None:
    modules = modules_of()
    folder = written(tmp_path / "x", modules=modules, config={"use_rslora": True})
    made = convert(folder, base, tmp_path / "x.gguf")
    assert made.alpha == pytest.approx(ALPHA * math.sqrt(R), rel=2**-24)
    assert made.n_folded == 0
    np.testing.assert_array_equal(
        stored(made.path)["blk.0.attn_q.weight.lora_b"], expected_b(modules, 0, "q")
    )
    require_deltas(made.path, modules, dict.fromkeys(SHAPES, ALPHA / math.sqrt(R)))


def test_patterns_of_ranks_and_alphas_are_exact(tmp_path: Path, base: Path) -> None:
    ranks = {"q": 4, "down": 24}
    alphas = {"v": 7.0, "up": 0.3}
    modules = modules_of(ranks=ranks)
    config = {
        "use_rslora": True,
        "rank_pattern": {f"{name}_proj": rank for name, rank in ranks.items()},
        "alpha_pattern": {f"{name}_proj": alpha for name, alpha in alphas.items()},
    }
    folder = written(tmp_path / "x", modules=modules, config=config)
    made = convert(folder, base, tmp_path / "x.gguf")
    scales = {n: alphas.get(n, ALPHA) / math.sqrt(ranks.get(n, R)) for n in SHAPES}
    require_deltas(made.path, modules, scales)
    assert made.ranks == (4, 8, 24)
    assert made.n_folded == 8  # q, down, v and up of two layers


@pytest.mark.parametrize(
    ("dtype", "types"), [("f16", {"F16": 28}), ("bf16", {"F16": 28}), ("f32", {"F32": 28})]
)
def test_auto_keeps_the_precision_of_the_source(
    tmp_path: Path, base: Path, dtype: Dtype, types: dict[str, int]
) -> None:
    modules = modules_of()
    made = convert(written(tmp_path / "x", modules=modules, dtype=dtype), base, tmp_path / "x.gguf")
    assert made.types == types
    require_deltas(made.path, modules, dict.fromkeys(SHAPES, ALPHA / R))


def test_a_folded_b_that_f16_cannot_hold_becomes_f32(tmp_path: Path, base: Path) -> None:
    modules = modules_of()
    folder = written(
        tmp_path / "x", modules=modules, dtype="f16", config={"alpha_pattern": {"v_proj": 7.3}}
    )
    made = convert(folder, base, tmp_path / "x.gguf")
    assert made.types == {"F16": 26, "F32": 2}
    require_deltas(made.path, modules, {**dict.fromkeys(SHAPES, 2.0), "v": 7.3 / 8})


def test_q8_0_is_that_of_llama_cpp_and_narrow_rows_become_f16(tmp_path: Path, base: Path) -> None:
    modules = modules_of()
    made = convert(
        written(tmp_path / "x", modules=modules), base, tmp_path / "x.gguf", out_type="q8_0"
    )
    assert made.types == {"Q8_0": 14, "F16": 14}
    tensors = {t.name: t for t in gguf.GGUFReader(made.path).tensors}
    a, _ = modules["model.layers.1.mlp.down_proj"]
    wanted = gguf.quants.quantize(a, gguf.GGMLQuantizationType.Q8_0)
    np.testing.assert_array_equal(tensors["blk.1.ffn_down.weight.lora_a"].data, wanted)


def test_the_metadata_says_what_came_from_where(tmp_path: Path, base: Path) -> None:
    made = convert(written(tmp_path / "style"), base, tmp_path / "out.gguf")
    fields = {k: f.contents() for k, f in gguf.GGUFReader(made.path).fields.items()}
    source = read_source(tmp_path / "style")
    wanted = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 16.0,
        "general.name": "style",
        "general.base_model.count": 1,
        "general.base_model.0.name": "tiny",
        "general.base_model.0.organization": "example",
        "general.base_model.0.repo_url": "https://huggingface.co/example/tiny",
        "general.quantization_version": 2,
        "lora_tui.convert.version": 1,
        "lora_tui.convert.source_sha256": source.sha256,
        "lora_tui.convert.base_name": "Tiny",
        "lora_tui.convert.base_fingerprint": base_fingerprint(require_base(base)),
    }
    assert wanted.items() <= fields.items()
    assert "adapter.alora.invocation_tokens" not in fields


def test_an_adapter_that_was_never_trained_is_told(tmp_path: Path, base: Path) -> None:
    modules = {path: (a, np.zeros_like(b)) for path, (a, b) in modules_of().items()}
    made = convert(written(tmp_path / "x", modules=modules), base, tmp_path / "x.gguf")
    assert made.notices == (
        "The adapter changes nothing: its B factors are zero, as before any training.",
    )
    modules["model.layers.1.mlp.down_proj"][1][0, 0] = 1.0
    written(tmp_path / "x", modules=modules)
    assert convert(tmp_path / "x", base, tmp_path / "x.gguf").notices == ()


def test_what_llama_cpp_ignores_is_told_as_an_inspection_tells_it(tmp_path: Path) -> None:
    stored = reference("deepseek2")
    made = convert(stored.folder / "plain", stored.base, tmp_path / "out.gguf")
    inspected = inspect(made.path, base=require_base(stored.base))
    assert made.notices == inspected.notices
    assert "Only 11 of the adapter's 21 tensors take effect" in made.notices[0]


def test_invocation_tokens_and_a_name_are_kept(tmp_path: Path, base: Path) -> None:
    folder = written(tmp_path / "x", config={"alora_invocation_tokens": [3, 1, 4]})
    made = convert(folder, base, tmp_path / "x.gguf", name="My \x1b[31mName")
    adapter = read_adapter(made.path)
    assert adapter.invocation_tokens == (3, 1, 4)
    assert made.name == "My [31mName"


def test_the_digest_of_a_base_in_a_store_is_its_name(tmp_path: Path, base: Path) -> None:
    blob = tmp_path / f"sha256-{'ab' * 32}"
    blob.write_bytes(base.read_bytes())
    made = convert(written(tmp_path / "x"), blob, tmp_path / "x.gguf")
    assert read_header(made.path).text("lora_tui.convert.base_sha256") == "ab" * 32


def test_quantisations_of_a_model_share_a_fingerprint_and_other_models_do_not(
    tmp_path: Path, base: Path
) -> None:
    def fingerprint(**options: Any) -> str:
        return base_fingerprint(require_base(write_base(tmp_path / "other.gguf", **options)))

    ours = base_fingerprint(require_base(base))
    assert fingerprint(dtype="q8_0") == ours
    assert fingerprint(name="Other") != ours
    assert fingerprint(n_ctx_train=64) != ours
    assert fingerprint(is_tied=True) != ours
    header = require_base(base)
    name, tensor = next(iter(header.tensors.items()))
    wider = {**header.tensors, name: replace(tensor, shape=(*tensor.shape[:-1], 7))}
    assert base_fingerprint(replace(header, tensors=wider)) != ours


def test_equal_arguments_write_equal_bytes(tmp_path: Path, base: Path) -> None:
    folder = written(tmp_path / "x")
    first = convert(folder, base, tmp_path / "1.gguf").path
    assert convert(folder, base, tmp_path / "2.gguf").path.read_bytes() == first.read_bytes()


def test_progress_reaches_one(tmp_path: Path, base: Path) -> None:
    fractions: list[float] = []
    convert(written(tmp_path / "x"), base, tmp_path / "x.gguf", on_progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) == 14


@pytest.mark.parametrize("n_asked", [0, 3, 14])
def test_a_cancelled_conversion_leaves_nothing(tmp_path: Path, base: Path, n_asked: int) -> None:
    folder = written(tmp_path / "x")
    out = tmp_path / "out"
    out.mkdir()
    asked = iter([False] * n_asked + [True])
    with pytest.raises(Cancelled):
        convert(folder, base, out / "x.gguf", is_cancelled=lambda: next(asked))
    assert list(out.iterdir()) == []


def test_a_failed_conversion_leaves_the_older_file(tmp_path: Path, base: Path) -> None:
    modules = modules_of()
    modules["model.layers.1.mlp.down_proj"][1][3, 2] = np.nan
    folder = written(tmp_path / "x", modules=modules)
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.gguf").write_bytes(b"older")
    with pytest.raises(
        AdapterError, match=r"NaN or infinity in .*layers\.1\.mlp\.down_proj\.lora_B"
    ):
        convert(folder, base, out / "x.gguf")
    assert [path.name for path in out.iterdir()] == ["x.gguf"]
    assert (out / "x.gguf").read_bytes() == b"older"


def test_a_source_that_is_cut_short_meanwhile_is_an_error(tmp_path: Path, base: Path) -> None:
    folder = written(tmp_path / "x")
    source = read_source(folder)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(EngineError):
        convert(source, base, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_a_scale_that_drives_weights_out_of_range_is_an_error(tmp_path: Path, base: Path) -> None:
    modules = modules_of("q", "k", "v")
    modules["model.layers.0.self_attn.v_proj"][1][...] *= 1e5
    source = read_source(written(tmp_path / "x", modules=modules))
    strong = replace(
        source,
        modules=tuple(
            replace(m, scale=1e36) if "0.self_attn.v" in m.path else m for m in source.modules
        ),
    )
    with pytest.raises(AdapterError, match="lora_alpha"):
        convert(strong, base, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_an_adapter_that_llama_cpp_would_abort_on_is_not_written(tmp_path: Path) -> None:
    tied = write_base(tmp_path / "tied.gguf", is_tied=True)
    n_vocab = read_header(tied).tensors["token_embd.weight"].ne[1]
    folder = written(
        tmp_path / "x", modules={"model.embed_tokens": pair(N_EMBD, n_vocab, R), **modules_of("q")}
    )
    with pytest.raises(AdapterError, match="embed"):
        convert(folder, tied, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_a_plan_that_would_not_load_is_not_written(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_plan(*arguments: Any) -> Plan:
        first, *others = make_plan(*arguments).pairs
        return Plan((replace(first, target="blk.9.attn_q.weight"), *others))

    monkeypatch.setattr("engine.adapters.conversion.convert.make_plan", wrong_plan)
    folder = written(tmp_path / "x")
    with pytest.raises(
        AdapterError, match=r"'blk\.9\.attn_q\.weight', absent in the base"
    ) as caught:
        convert(folder, base, tmp_path / "x.gguf")
    assert str(folder) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_ctrl_c_leaves_nothing(tmp_path: Path, base: Path) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    folder = written(tmp_path / "x")
    with pytest.raises(KeyboardInterrupt):
        convert(folder, base, tmp_path / "x.gguf", on_progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_wrong_base_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    base = write_base(tmp_path / "small.gguf", n_layer=1)
    with pytest.raises(AdapterError) as caught:
        convert(written(tmp_path / "x"), base, tmp_path / "x.gguf")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.gguf").exists()


def test_a_source_without_modules_is_an_error(tmp_path: Path, base: Path) -> None:
    source = replace(read_source(written(tmp_path / "x")), modules=())
    with pytest.raises(AdapterError):
        convert(source, base, tmp_path / "x.gguf")


def test_memory_is_that_of_a_pair(tmp_path: Path) -> None:
    base = write_base(tmp_path / "deep.gguf", n_layer=24)
    rank = 512
    modules = {
        MLP.format(layer, "down"): pair(N_EMBD, N_FF, rank, seed=layer) for layer in range(24)
    }
    pair_bytes = 4 * rank * (N_EMBD + N_FF)
    folder = written(tmp_path / "x", modules=modules, r=rank, alpha=1)
    tracemalloc.start()
    try:
        made: Conversion = convert(folder, base, tmp_path / "x.gguf")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.size_bytes > 24 * pair_bytes
    assert peak_bytes < 8 * pair_bytes


@pytest.mark.parametrize("place", [0.001, 0.2, 0.6, 0.999])
def test_a_flipped_bit_is_noticed(tmp_path: Path, base: Path, place: float) -> None:
    path = convert(written(tmp_path / "x"), base, tmp_path / "x.gguf").path
    assert is_intact(path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)
    assert not is_intact(path)


def test_a_file_that_is_short_or_of_another_kind_is_not_intact(tmp_path: Path, base: Path) -> None:
    path = convert(written(tmp_path / "x"), base, tmp_path / "x.gguf").path
    path.write_bytes(path.read_bytes()[:-40])
    assert not is_intact(path)
    assert not is_intact(base)
    assert not is_intact(tmp_path / "absent.gguf")
