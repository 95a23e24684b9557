"""What the documentation names exists: files, links, options of the tools."""

import ast
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from semidff import __version__
from tests.processes import call

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
PAGES = [*sorted(ROOT.glob('*.md')), *DOCS]
PATH = re.compile(r'(?<![\w./-])(?:configs|tools|tests|docs|semidff)/[\w./-]*[\w/]')
THE_READERS_OWN = ('configs/mine',)

pages = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


@pages
def test_files_that_are_named_exist(page):
    named = {
        path for path in PATH.findall(page.read_text()) if not path.startswith(THE_READERS_OWN)
    }
    missing = sorted(path for path in named if not (ROOT / path).exists())
    assert not missing, f'{page.name} names files that are not there: {missing}'


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)]+)\)', page.read_text()):
        if '://' in target:
            continue
        path, _, anchor = target.partition('#')
        file = page.parent / path if path else page
        assert file.exists(), f'{page.name}: {target}'
        if anchor:
            assert anchor in anchors(file), f'{page.name}: {target}; there are {anchors(file)}'


@pages
def test_rows_of_a_table_have_as_many_cells_as_its_header(page):
    for table in re.findall(r'(?:^\|.*\n)+', page.read_text(), re.MULTILINE):
        cells = [len(re.findall(r'(?<!\\)\|', row)) for row in table.splitlines()]
        assert len(set(cells)) == 1, table


def anchors(page: Path) -> set[str]:
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pages
def test_options_of_the_tools_exist(page):
    for block in re.findall(r'```bash\n(.*?)```', page.read_text(), re.DOTALL):
        # continued lines: after a backslash, or indented further as in a synopsis
        for command in re.sub(r'\\?\n\s+', ' ', block).split('\n'):
            call = re.search(r'(tools/[\w/]+\.py) ?([\w-]*)(.*)', command.split(' #')[0])
            if call:
                used = re.findall(r'(?<![\w-])--[\w-]+', ''.join(call.groups()[1:]))
                unknown = sorted({*used} - options(call[1], call[2]))
                assert not unknown, f'{page.name}: {call[1]} has no {unknown}'


@cache
def options(tool: str, first: str) -> set[str]:
    """The options in the help of a tool, or of its sub-command ``first``."""
    arguments = [*([] if first.startswith('-') else [first]), '--help']
    output = StringIO()
    with redirect_stdout(output), pytest.raises(SystemExit):
        call(ROOT / tool, *arguments)
    return set(re.findall(r'--[\w-]+', output.getvalue()))


def test_the_design_names_what_exists():
    page = (ROOT / 'docs' / 'design.md').read_text()
    source = ''.join(path.read_text() for path in (ROOT / 'semidff').rglob('*.py'))
    files = re.findall(r'`(\w+/[\w/]*\.py)`', page)
    assert not [
        path for path in files if not any((ROOT / r / path).exists() for r in ('semidff', ''))
    ]
    assert not [name for name in re.findall(r'`(\w+)`', page) if name not in source]


def test_every_config_for_imagenet_is_a_row_of_the_papers():
    page = (ROOT / 'docs' / 'papers.md').read_text()
    folders = ('rfcn', 'semi_dff', 'dff', 'flow')
    configs = {
        f'configs/{f}/{c.name}' for f in folders for c in (ROOT / 'configs' / f).glob('*.py')
    }
    assert configs <= set(PATH.findall(page))


@pytest.mark.parametrize(
    ('paper', 'tables', 'equations'), [('semi-DFF', 4, 9), ('Deep Feature Flow', 8, 7)]
)
def test_every_table_and_equation_is_on_the_page_of_the_papers(paper, tables, equations):
    page = (ROOT / 'docs' / 'papers.md').read_text()
    [part] = re.findall(rf'^## {paper} \(.*?(?=^## )', page, re.MULTILINE | re.DOTALL)
    assert set(range(1, tables + 1)) <= numbers_of('Table', part)
    assert set(range(1, equations + 1)) <= numbers_of('Eq', part)


def numbers_of(word: str, text: str) -> set[int]:
    """The numbers in ``Table 1``, ``Tables 6, 7`` and ``Eqs. 5 to 7``."""
    found = set()
    text = ' '.join(text.split())
    for low, between, high in re.findall(rf'{word}s?\.? (\d)(?:( to |, | and )(\d))?', text):
        low, high = int(low), int(high or low)
        found |= set(range(low, high + 1)) if between == ' to ' else {low, high}
    return found


@pytest.mark.parametrize(
    ('file', 'name'),
    [
        ('apis/video_inferencer.py', '__init__'),
        ('apis/video_inferencer.py', '__call__'),
        ('apis/adaptation.py', 'adapt'),
        ('apis/archive.py', 'detect_archive'),
        ('apis/detect_together.py', 'detect_together'),
    ],
)
def test_the_python_interface_is_documented(file, name):
    page = (ROOT / 'docs' / 'inference.md').read_text()
    tree = ast.parse((ROOT / 'semidff' / file).read_text())
    [function] = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name]
    arguments = [*function.args.args, *function.args.kwonlyargs]
    named = set(re.findall(r'`(\w+)', page)) | {'self'}
    assert {argument.arg for argument in arguments} <= named


def test_the_docs_are_short():
    words = sum(len(page.read_text().split()) for page in (ROOT / 'README.md', *DOCS))
    assert words <= 19_000


def test_every_page_is_linked():
    text = ''.join(page.read_text() for page in PAGES)
    linked = set(re.findall(r'\]\((?:docs/)?(\w+\.md)', text))
    assert {page.name for page in DOCS} <= linked


def test_the_readme_names_the_versions_that_are_pinned():
    pins = dict(
        re.findall(r'^([\w-]+)==(\S+)', (ROOT / 'requirements.txt').read_text(), re.MULTILINE)
    )
    readme = (ROOT / 'README.md').read_text()
    for name in ('torch', 'torchvision', 'onedl-mmcv', 'onedl-mmengine', 'onedl-mmdetection', 'av'):
        assert pins[name] in readme, f'README.md does not have {name} {pins[name]}'


def test_the_newest_version_of_the_changelog_is_that_of_the_package():
    newest = re.search(r'^## (\S+) ', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[1]
    citation = re.search(r'^version: (\S+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)[1]
    assert newest == citation == __version__
