"""Codes in language models of Hugging Face transformers; needs the extra ``hf``.

`add_to` gives a model tokens for codes, `CodeLogitsProcessor` and `prefix_allowed_tokens_fn` keep
what it generates to items of the catalogue.
"""

from semantic_ids.interop.generation import CodeLogitsProcessor, prefix_allowed_tokens_fn
from semantic_ids.interop.model_tokens import CodeTokens, add_to

__all__ = ["CodeLogitsProcessor", "CodeTokens", "add_to", "prefix_allowed_tokens_fn"]
