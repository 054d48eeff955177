"""A tokenizer of words and tiny models of transformers, made here: nothing is downloaded."""

import pytest

WORDS = ("<pad>", "</s>", "<unk>", "i", "bought", "then", "next", ":")


@pytest.fixture
def make_words():
    """A function that makes a new tokenizer of a few words."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")

    def make(**names):
        vocab = {word: number for number, word in enumerate(WORDS)}
        model = tokenizers.models.WordLevel(vocab, unk_token="<unk>")
        backend = tokenizers.Tokenizer(model)
        backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        backend.normalizer = tokenizers.normalizers.Lowercase()
        names = names or {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend, padding_side="left", **names
        )

    return make


@pytest.fixture
def make_model():
    """A function that makes a tiny model of random weights: "t5", "gpt2" or "untied"."""
    transformers = pytest.importorskip("transformers")

    def make(kind, tokens=8):
        transformers.set_seed(0)
        if kind == "t5":
            config = transformers.T5Config(
                **{"vocab_size": tokens, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1},
                **{"num_heads": 2, "decoder_start_token_id": 0, "pad_token_id": 0},
                **{"eos_token_id": 1},
            )
            return transformers.T5ForConditionalGeneration(config).eval()
        config = transformers.GPT2Config(
            **{"vocab_size": tokens, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64},
            **{"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0},
            tie_word_embeddings=kind != "untied",
        )
        return transformers.GPT2LMHeadModel(config).eval()

    return make
