"""What STRAND is asked on simulated loci, beside the floors that need no network.

python docs/scripts/strand_questions.py floors | shape | low_sample | transfer | encoder | coverage

| question | what is compared |
| --- | --- |
| floors | unseen genes: STRAND, also trained jointly, and ridge regression on words of bases |
| shape | are the bridge's cells nearer to real ones than those made without it? |
| low_sample | the same with 8, 16, 32 and 64 cells a condition |
| transfer | a cell line of which only control cells are known |
| encoder | a pretrained encoder: seconds and memory of 1,000 loci, measured and by calculation |
| coverage | share of a genome that can be asked: the simulated one, or --fasta |
"""

import argparse
import logging
import tempfile
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from strand_simulated import average, correlate, measure, split_genes

from scbig.data import simulate_locus_screen
from scbig.metrics import pds_l1
from scbig.model import STRAND, EffectRegression, STRANDConfig
from scbig.priors import (
    GeneEmbedding,
    Genome,
    HuggingFaceEncoder,
    count_loci,
    count_positions,
    encode_loci,
    load_start_sites,
)

SEED = 0
WORD = 6
# Windows of 512 bases hold all that the simulated grammar says.
SMALL = STRANDConfig(window=512, bridge_steps=300)
REGRESSION = replace(SMALL, transport="regression")
TRAIN = {"use_progress_bar": False, "accelerator": "cpu"}


# --- floors ------------------------------------------------------------------------------------


def count_words(loci, fasta, width):
    """Words of six bases on either strand around each locus, ``(L, 2080)``."""
    with Genome(fasta) as genome:
        codes = genome.get_windows(loci, width).codes.astype(np.int64)
    power = 4 ** np.arange(WORD)
    words = np.lib.stride_tricks.sliding_window_view(codes, WORD, axis=1)
    word = np.minimum(words @ power, (3 - words)[..., ::-1] @ power)
    kinds, number = np.unique(word, return_inverse=True)
    number = number.reshape(word.shape)
    return np.stack([np.bincount(row, minlength=len(kinds)) for row in number]).astype(np.float32)


def regress_words(words, effects, trained, asked):
    """Ridge regression of effects on words, its penalty chosen by leaving one locus out."""
    ridge = RidgeCV(np.logspace(0, 5, 11)).fit(words[trained], effects)
    return ridge.predict(words[asked])


def predict_floors(words, effects, trained, asked):
    """Mean of the training loci, the most alike of them in words, and the ridge regression."""
    unit = words - words[trained].mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    nearest = (unit[asked] @ unit[trained].T).argmax(axis=1)
    return {
        "train mean": np.repeat(effects.mean(0, keepdims=True), len(asked), axis=0),
        "nearest locus by words": effects[nearest],
        "ridge on words": regress_words(words, effects, trained, asked),
    }


# --- models ------------------------------------------------------------------------------------


def train(adata, loci, fasta, config, setup=None, **kwargs):
    STRAND.setup_anndata(adata, locus_key="locus", **(setup or {}))
    model = STRAND(adata, loci=loci, fasta=fasta, preset=config, seed=SEED)
    model.train(**TRAIN, **kwargs)
    return model


def ask(model, ids, contexts=None):
    return np.asarray(model.predict_effects(list(ids), contexts=contexts).X)


def read_words_as_embedding(adata, loci, words):
    """SCBIG's regression, told words in place of a gene embedding."""
    EffectRegression.setup_anndata(adata, perturbation_key="locus", separator="|")
    unit = words - words.mean(0)
    table = GeneEmbedding(loci.ids, unit / unit.std(), "words")
    model = EffectRegression(adata, perturbation_embedding=table, seed=SEED)
    model.train(use_progress_bar=False)
    return model


