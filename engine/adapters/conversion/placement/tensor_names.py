"""Map module names of transformers models to GGUF tensor names.

The names are the same for most architectures; `architectures` has the differences. Source:
llama.cpp's `gguf-py/gguf/tensor_mapping.py`, only matrices that a LoRA pair can act on.
"""

from __future__ import annotations

from typing import Final

LAYER_LISTS: Final = """
    model.layers layers model.model.layers model.language_model.layers language_model.layers
    language_model.model.layers model.text_model.layers text_model.layers transformer.h h
    gpt_neox.layers transformer.blocks blocks model.layers.layers backbone.layers
    transformer.encoder.layers encoder.layers transformer.layers model.transformer.blocks
    model.layers.h model.h llm.model.layers transformer.decoder_layer model.backbone.layers
    """
"""Paths before the layer number, separated by spaces."""

WHOLE_MODEL: Final = {
    "token_embd": """
        model.embed_tokens embed_tokens model.language_model.embed_tokens
        language_model.model.embed_tokens language_model.embed_tokens
        model.text_model.embed_tokens transformer.wte model.wte wte llm.model.embed_tokens
        gpt_neox.embed_in transformer.word_embeddings word_embeddings model.word_embeddings
        transformer.embedding.word_embeddings embedding.word_embeddings model.tok_embeddings
        tok_embeddings transformer.embd.wte transformer.token_embeddings model.transformer.wte
        backbone.embeddings backbone.embedding model.embedding transformer.in_out_embed
        model.embeddings
        """,
    "output": """
        lm_head language_model.lm_head model.lm_head llm.lm_head embed_out output
        transformer.output_layer output_layer model.transformer.ff_out lm_head.linear
        """,
    "per_layer_model_proj": """
        model.per_layer_model_projection model.language_model.per_layer_model_projection
        """,
}
"""For tensors outside the layers, all module paths."""

