import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from scbig.priors import HuggingFaceEncoder, Windows
from scbig.priors._hugging_face import measure_tokens, summarize_tokens
from scbig.priors._windows import encode_dna

WIDTH = 12
SEQUENCES = ("ACGTACGTACGT", "TTTTNNNNACGT")


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

    def make(seed: int = 0, max_length: int = 32) -> Path:
        folder = tmp_path_factory.mktemp("model")
        words = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *"ACGTN"]
        vocabulary = {word: number for number, word in enumerate(words)}
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
        core.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=core, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
        ).save_pretrained(folder)
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(words), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=max_length,
        )  # fmt: skip
        transformers.BertModel(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def windows() -> Windows:
    codes = np.stack([encode_dna(text) for text in SEQUENCES])
    is_target = np.zeros(codes.shape, dtype=bool)
    is_target[:, 5:7] = True
    return Windows(("a", "b"), codes, np.ones_like(is_target), is_target)


def _get_states(folder: Path, sequence: str, layer: int) -> np.ndarray:
    """Hidden states of the bases, from transformers itself."""
    import transformers

    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    ids = torch.tensor([[1, *["ACGTN".index(base) + 5 for base in sequence], 2]])
    with torch.inference_mode():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states[layer]
    return states[0, 1:-1].numpy()


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_parts_are_means_of_the_hidden_states(make_folder, windows: Windows, layer: int):
    folder = make_folder()
    encoder = HuggingFaceEncoder(folder, width=WIDTH, n_bins=3, layer=layer)
    tokens = encoder.encode(windows)
    assert (encoder.dim, tokens.values.shape) == (8, (2, 3, 8))
    assert tokens.is_target.tolist() == [[False, True, False]] * 2
    for row, sequence in enumerate(SEQUENCES):
        states = _get_states(folder, sequence, layer)
        parts = [states[:4].mean(0), states[5:7].mean(0), states[8:].mean(0)]
        np.testing.assert_allclose(tokens.values[row], parts, atol=1e-5)
        np.testing.assert_allclose(tokens.pool()[row], parts[1], atol=1e-5)


def test_a_tokenizer_without_offsets_is_measured_by_its_tokens(make_folder, windows: Windows):
    encoder = HuggingFaceEncoder(make_folder(), width=WIDTH, n_bins=3)
    expected = encoder.encode(windows).values

    class Slow:
        is_fast = False

        def __init__(self, fast):
            self.fast = fast

        def __call__(self, text, *, return_offsets_mapping, **settings):
            assert not return_offsets_mapping
            return self.fast(text, **settings)

        def get_special_tokens_mask(self, ids, already_has_special_tokens):
            return [number < 5 for number in ids]

        def convert_ids_to_tokens(self, ids):
            return self.fast.convert_ids_to_tokens(ids)

    encoder._tokenizer = Slow(encoder._tokenizer)
    np.testing.assert_array_equal(encoder.encode(windows).values, expected)


def test_the_fingerprint_follows_weights_and_settings(make_folder):
    first, second = make_folder(0), make_folder(1)
    settings = [
        (first, {}), (second, {}), (first, {"layer": 1}), (first, {"n_bins": 4})
    ]  # fmt: skip
    prints = [
        HuggingFaceEncoder(folder, width=WIDTH, **{"n_bins": 3, **changes}).fingerprint
        for folder, changes in settings
    ]
    assert len(set(prints)) == 4
    assert HuggingFaceEncoder(first, width=WIDTH, n_bins=3).fingerprint == prints[0]


def test_code_in_the_folder_is_not_run(make_folder):
    folder = make_folder()
    (folder / "own.py").write_text("raise SystemExit('this was run')")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="trust_remote_code"):
        HuggingFaceEncoder(folder, width=WIDTH, n_bins=3)


def test_impossible_settings_are_refused(make_folder, windows: Windows, tmp_path: Path):
    folder = make_folder(max_length=13)
    with pytest.raises(FileNotFoundError, match=r"Nothing is downloaded here; .* hf download"):
        HuggingFaceEncoder(tmp_path, width=WIDTH)
    with pytest.raises(ValueError, match="width=12 cannot be cut into n_bins=5"):
        HuggingFaceEncoder(folder, width=WIDTH, n_bins=5)
    with pytest.raises(ValueError, match=r"layer=3; .* has hidden states 0 to 2"):
        HuggingFaceEncoder(folder, width=WIDTH, n_bins=3, layer=3)
    encoder = HuggingFaceEncoder(folder, width=WIDTH, n_bins=3)
    with pytest.raises(ValueError, match=r"12 bases makes 14 tokens; .* reads 13"):
        encoder.encode(windows)
    with pytest.raises(ValueError, match="windows of 0 bases for width=12"):
        encoder.encode(Windows.without_sequence(("a",)))


@given(st.lists(st.text("ACGTN", min_size=1, max_size=6), min_size=1, max_size=12))
def test_tokens_are_measured_by_their_letters(words: list[str]):
    sequence = "".join(words)
    tokens, is_special = ["<cls>", *words, "<eos>"], np.array([True, *[False] * len(words), True])
    spans = measure_tokens([token.lower() for token in tokens], is_special, sequence)
    assert [sequence[a:b] for a, b in spans] == ["", *words, ""]


def test_tokens_that_do_not_spell_the_sequence_are_refused():
    with pytest.raises(ValueError, match=r"do not spell the sequence.*use a fast tokenizer"):
        measure_tokens(["AC", "<unk>"], np.zeros(2, dtype=bool), "ACN")


def test_parts_are_averaged_and_targets_count_alone(rng: np.random.Generator):
    # Windows of 12 bases in 3 parts; tokens of 2, 2, 3, 1, 2 and 2 bases and one special.
    spans = np.array([[0, 0], [0, 2], [2, 4], [4, 7], [7, 8], [8, 10], [10, 12]])
    vectors = rng.normal(size=(7, 5)).astype(np.float32)
    is_target = np.zeros(12, dtype=bool)
    is_target[5] = True
    values, is_token = summarize_tokens(vectors, spans, is_target, 3)
    expected = [vectors[1:3].mean(0), vectors[3], vectors[5:7].mean(0)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert is_token.all()


def test_a_part_without_tokens_is_absent():
    spans, vectors = np.array([[0, 2], [2, 4]]), np.ones((2, 1), dtype=np.float32)
    values, is_token = summarize_tokens(vectors, spans, np.ones(8, dtype=bool), 2)
    assert is_token.tolist() == [True, False]
    assert values.tolist() == [[1.0], [0.0]]