class Trial:
    """A simulated screen of which a fifth of the genes is held out."""

    def __init__(self, folder, width=512, **sizes):
        self.adata, self.loci, self.fasta = simulate_locus_screen(folder, seed=SEED, **sizes)
        self.labels = self.adata.obs["locus"].astype(str).to_numpy()
        self.held_out = split_genes(self.loci, SEED)
        self.trained_ids = [id for id in self.loci.ids if id not in set(self.held_out)]
        row = {id: i for i, id in enumerate(self.loci.ids)}
        self.trained = [row[id] for id in self.trained_ids]
        self.asked = [row[id] for id in self.held_out]
        self.words = count_words(self.loci, self.fasta, width)
        self.truth = self.adata.uns["truth"]["effects"].loc[self.held_out].to_numpy()
        genes = np.array([self.loci[id].gene for id in self.held_out])
        self.pairs = np.nonzero(np.triu(genes[:, None] == genes, k=1))
        self.control = average(self.adata.X, self.labels, ["control"])
        self.observed = average(self.adata.X, self.labels, self.held_out) - self.control

    def get_train(self, rows=None):
        is_trained = ~np.isin(self.labels, self.held_out)
        rows = np.flatnonzero(is_trained if rows is None else is_trained & rows)
        return self.adata[rows].copy()

    def get_effects(self, adata):
        labels = adata.obs["locus"].astype(str).to_numpy()
        return average(adata.X, labels, self.trained_ids) - average(adata.X, labels, ["control"])

    def score(self, effects):
        found = measure(effects, self.observed, self.truth, self.pairs)
        pds = pds_l1(self.observed + self.control, effects + self.control, self.control[0])
        return found | {"pds_l1": pds.mean()}


def show(rows, digits=3):
    frame = pd.DataFrame(rows).T
    print(frame.astype(float).round(digits).to_markdown(), flush=True)


def floors(folder, options):
    """Panel of floors on the screen of `strand_simulated.py`."""
    trial = Trial(folder)
    adata = trial.get_train()
    effects = trial.get_effects(adata)
    rows = {"ceiling: the truth": trial.score(trial.truth)}
    floor = predict_floors(trial.words, effects, trial.trained, trial.asked)
    wide = count_words(trial.loci, trial.fasta, 1024)
    floor["ridge on words, 1,024 bases"] = regress_words(wide, effects, trial.trained, trial.asked)
    rows |= {name: trial.score(predicted) for name, predicted in floor.items()}
    model = read_words_as_embedding(trial.get_train(), trial.loci, trial.words)
    rows["EffectRegression on words"] = trial.score(ask(model, trial.held_out))
    show(rows)
    for name, changes in {
        "STRAND, regression": {"transport": "regression"},
        "STRAND": {},
        "joint": {"use_joint": True},
    }.items():
        started = time.process_time()
        model = train(trial.get_train(), trial.loci, trial.fasta, replace(SMALL, **changes))
        seconds = time.process_time() - started
        rows[name] = trial.score(ask(model, trial.held_out)) | {"CPU s": seconds}
        rows[name] |= {"uses bridge": model.uses_networks}
        show(rows)


def shape(folder, options):
    """Loci with cells enough to see their shape; what the judge says stands in the log."""
    trial = Trial(folder, n_targets=30, n_cells=9000)
    model = train(trial.get_train(), trial.loci, trial.fasta, SMALL)
    print({"means": model.uses_networks, "shape": model.uses_shape}, flush=True)


def low_sample(folder, options):
    """So many cells a training condition; held-out loci are always judged by all their cells."""
    trial = Trial(folder, n_targets=60, n_genes=120, n_cells=12_600)
    config = replace(REGRESSION, locus_steps=200, conditions_per_step=32)
    order = np.random.default_rng(SEED).permutation(trial.adata.n_obs)
    rank = pd.Series(trial.labels[order], index=order).groupby(lambda i: trial.labels[i])
    rank = rank.cumcount().sort_index().to_numpy()
    rows = {"ceiling: the truth": trial.score(trial.truth)}
    for n_cells in (8, 16, 32, 64):
        is_kept = (rank < n_cells) | (trial.labels == "control")
        adata = trial.get_train(is_kept)
        effects = trial.get_effects(adata)
        floor = predict_floors(trial.words, effects, trial.trained, trial.asked)
        model = train(adata, trial.loci, trial.fasta, config)
        for name, predicted in (floor | {"STRAND": ask(model, trial.held_out)}).items():
            rows[f"{n_cells} cells, {name}"] = trial.score(predicted)
        show(rows)