IN_LAYER: Final = {
    "attn_q": """
        self_attn.q_proj attention.q_proj attn.q_proj attn.attention.q_proj attention.wq q_proj
        mixer.q_proj attn.q multi_head_attention.query
        """,
    "attn_k": """
        self_attn.k_proj attention.k_proj attn.k_proj attn.attention.k_proj attention.wk k_proj
        mixer.k_proj multi_head_attention.key
        """,
    "attn_v": """
        self_attn.v_proj attention.v_proj attn.v_proj attn.attention.v_proj attention.wv v_proj
        mixer.v_proj multi_head_attention.value
        """,
    "attn_qkv": """
        self_attn.qkv_proj self_attn.q_k_v_proj attn.qkv_proj mixer.qkv_proj attn.c_attn attn.Wqkv
        mixer.Wqkv self_attention.query_key_value attention.query_key_value
        self_attn.query_key_value self_attn.language_expert_query_key_value linear_attn.in_proj_qkv
        """,
    "attn_output": """
        self_attn.o_proj self_attn.dense self_attn.out_proj attention.o_proj attention.dense
        attention.wo attn.out_proj attn.c_proj attn.attention.out_proj attn_out
        self_attention.dense self_attn.language_expert_dense mixer.o_proj
        multi_head_attention.linear
        """,
    "attn_gate": """
        self_attn.gate_proj self_attn.linear_gate self_attn.output_gate
        linear_attn.in_proj_z
        """,
    "attn_q_a": "self_attn.q_a_proj attention.q_a_proj",
    "attn_q_b": "self_attn.q_b_proj attention.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa attention.kv_a_proj_with_mqa",
    "attn_kv_b": "self_attn.kv_b_proj attention.kv_b_proj",
    "indexer.attn_k": "self_attn.indexer.wk",
    "indexer.attn_q_b": "self_attn.indexer.wq_b",
    "indexer.proj": "self_attn.indexer.weights_proj",
    "ffn_gate": """
        mlp.gate_proj mlp.language_mlp.gate_proj feed_forward.gate_proj feed_forward.w1 mlp.c_fc_0
        mlp.w2 mlp.c_fc2 ff_proj mlp.linear_1 residual_mlp.w1
        """,
    "ffn_up": """
        mlp.up_proj mlp.language_mlp.up_proj feed_forward.up_proj feed_forward.w3 mlp.c_fc
        mlp.c_fc_1 mlp.fc1 mlp.w1 mlp.dense_h_to_4h mlp.gate_up_proj ffn.up_proj up_proj
        mixer.up_proj block_sparse_moe.up mlp.linear_3 residual_mlp.w3
        """,
    "ffn_down": """
        mlp.down_proj mlp.language_mlp.down_proj feed_forward.down_proj feed_forward.w2 mlp.c_proj
        mlp.fc2 mlp.dense_4h_to_h ffn.down_proj ff_out mixer.down_proj residual_mlp.w2 ffn.proj_2
        block_sparse_moe.down
        """,
    "ffn_gate_inp": """
        mlp.gate mlp.gate.wg mlp.router mlp.router.gate block_sparse_moe.gate
        block_sparse_moe.router block_sparse_moe.router.layer block_sparse_moe.primary_router
        feed_forward.router feed_forward.gate mixer.gate router.proj router moe.gate
        """,
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate",
    "ffn_gate_shexp": """
        mlp.shared_expert.gate_proj mlp.shared_experts.gate_proj mlp.shared_mlp.gate_proj
        feed_forward.shared_expert.gate_proj block_sparse_moe.shared_experts.gate_proj
        share_expert.gate_proj
        """,
    "ffn_up_shexp": """
        mlp.shared_expert.up_proj mlp.shared_experts.up_proj mlp.shared_mlp.up_proj
        feed_forward.shared_expert.up_proj block_sparse_moe.shared_experts.up_proj
        share_expert.up_proj mixer.shared_experts.up_proj
        """,
    "ffn_down_shexp": """
        mlp.shared_expert.down_proj mlp.shared_experts.down_proj mlp.shared_mlp.down_proj
        feed_forward.shared_expert.down_proj block_sparse_moe.shared_experts.down_proj
        share_expert.down_proj mixer.shared_experts.down_proj shared_mlp.output_linear
        """,
    "ssm_in": "mamba.in_proj mixer.in_proj in_proj",
    "ssm_x": "mamba.x_proj mixer.x_proj mixer.bcdt_proj x_proj",
    "ssm_dt": "mamba.dt_proj mixer.dt_proj dt_proj",
    "ssm_out": "mamba.out_proj mixer.out_proj out_proj linear_attn.out_proj",
    "ssm_alpha": "linear_attn.in_proj_a",
    "ssm_beta": "linear_attn.in_proj_b self_attn.b_proj",
    "ssm_ba": "linear_attn.in_proj_ba",
    "ssm_f_a": "self_attn.f_a_proj self_attn.forget_gate.f_a_proj",
    "ssm_f_b": "self_attn.f_b_proj self_attn.forget_gate.f_b_proj",
    "ssm_g_a": "self_attn.g_a_proj",
    "ssm_g_b": "self_attn.g_b_proj",
    "shortconv.in_proj": "conv.in_proj",
    "shortconv.out_proj": "conv.out_proj",
    "inp_gate": "per_layer_input_gate",
    "proj": "per_layer_projection",
    "laurel_l": "laurel.linear_left",
    "laurel_r": "laurel.linear_right",
}
"""For tensors in a layer, the module paths after the layer number."""

EXPERT_LISTS: Final = (
    *("mlp.experts", "block_sparse_moe.experts", "block_sparse_moe", "feed_forward.experts"),
    *("mixer.experts", "moe.experts", "experts", "moe"),
)
"""Paths of a layer's experts: one module each, as in `mlp.experts.3.up_proj`, or all in one."""

IN_EXPERT: Final = {
    "ffn_gate_exps": "gate_proj w1 gate linear",
    "ffn_up_exps": "up_proj w3 up linear_v",
    "ffn_down_exps": "down_proj w2 down linear_1 output_linear",
    "ffn_gate_up_exps": "gate_up_proj input_linear",
}
"""For an expert's matrices, the path after the expert's index, or the parameter of all experts."""

SPLIT: Final = {
    "attn_qkv": ("attn_q", "attn_k", "attn_v"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
}
"""Tensors that concatenate the rows of several others. A base has either form, regardless of the
source model's (`--fuse-qkv` and `--fuse-gate-up-exps`)."""

GATED: Final = ("ffn_gate", "ffn_up")
"""Tensors whose rows some bases concatenate in one that is named ffn_up (phi3, chatglm, glm4,
plamo2): `LLM_FFN_SWIGLU` and `LLM_FFN_GEGLU` of llama.cpp take its first half for the gate."""
