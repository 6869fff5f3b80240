"""Settings side by side: what is common, what differs, and how often each value occurs."""

from dovision.store.config_diff import counted, flattened, natural, split

GRID = {
    "seed": 0,
    "do": {"_target_": "dovision.interventions.PixelGrid", "rows": 2},
    "none": None,
    "eps": [0.1, "8/255"],
}
CODE = {"seed": 0, "do": {"_target_": "dovision.interventions.Activation"}, "eps": []}


def test_nested_settings_have_dotted_names_and_parts_the_name_of_their_class():
    assert flattened(GRID) == {"seed": "0", "do": "PixelGrid", "do.rows": "2", "eps": "0.1, 8/255"}


def test_common_settings_are_those_of_every_record():
    common, differing = split([flattened(GRID), flattened(CODE)])
    assert common == {"seed": "0"}
    assert differing == ["do", "do.rows", "eps"]
    assert split([]) == ({}, [])
    assert split([flattened(CODE)]) == (flattened(CODE), [])


def test_values_are_counted_and_a_missing_one_too():
    records = [flattened(GRID), flattened(CODE), flattened(GRID)]
    assert counted(records, "do.rows") == {"2": 2, "-": 1}


def test_numbers_are_sorted_as_numbers():
    texts = ["rows=16, eps=0.1", "rows=8, eps=0.2", "-", "rows=8, eps=0.05", "blur"]
    assert sorted(texts, key=natural) == ["-", "blur", "rows=8, eps=0.05", "rows=8, eps=0.2", "rows=16, eps=0.1"]
