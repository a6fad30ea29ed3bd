"""Small service trees in text files, each with the verdict expected from `somatrace check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAUNCHERS = {
    "Procfile",
    "Dockerfile",
    "serverless.yml",
    "template.yaml",
    "supervisord.conf",
    "pyproject.toml",
}


@dataclass(frozen=True)
class Sample:
    """One tree: its files, and the expected finding as `CODE path:line`, or `ok`."""

    name: str
    expected: str
    files: dict[str, str]
    #: why it is not really started; empty when it is
    why: str = ""

    @property
    def runs(self) -> bool:
        return not self.why and self.expected.partition(" ")[0] not in {"ST040", "ST041", "ST042", "ST090"}

    def __str__(self) -> str:
        return self.name

    def write(self, folder: Path) -> None:
        for path, text in self.files.items():
            if path == ".run":
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)


def samples() -> list[Sample]:
    found = [sample for path in sorted((HERE / "trees").glob("*.txt")) for sample in read(path)]
    names = [sample.name for sample in found]
    assert len(set(names)) == len(names)
    return found


def read(path: Path) -> list[Sample]:
    """A file of trees. One without a launcher or `.run` is served by `uvicorn app:app`."""
    found = []
    for part in ("\n" + path.read_text()).split("\n== ")[1:]:
        head, _, body = part.partition("\n")
        head, _, why = head.partition(" | not started: ")
        name, _, expected = head.rpartition(": ")
        files: dict[str, str] = {}
        for block in ("\n" + body).split("\n-- ")[1:]:
            file, _, text = block.partition("\n")
            files[file.strip()] = text.rstrip("\n") + "\n" if text.strip() else ""
        if "app.py" in files and not (LAUNCHERS | {".run"}) & set(files):
            files["Procfile"] = "web: uvicorn app:app\n"
        found.append(Sample(name.strip(), expected.strip(), files, why.strip()))
    return found
