"""Where commands write: checked before they work for minutes."""

from pathlib import Path


def check_out_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise when a folder cannot be written to, or holds something that may not be replaced."""
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file; --out names a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"{folder} is not empty. Replace what is there with --overwrite.")


def check_out_file(path: Path, *, overwrite: bool, suffix: str = ".h5ad") -> None:
    """Raise when a file cannot be written, or may not be replaced."""
    if path.suffix != suffix:
        raise ValueError(f"--out {path} does not end in {suffix}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Replace it with --overwrite.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to.")
