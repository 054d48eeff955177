import re

import numpy as np

from semantic_ids import Tokenizer

DAY = re.compile(r"^ +(\d+) +([\d,]+) +([\d,]+) +([\d,]+) +([\d.]+)  (all well|refit)$", re.M)


def test_old_codes_stay_until_the_new_department_wears_the_codec_out(run_example, tmp_path):
    output = run_example("new_items_every_day", "--quick")
    days = DAY.findall(output)
    assert [verdict for *_, verdict in days] == ["all well"] * 4 + ["refit"]
    assert all(moved == "0" for _, _, _, moved, _, _ in days)
    same, left = re.search(r"([\d,]+) of the ([\d,]+) items of the opening", output).groups()
    assert same == left

    # Each day's items came and what was sold out went; the refit is of what was left.
    refit = Tokenizer.load(tmp_path / "runs" / "growing")
    opening = int(re.search(r"opens: Tokenizer\(([\d,]+) items", output)[1])
    came = sum(int(day[1]) for day in days)
    went = sum(int(day[2]) for day in days)
    assert len(refit) == opening + came - went
    assert len(np.unique(refit.codes, axis=0)) == len(refit)
    before, after = re.search(r"tomorrow's items: ([\d.]+) as it was, ([\d.]+)", output).groups()
    assert float(after) < float(before) / 2