def transfer(folder, options):
    """A line without a perturbed cell in training, of loci known from the other two."""
    lines = [f"line_{i}" for i in (1, 2, 3)]
    trial = Trial(folder, n_targets=60, n_cells=6600, n_contexts=3)
    line = trial.adata.obs["line"].astype(str).to_numpy()
    ids, truth = trial.loci.ids, trial.adata.uns["truth"]
    names = pd.Index([trial.loci[id].gene for id in ids])
    program = truth["response"].columns.get_indexer(trial.adata.var["true_program"])
    scores = []
    for held_out in lines:
        delta = {}
        for one in lines:
            x, labels = trial.adata.X[line == one], trial.labels[line == one]
            delta[one] = average(x, labels, ids) - average(x, labels, ["control"])
        known = np.mean([delta[one] for one in lines if one != held_out], axis=0)
        by_gene = pd.DataFrame(known).groupby(names.to_numpy()).transform("mean").to_numpy()
        is_trained = (line != held_out) | (trial.labels == "control")
        is_new = np.isin(ids, trial.held_out)
        seen = known[trial.trained]
        words = regress_words(trial.words, seen, trial.trained, np.arange(len(ids)))
        adata = trial.adata[is_trained & ~np.isin(trial.labels, trial.held_out)].copy()
        model = train(adata, trial.loci, trial.fasta, REGRESSION, {"context_keys": ["line"]})
        response = truth["response"].loc[held_out].to_numpy()[program]
        predicted = {
            "ceiling: the truth": truth["effects"].to_numpy() * response,
            "mean of the locus in the other lines": known,
            "mean of the gene's loci there": by_gene,
            "mean of all loci there": np.repeat(seen.mean(0, keepdims=True), len(ids), axis=0),
            "ridge on words, on the other lines": words,
            "STRAND": ask(model, ids, [held_out]),
        }
        for name, effects in predicted.items():
            every = correlate(delta[held_out], effects)
            if name.startswith("mean of the"):
                every[is_new] = np.nan  # only cells of the very loci would tell
            scores.append({
                "row": name, "line": held_out, "loci of known genes": every[~is_new].mean(),
                "loci of new genes": every[is_new].mean(),
            })  # fmt: skip
    frame = pd.DataFrame(scores).drop(columns="line")
    print(frame.groupby("row", sort=False).mean().round(3).to_markdown())


# --- pretrained encoders -----------------------------------------------------------------------

# Name, nominal millions of parameters, bases of a token, tokens of the longest window. A forward
# pass takes two operations a parameter and token, and attention some percent on top; a weight
# has four bytes, or two in half precision.
PUBLISHED = (
    ("HyenaDNA large", 6.6, 1, 1_000_000),
    ("Caduceus", 7.7, 1, 131_072),
    ("Nucleotide Transformer v2, 50M", 50, 6, 2_048),
    ("Nucleotide Transformer v2, 100M", 100, 6, 2_048),
    ("DNABERT-2", 117, 5, 2_048),
    ("Nucleotide Transformer v2, 250M", 250, 6, 2_048),
    ("Nucleotide Transformer v2, 500M", 500, 6, 2_048),
    ("Nucleotide Transformer v1, 500M", 500, 6, 1_000),
)


