"""What the processor is good at; without torch until it is asked."""


def has_bfloat16() -> bool:
    """Return whether the processor multiplies matrices of bfloat16 itself."""
    import torch

    known = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
