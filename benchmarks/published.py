"""Published figures to stand beside measured ones: leave-one-out, full catalogue.

Sources: for Beauty and Sports the README of phonism/genrec, which quotes and re-runs the papers;
for Instruments and Arts Table 2 of MACRec (AAAI 2026), means of five seeds; for Scientific the
README of MISSRec (arXiv 2308.11175). Other preprocessing or another order of ties is possible.
"""


def _row(*figures: float | None) -> dict[str, float]:
    names = ("hr_1", "hr_5", "hr_10", "ndcg_5", "ndcg_10")
    return {name: figure for name, figure in zip(names, figures, strict=True) if figure is not None}


PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "amazon14_beauty": {
        "SASRec": _row(None, 0.0469, 0.0688, 0.0305, 0.0375),
        "HSTU": _row(None, 0.0486, 0.0708, 0.0340, 0.0412),
        "TIGER (paper)": _row(None, 0.0454, 0.0648, 0.0321, 0.0384),
        "TIGER (re-run)": _row(None, 0.0465, 0.0721, 0.0297, 0.0378),
        "LC-Rec": _row(None, 0.0525, 0.0791, 0.0352, 0.0438),
    },
    "amazon14_sports": {
        "SASRec": _row(None, 0.0249, 0.0373, 0.0145, 0.0185),
        "HSTU": _row(None, 0.0243, 0.0365, 0.0168, 0.0207),
        "TIGER (paper)": _row(None, 0.0264, 0.0400, 0.0181, 0.0225),
        "TIGER (re-run)": _row(None, 0.0266, 0.0414, 0.0176, 0.0224),
        "LC-Rec": _row(None, 0.0281, 0.0422, 0.0181, 0.0226),
    },
    "amazon18_scientific": {
        "MISSRec, pretrained, with ids": _row(None, None, 0.1360, None, 0.0753),
        "MISSRec, with ids": _row(None, None, 0.1282, None, 0.0711),
    },
    "amazon18_instruments_mql": {
        "BERT4Rec": _row(0.0450, 0.0856, 0.1081, 0.0667, 0.0739),
        "SASRec": _row(0.0318, 0.0946, 0.1233, 0.0654, 0.0746),
        "MISSRec": _row(0.0723, 0.1089, 0.1361, 0.0797, 0.0880),
        "TIGER": _row(0.0754, 0.1007, 0.1221, 0.0882, 0.0950),
        "MQL4GRec, no pretraining": _row(0.0763, 0.1058, 0.1291, 0.0902, 0.0997),
        "MACRec": _row(0.0819, 0.1110, 0.1363, 0.0965, 0.1046),
    },
    "amazon18_arts_mql": {
        "BERT4Rec": _row(0.0289, 0.0697, 0.0922, 0.0502, 0.0575),
        "SASRec": _row(0.0212, 0.0951, 0.1250, 0.0610, 0.0706),
        "MISSRec": _row(0.0479, 0.1021, 0.1321, 0.0699, 0.0815),
        "TIGER": _row(0.0532, 0.0894, 0.1167, 0.0718, 0.0806),
        "MQL4GRec, no pretraining": _row(0.0626, 0.0997, 0.1254, 0.0816, 0.0898),
        "MACRec": _row(0.0685, 0.1046, 0.1329, 0.0868, 0.0953),
    },
}
