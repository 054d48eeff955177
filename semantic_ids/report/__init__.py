"""Report: one self-contained HTML page about a tokenizer, and its plots for notebooks."""

from semantic_ids.report.plots import (
    plot_buckets,
    plot_entropy,
    plot_errors,
    plot_map,
    plot_utilisation,
)

__all__ = ["plot_buckets", "plot_entropy", "plot_errors", "plot_map", "plot_utilisation"]
