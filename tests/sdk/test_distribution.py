"""The SDK is a distribution of its own: it needs nothing of the server, and its wheel holds nothing else."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2] / "sdk" / "python"
ALLOWED = {"cryptography", "httpx2", "tenantry_sdk"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_it_imports_nothing_but_what_it_states() -> None:
    files = list((ROOT / "src").rglob("*.py"))
    assert len(files) > 5
    assert {name for file in files for name in imported(file)} - sys.stdlib_module_names <= ALLOWED


def test_its_wheel_holds_the_package_alone_and_installs_without_the_server(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1"})
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"tenantry_sdk"}
    assert "tenantry_sdk/py.typed" in names
    script = "import sys, tenantry_sdk; print(tenantry_sdk.__file__, any(n == 'tenantry' for n in sys.modules))"
    path = {"PYTHONPATH": str(tmp_path / "installed")}
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, env=os.environ | path, text=True
    )
    file, server = told.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert server == "False"


def test_both_distributions_are_of_one_version() -> None:
    def version(file: Path) -> str:
        tree = ast.parse(file.read_text("utf-8"))
        (found,) = [
            n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__version__"
        ]
        return ast.literal_eval(found)

    server = ROOT.parents[1] / "src" / "tenantry" / "__init__.py"
    assert version(ROOT / "src" / "tenantry_sdk" / "__init__.py") == version(server)
