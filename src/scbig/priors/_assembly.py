"""Whether a FASTA is of the genome that coordinates belong to."""

import re
from collections.abc import Mapping

_ALIASES = {
    "grch37": "hg19", "grch38": "hg38", "grcm38": "mm10", "grcm39": "mm39",
    "chm13v2.0": "hs1", "t2t-chm13v2.0": "hs1",
}  # fmt: skip

# A few chromosomes suffice to tell genomes apart (lengths from UCSC's chrom.sizes).
_LENGTHS: Mapping[str, Mapping[str, int]] = {
    "hg19": {
        "1": 249250621, "2": 243199373, "3": 198022430, "4": 191154276, "5": 180915260,
        "6": 171115067, "7": 159138663, "8": 146364022, "9": 141213431, "10": 135534747,
        "11": 135006516, "12": 133851895, "13": 115169878, "14": 107349540, "15": 102531392,
        "16": 90354753, "17": 81195210, "18": 78077248, "19": 59128983, "20": 63025520,
        "21": 48129895, "22": 51304566, "X": 155270560,
    },
    "hg38": {
        "1": 248956422, "2": 242193529, "3": 198295559, "4": 190214555, "5": 181538259,
        "6": 170805979, "7": 159345973, "8": 145138636, "9": 138394717, "10": 133797422,
        "11": 135086622, "12": 133275309, "13": 114364328, "14": 107043718, "15": 101991189,
        "16": 90338345, "17": 83257441, "18": 80373285, "19": 58617616, "20": 64444167,
        "21": 46709983, "22": 50818468, "X": 156040895,
    },
    "hs1": {"1": 248387328, "8": 146259331, "X": 154259566},
    "mm10": {"1": 195471971, "2": 182113224, "X": 171031299},
    "mm39": {"1": 195154279, "2": 181755017, "X": 169476592},
}  # fmt: skip

_STATED = re.compile(r"\b(GRC[hm]\d+|hg\d+|mm\d+|hs1|(?:T2T-)?CHM13v2\.0)\b", re.IGNORECASE)


def normalize_assembly(name: str) -> str:
    """One name for each genome.

    Parameters
    ----------
    name
        For example ``"GRCh38.p14"``.

    Returns
    -------
    UCSC's name, ``"hg38"``, where it is known, else the name in lower case.
    """
    lower = re.sub(r"\.p\d+$", "", name.strip().lower())
    return _ALIASES.get(lower, lower)


def check_assembly(
    assembly: str, lengths: Mapping[str, int], headers: Mapping[str, str], where: str
) -> None:
    """Refuse a FASTA of another genome.

    Parameters
    ----------
    assembly
        The genome that coordinates belong to.
    lengths
        Length of each chromosome of the FASTA.
    headers
        Header line of some of its chromosomes.
    where
        Name of the FASTA, for messages.

    Raises
    ------
    ValueError
        When a known chromosome has another length, or a header states another genome.
    """
    wanted = normalize_assembly(assembly)
    for chrom, length in lengths.items():
        expected = _LENGTHS.get(wanted, {}).get(chrom.removeprefix("chr"), length)
        if length != expected:
            other = _recognize(chrom, length)
            raise ValueError(
                f"{where}: {chrom} has {length:,} bases{other}, but {expected:,} in {assembly}, "
                "the genome of the loci. Give a FASTA of that genome, or lift the loci over."
            )
    for chrom, header in headers.items():
        stated = {normalize_assembly(name) for name in _STATED.findall(header)}
        if stated and wanted not in stated:
            raise ValueError(
                f"{where}: the header of {chrom} states {sorted(stated)}, the loci belong to "
                f"{assembly}. Give a FASTA of that genome, or lift the loci over."
            )


def _recognize(chrom: str, length: int) -> str:
    name = chrom.removeprefix("chr")
    known = [genome for genome, table in _LENGTHS.items() if table.get(name) == length]
    return f" as in {known[0]}" if known else ""
