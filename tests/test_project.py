"""The project as a whole: pinned versions, order of imports, contents that no file may have."""

import ast
import configparser
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from itertools import accumulate
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TEXT = {'.py', '.md', '.cfg', '.toml', '.txt', '.yml', '.yaml', '.cff', '.sh', ''}


def project_files() -> list[Path]:
    listed = subprocess.run(
        ['git', '-C', str(ROOT), 'ls-files', '--cached', '--others', '--exclude-standard'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip('not a git checkout, so what belongs to the project is not known')
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix in TEXT]


@pytest.mark.parametrize(
    ('what', 'pattern'),
    [
        ('a path of one machine', r'(?<![\w.}])/(?:root|work|home|Users)/'),
        (
            'an address of a package registry',
            r'pypi[.]org|pythonhosted[.]org|(?<!emit-)index[-]url',
        ),
        ('an address with a password', r'://[^/\s:@]+:[^/\s@]+@'),
    ],
)
def test_no_file_contains(what, pattern):
    for path in project_files():
        for number, line in enumerate(path.read_text(errors='replace').splitlines(), 1):
            assert not re.search(pattern, line), f'{path.relative_to(ROOT)}:{number} has {what}'


# Packages from the bottom to the top; each may import those on lower lines, and nothing beside or
# above it.
LAYERS = (
    ('version',),
    ('utils', 'compat', 'filter'),
    ('checkpoints',),
    ('datasets', 'models', 'synthetic'),
    ('inference',),
    ('visualization',),
    ('evaluation',),
    ('engine', 'converters'),
    ('points',),
    ('adaptation', 'deployment'),
    ('registry',),
    ('apis',),
)
RANK = {package: rank for rank, layer in enumerate(LAYERS) for package in layer}
# Narrower than their place in the order.
ONLY = {'models/losses': set()}


@pytest.mark.parametrize('package', sorted(p for p in RANK if (ROOT / 'semidff' / p).is_dir()))
def test_packages_import_downwards_only(package):
    below = {other for other, rank in RANK.items() if rank < RANK[package]}
    check_imports(package, below & ONLY.get(package, below))


def test_losses_import_nothing_of_the_package():
    check_imports('models/losses', ONLY['models/losses'])


def check_imports(package: str, allowed: set[str]) -> None:
    own = f'semidff.{package.replace("/", ".")}'
    path = ROOT / 'semidff' / package
    for module in list(path.rglob('*.py')) or [path.with_suffix('.py')]:
        for name in imports(module):
            if name.split('.')[0] != 'semidff' or f'{name}.'.startswith(f'{own}.'):
                continue
            other = name.split('.')[1] if '.' in name else ''
            assert other in allowed, f'{module.relative_to(ROOT)} imports {name}'


def test_every_package_has_a_place_in_the_order():
    found = {path.parent.name for path in (ROOT / 'semidff').glob('*/__init__.py')}
    assert found <= RANK.keys()


def test_no_circular_imports():
    """Imports inside functions and under TYPE_CHECKING count too."""
    modules = {name_of(path): imports(path) for path in (ROOT / 'semidff').rglob('*.py')}
    graph = {
        module: {needed for name in names for needed in run_by_import(module, name, modules)}
        for module, names in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(' -> '.join(reversed(error.args[1])))


def run_by_import(module: str, name: str, modules: dict) -> set[str]:
    """Modules that run before an import of ``name`` in ``module`` is complete, if only ``module``
    has begun to run.
    """
    if name.split('.')[0] != 'semidff':
        return set()
    while name not in modules:
        name = name.rpartition('.')[0]  # a name in a module
    packages = accumulate(name.split('.')[:-1], '{}.{}'.format)
    return {name, *(p for p in packages if not f'{module}.'.startswith(f'{p}.'))} - {module}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(module: Path) -> list[str]:
    """Full names of what a file imports: modules, and names in modules."""
    package = list(module.relative_to(ROOT).parent.parts)
    names = []
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = '.'.join([*base, *([node.module] if node.module else [])])
            names += [f'{stem}.{alias.name}' for alias in node.names]
    return names


# Names of the standard library that Python 3.10 does not have.
NEWER = {
    'tomllib', 'asyncio.TaskGroup', 'asyncio.timeout', 'contextlib.chdir', 'datetime.UTC',
    'enum.StrEnum',
    'itertools.batched', 'typing.LiteralString', 'typing.Never', 'typing.NotRequired',
    'typing.Required',
    'typing.Self', 'typing.TypeVarTuple', 'typing.Unpack', 'typing.assert_never',
    'typing.assert_type',
    'typing.dataclass_transform', 'typing.override', 'typing.reveal_type', 'warnings.deprecated',
}  # fmt: skip


def test_imports_exist_in_the_oldest_python():
    for folder in ('semidff', 'tools'):
        for module in (ROOT / folder).rglob('*.py'):
            assert not NEWER & set(imports(module)), module


def test_requirements_are_pinned_and_fit_the_package():
    pinned: dict[str, list[Requirement]] = {}
    for line in (ROOT / 'requirements.txt').read_text().splitlines():
        if line.startswith('#'):
            continue
        requirement = Requirement(line)
        assert requirement.url is None, line
        assert [s.operator for s in requirement.specifier] == ['=='], line
        pinned.setdefault(requirement.name, []).append(requirement)
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    extras = setup['options.extras_require']
    wanted = '\n'.join([setup['options']['install_requires'], *extras.values()])
    for line in wanted.splitlines():
        if not line or line.startswith('#'):
            continue
        need = Requirement(line)
        assert need.name in pinned, f'requirements.txt does not pin {need.name}'
        for pin in pinned[need.name]:
            version = next(iter(pin.specifier)).version
            assert need.specifier.contains(version), f'{pin} is outside of {need}'
