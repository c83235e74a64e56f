"""From a folder with a masked language model of DNA, and a FASTA, to predicted cells."""

from pathlib import Path

import numpy as np
import pytest
import torch

from scbig.model import STRAND
from scbig.priors import HuggingFaceEncoder

WORD = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as users load it: saved with its head, tokens of six bases, single ones at the end.

    The layout is that of Nucleotide Transformer v1: an ESM model, whose head is left aside.
    """
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    path = tmp_path_factory.mktemp("masked")
    special = ["<unk>", "<pad>", "<mask>", "<cls>"]
    words = ["".join("ACGT"[(i // 4**k) % 4] for k in range(WORD)) for i in range(4**WORD)]
    vocabulary = {word: i for i, word in enumerate([*special, *words, *"ACGTN"])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    pattern = tokenizers.Regex(f"[ACGT]{{{WORD}}}|.")
    core.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "isolated")
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="<cls> $A", special_tokens=[("<cls>", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
        cls_token="<cls>",
    ).save_pretrained(path)  # fmt: skip
    torch.manual_seed(0)
    config = transformers.EsmConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=130, pad_token_id=1, mask_token_id=2,
        position_embedding_type="rotary",
    )  # fmt: skip
    transformers.EsmForMaskedLM(config).save_pretrained(path)
    return path


def test_positions_that_begin_after_padding_are_counted(folder, tmp_path, loci_screen):
    """In ESM with a table of positions the first is that after padding, and two are lost."""
    import transformers

    from scbig.priors import Genome

    transformers.AutoTokenizer.from_pretrained(str(folder)).save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(
        str(folder), position_embedding_type="absolute", max_position_embeddings=24
    )
    transformers.EsmForMaskedLM(config).save_pretrained(tmp_path)
    with Genome(loci_screen.fasta) as genome:
        loci = loci_screen.loci.take(loci_screen.loci.ids[:1])
        # 22 tokens are read: one for the whole, and 21 words.
        fits, too_long = (genome.get_windows(loci, width) for width in (126, 132))
    assert HuggingFaceEncoder(tmp_path, width=126, n_bins=3).encode(fits).values.shape[1] == 3
    with pytest.raises(ValueError, match=r"makes 23 tokens; the model in .* reads 22"):
        HuggingFaceEncoder(tmp_path, width=132, n_bins=3).encode(too_long)


def test_from_fasta_to_prediction(loci_screen, fit_strand, folder, tmp_path):
    encoder = HuggingFaceEncoder(folder, width=128, n_bins=4)
    cache = tmp_path / "cache"
    model = fit_strand(loci_screen, encoder=encoder, cache_dir=cache)
    assert len(list(cache.rglob("*.safetensors"))) > 0
    known = model._method.table.values
    assert known.shape == (len(loci_screen.loci), 4, 16)
    wanted = ["TARGET001-P1", "TARGET001-P2", "chr1:900"]
    out = model.predict(perturbations=wanted, fasta=loci_screen.fasta, n_cells=5)
    assert set(out.obs["locus"]) == {"control", *wanted}
    assert np.isfinite(out.layers["strand"].toarray()).all()
    effects = np.asarray(model.predict_effects(wanted).X)
    # Two start sites of a gene have DNA, and so effects, of their own.
    assert np.abs(effects[0] - effects[1]).max() > 1e-4
    model.save(tmp_path / "model")
    again = STRAND.load(tmp_path / "model")
    np.testing.assert_allclose(np.asarray(again.predict_effects(wanted).X), effects, atol=1e-6)
    again.add_loci(
        type(loci_screen.loci).from_text(["chr2:900"], assembly="simulated"),
        fasta=loci_screen.fasta, encoder=HuggingFaceEncoder(folder, width=128, n_bins=4),
    )  # fmt: skip
    assert np.isfinite(np.asarray(again.predict_effects(["chr2:900"]).X)).all()


def test_tokens_of_six_bases_are_those_of_the_model_itself(loci_screen, folder):
    import transformers

    from scbig.priors import Genome, encode_loci

    loci = loci_screen.loci.take(loci_screen.loci.ids[:2])
    with Genome(loci_screen.fasta) as genome:
        windows = genome.get_windows(loci, 128)
        encoder = HuggingFaceEncoder(folder, width=128, n_bins=4)
        found = encode_loci(loci, encoder, genome=genome, use_progress=False)
    network = transformers.AutoModelForMaskedLM.from_pretrained(str(folder)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    for row, sequence in enumerate(windows.sequences):
        given = tokenizer(sequence, return_tensors="pt")
        assert given["input_ids"].shape == (1, 1 + 21 + 2)  # six times 21, and two alone
        with torch.inference_mode():
            states = network(**given, output_hidden_states=True).hidden_states[-1][0, 1:]
        # Windows are perturbed throughout here: 250 bases to either side are.
        middle = np.array([*(6 * i + 3 for i in range(21)), 126.5, 127.5])
        for part in range(4):
            is_there = middle.astype(int) // 32 == part
            expected = states[is_there].mean(0)
            np.testing.assert_allclose(found.values[row, part], expected, atol=1e-5)
