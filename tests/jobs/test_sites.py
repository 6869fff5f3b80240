"""The command that lists the sites of a network."""

from dovision.jobs.hydra_main import sites as main

HEADER = ["site", "layout", "shape", "units"]


def rows(text: str) -> dict[str, list[str]]:
    """The printed table, by site."""
    header, *lines = (line.split(maxsplit=3) for line in text.splitlines())
    assert header == HEADER
    return {site: [layout, shape, units.strip()] for site, layout, shape, units in lines}


def test_each_layer_is_listed_with_layout_shape_and_units(run_command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for words in ((), ("autoencoder=conv_1x1",)):
        assert run_command(main, "dataset=digits", *words) == 0
        found |= rows(capsys.readouterr().out)
    assert found["input"] == ["NCHW", "1x32x32", "1 channel, 1024 positions"]
    assert found["conv1"] == ["NCHW", "32x30x30", "32 channels, 900 positions"]
    assert found["linear1"] == ["NC", "256", "256 channels"]
    assert found["code"][0] == "NCHW"  # of the autoencoder
    assert list(tmp_path.iterdir()) == []


def test_tokens_and_heads_of_a_transformer_are_counted(run_command, capsys):
    data = ["dataset=image_folder", "dataset.classes=[a,b]", "dataset.root=none", "dataset.shape=[3,224,224]"]
    assert run_command(main, *data, "model=timm_model", "model.name=vit_tiny_patch16_224") == 0
    found = rows(capsys.readouterr().out)
    assert found["blocks.0"] == ["NTC", "197x192", "192 channels, 197 tokens"]
    assert found["blocks.0.attn.heads"] == ["NHTC", "3x197x64", "3 heads, 197 tokens"]
