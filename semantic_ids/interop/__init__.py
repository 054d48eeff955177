"""Formats and hooks of other projects.

Here are the files; `semantic_ids.interop.hugging_face` (extra ``hf``) and
`semantic_ids.interop.scikit_learn` are imported by their names, for they import those libraries.
"""

from semantic_ids.interop.formats import export, read_codes
from semantic_ids.interop.index_json import read_index_json, write_index_json
from semantic_ids.interop.npy import read_npy, write_npy
from semantic_ids.interop.parquet import read_parquet, write_parquet
from semantic_ids.interop.recbole import (
    InterFile,
    read_recbole_inter,
    read_recbole_item,
    write_recbole_inter,
    write_recbole_item,
)
from semantic_ids.interop.table import CodeTable

__all__ = [
    "CodeTable",
    "InterFile",
    "export",
    "read_codes",
    "read_index_json",
    "read_npy",
    "read_parquet",
    "read_recbole_inter",
    "read_recbole_item",
    "write_index_json",
    "write_npy",
    "write_parquet",
    "write_recbole_inter",
    "write_recbole_item",
]
