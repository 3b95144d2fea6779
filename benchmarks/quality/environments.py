"""Virtual environments of systems and models, made from pinned requirements and kept in the cache."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BIN", "HERE", "ROOT", "Environments"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Environments:
    """Folder with one environment for each list of requirements."""

    cache: Path

    def python(self, name: str) -> Path:
        """Return the interpreter of a system's environment; make it first if there is none."""
        return self._of(HERE / "requirements" / f"{name}.txt", "--no-deps")

    def of_model(self, requirements: Path) -> Path:
        """Return the interpreter of an environment that a model's requirements make."""
        return self._of(requirements)

    def _of(self, requirements: Path, *options: str) -> Path:
        digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
        folder = self.cache / "environments" / f"{requirements.stem}-{digest}"
        python, complete = folder / "bin" / "python", folder / "complete"
        if not complete.exists():
            print(f"installing {requirements.name} into {folder}", flush=True)
            uv = [str(BIN / "uv"), "-q"]
            install = [
                "pip",
                "install",
                "--compile-bytecode",
                *options,
                "--python",
                str(python),
                "-r",
                str(requirements),
            ]
            subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
            # There, pyproject.toml says what is never installed: CUDA.
            subprocess.run([*uv, *install], cwd=ROOT, check=True)
            complete.touch()
        return python
