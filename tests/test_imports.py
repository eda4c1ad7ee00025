"""Rules of CONTRIBUTING.md that a program can check."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# Imports point from a higher number to a lower one; rooms of one number do not know each other.
RANK = {
    "sdgan_jax.arguments": 0,
    "sdgan_jax.interrupts": 0,
    "sdgan_jax.memo": 0,
    "sdgan_jax.outputs": 0,
    "sdgan_jax.config": 1,
    "sdgan_jax.pictures": 1,
    "sdgan_jax.nets": 2,
    "sdgan_jax.augmentation": 3,
    "sdgan_jax.blending": 3,
    "sdgan_jax.face3d": 3,
    "sdgan_jax.latents": 3,
    "sdgan_jax.losses": 3,
    "sdgan_jax.metrics": 3,
    "sdgan_jax.data": 4,
    "sdgan_jax.pretrained": 4,
    "sdgan_jax.networks": 5,
    "sdgan_jax.training": 6,
    "sdgan_jax.inversion": 7,
    "sdgan_jax.pivotal": 7,
    "sdgan_jax.model": 8,
    "sdgan_jax.benchmark": 9,
    "sdgan_jax.evaluation": 9,
    "sdgan_jax.importers": 9,
    "sdgan_jax.photos": 9,
    "sdgan_jax.demo": 10,
    "sdgan_jax": 10,
    "experiments": 11,
}


def sources(package):
    return sorted(
        path
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith("_test.py") and "build" not in path.relative_to(ROOT).parts
    )


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, top_level_only=False):
    """Yields the names of all modules that a file imports, inside functions too."""
    tree = ast.parse(path.read_text())
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room(module):
    """Returns the entry of RANK that a module of this repository belongs to, None for other modules."""
    parts = module.split(".")
    if parts[0] not in ("sdgan_jax", "experiments"):
        return None
    if parts[0] == "experiments" or len(parts) == 1:
        return parts[0]
    name = ".".join(parts[:2])
    is_file = (ROOT / parts[0] / f"{parts[1]}.py").exists() or (ROOT / parts[0] / parts[1]).is_dir()
    return name if is_file else parts[0]  # else a name that the package defines, such as sdgan_jax.load


def test_every_module_has_a_room():
    homeless = {room(module_name(path)) for path in sources("sdgan_jax")} - set(RANK)
    assert not homeless, f"give {homeless} a place in RANK, and in the architecture section of the README"


def test_imports_point_one_way():
    wrong = []
    for path in [*sources("sdgan_jax"), *sources("experiments")]:
        here = room(module_name(path))
        for name in imports(path):
            there = room(name)
            if there and there != here and RANK[there] >= RANK[here]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_dataset_stands_alone():
    needed = {"absl", "array_record", "etils", "numpy", "PIL", "tensorflow_datasets", "tqdm", "tfds_megn"}
    needed |= set(sys.stdlib_module_names)
    for path in sources("tfds_megn"):
        always = {name.split(".")[0] for name in imports(path, top_level_only=True)}
        anywhere = {name.split(".")[0] for name in imports(path)}
        assert not always - needed, path.relative_to(ROOT)
        assert not anywhere - needed - {"apache_beam", "tensorflow", "pillow_heif"}, path.relative_to(ROOT)


@pytest.mark.parametrize("package", ["sdgan_jax", "experiments"])
def test_tensorflow_and_torch_are_never_needed(package):
    """The one exception is the PyTorch code that the benchmark compares with; it is imported on request only."""
    peer = "experiments.torch_stylegan2"
    for path in sources(package):
        names = list(imports(path, top_level_only=True))
        if not module_name(path).startswith(peer):
            assert not {name.split(".")[0] for name in names} & {"tensorflow", "torch", "tf2jax", "clu"}, path
            assert not [name for name in names if name.startswith(peer)], path


def test_importing_everything_loads_no_tensorflow_and_needs_no_torch():
    """torch is made unimportable rather than looked for: tensorboardX loads it where it is installed."""
    modules = [module_name(path) for path in sources("sdgan_jax")]
    program = (
        f"import sys; sys.modules['torch'] = None; import {', '.join(modules)}; print('tensorflow' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"


def test_no_file_is_a_grab_bag():
    banned = {"utils", "util", "helpers", "common", "base", "misc"}
    for package in ("sdgan_jax", "experiments", "tfds_megn", "tests"):
        assert not [path for path in sources(package) if path.stem in banned]


PACKAGES = ("sdgan_jax", "experiments", "tfds_megn")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 399, 60
OPENERS = {"what", "how", "where", "whether", "which"}


def functions(package):
    """Yields name and node of each function in the files of a package."""
    for path in sources(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_are_short(package):
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in sources(package)}
    assert not {path: count for path, count in lines.items() if count > MAX_FILE_LINES}
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions(package)}
    assert not {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES}


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_functions_open_with_a_statement(package):
    openings = {name: (ast.get_docstring(node) or "").partition("\n")[0] for name, node in functions(package)}
    assert not {name: text for name, text in openings.items() if text.partition(" ")[0].lower() in OPENERS}