def make_encoder(folder, n_layers, hidden):
    """Save a masked language model with random weights, in the layout of ESM, tokens of six."""
    import transformers
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    words = ["".join("ACGT"[(i // 4**k) % 4] for k in range(WORD)) for i in range(4**WORD)]
    names = ["<unk>", "<pad>", "<mask>", "<cls>", *words, *"ACGTN"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("[ACGT]{6}|."), "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="<cls> $A", special_tokens=[("<cls>", 3)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
        cls_token="<cls>",
    ).save_pretrained(folder)  # fmt: skip
    config = transformers.EsmConfig(
        vocab_size=len(names), hidden_size=hidden, num_hidden_layers=n_layers, pad_token_id=1,
        num_attention_heads=hidden // 32, intermediate_size=4 * hidden, mask_token_id=2,
        max_position_embeddings=2050, position_embedding_type="rotary",
    )  # fmt: skip
    torch.manual_seed(SEED)
    transformers.EsmForMaskedLM(config).save_pretrained(folder)


def encoder(folder, options):
    """From a folder and a FASTA to a prediction; seconds and memory by size and window."""
    _, loci, fasta = simulate_locus_screen(f"{folder}/genome", n_targets=6, n_cells=300)
    rows, rate = {}, 0.0
    for name, n_layers, hidden, n_loci in (("2 x 64", 2, 64, 14), ("12 x 512", 12, 512, 6)):
        path = f"{folder}/{name}"
        make_encoder(path, n_layers, hidden)
        for width in (1024, 8192):
            found = HuggingFaceEncoder(path, width=width, n_bins=32)
            part = loci.take(loci.ids[:n_loci])
            with Genome(fasta) as genome:
                encode_loci(part.take(part.ids[:1]), found, genome=genome, use_progress=False)
                started = time.process_time()
                encode_loci(part, found, genome=genome, use_progress=False)
            seconds = (time.process_time() - started) / n_loci
            weights = sum(p.numel() for p in found._model.parameters())
            rate = 2 * weights * width / WORD / seconds
            rows[f"{name}, window {width:,}"] = {
                "million weights": weights / 1e6, "s per 1,000 loci": 1000 * seconds,
                "Gflop/s": rate / 1e9, "MB of weights": weights * 4 / 1e6,
                "MB of tokens per 1,000 loci": 1000 * 32 * hidden * 4 / 1e6,
            }  # fmt: skip
    show(rows, 2)
    told = {}
    for name, millions, bases, most in PUBLISHED:
        for width in (1024, 8192):
            if width / bases > most:
                continue
            flops = 2e6 * millions * width / bases * 1000
            told[f"{name}; window {width:,}"] = {
                "Tflop per 1,000 loci": flops / 1e12, "s on one core": flops / rate,
                "GB of weights": millions * 4e6 / 1e9,
            }  # fmt: skip
    show(told, 2)


def coverage(folder, options):
    """Count what can be asked of a genome, and of the start sites of an annotation."""
    if options.fasta is None:
        _, loci, fasta = simulate_locus_screen(folder, seed=SEED)
    else:
        fasta = options.fasta
        loci = load_start_sites(options.annotation, assembly=options.assembly)
    with Genome(fasta) as genome:
        for width in (1024, 8192, 524_288):
            started = time.process_time()
            rows = {
                f"positions, window {width:,}": count_positions(genome, width=width).loc["all"],
                f"start sites, window {width:,}": count_loci(genome, loci, width=width).loc["all"],
            }
            show(rows, 4)
            print(f"{time.process_time() - started:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    questions = {f.__name__: f for f in (floors, shape, low_sample, transfer, encoder, coverage)}
    parser.add_argument("question", choices=questions)
    parser.add_argument("--fasta")
    parser.add_argument("--annotation", help="GTF or GFF3 of the FASTA")
    parser.add_argument("--assembly", help="their genome, such as hg38")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(level="INFO", format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        questions[options.question](folder, options)


if __name__ == "__main__":
    main()
