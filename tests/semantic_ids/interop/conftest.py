"""Tokenizers of four kinds and tiny models of transformers, made here: nothing is downloaded."""

import pytest

WORDS = ("<pad>", "</s>", "<unk>", "i", "bought", "then", "next", ":")
NAMES = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}


def whole_words(names):
    """Words between spaces, in small letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocab = {word: number for number, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.normalizer = normalizers.Lowercase()
    return fast(backend, names)


def byte_pairs(names):
    """Pairs of bytes, as GPT-2, Llama 3 and Qwen have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=list(WORDS[:3]),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([" ".join(WORDS[3:])] * 3, trainer)
    return fast(backend, names)


def unigrams(names):
    """Pieces that hold the space before them, as T5 has them."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = [(word, 0.0) for word in WORDS[:3]] + [(f"▁{word}", -1.0) for word in WORDS[3:]]
    pieces += [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz_<>0123456789"]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.normalizer = normalizers.NFKC()
    return fast(backend, names)


def fast(backend, names):
    import transformers

    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, padding_side="left", **names
    )


def slow(names):
    """Words between spaces, by a class of Python alone."""
    import transformers

    class SlowTokenizer(transformers.PreTrainedTokenizer):
        vocab_size = len(WORDS)

        def get_vocab(self):
            words = {word: number for number, word in enumerate(WORDS)}
            return {**words, **self.added_tokens_encoder}

        def _tokenize(self, text, **kwargs):
            return text.lower().split()

        def _convert_token_to_id(self, token):
            return WORDS.index(token if token in WORDS else "<unk>")

        def _convert_id_to_token(self, index):
            return WORDS[index]

        def save_vocabulary(self, save_directory, filename_prefix=None):
            return ()

    return SlowTokenizer(padding_side="left", **names)


KINDS = {"words": whole_words, "bytes": byte_pairs, "unigrams": unigrams, "slow": slow}


@pytest.fixture
def make_words(request):
    """A function that makes a new tokenizer: of words, or of the kind that is a test's param."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    make = KINDS[getattr(request, "param", "words")]
    return lambda **names: make(names or NAMES)


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
