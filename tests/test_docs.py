"""What the documentation names exists: files, links, options of the tools."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / 'docs').glob('*.md'))
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'SECURITY.md', *DOCS]
PATH = re.compile(r'(?<![\w./-])(?:configs|tools|tests|docs|semidff)/[\w./-]*[\w/]')
# functions that add options which several tools have in common, and their modules
SHARED_OPTIONS = {
    'add_launch_arguments': 'engine/launch.py',
    'ToolParser': 'utils/arguments.py',
    'add_cfg_options': 'utils/arguments.py',
    'add_device': 'utils/arguments.py',
    'add_key_intervals': 'utils/arguments.py',
    'add_model_arguments': 'utils/arguments.py',
    'add_method_arguments': 'utils/arguments.py',
    'add_score_threshold': 'utils/arguments.py',
    'add_timing_arguments': 'utils/arguments.py',
}
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


def anchors(page: Path) -> set[str]:
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pages
def test_options_of_the_tools_exist(page):
    for block in re.findall(r'```bash\n(.*?)```', page.read_text(), re.DOTALL):
        # continued lines: after a backslash, or indented further as in a synopsis
        for command in re.sub(r'\\?\n\s+', ' ', block).split('\n'):
            script = re.search(r'tools/[\w/]+\.py', command)
            if not script:
                continue
            source = (ROOT / script[0]).read_text()
            for function, module in SHARED_OPTIONS.items():
                if re.search(rf'{function}\b', source):
                    source += (ROOT / 'semidff' / module).read_text()
            used = re.findall(r'(?<![\w-])--[\w-]+', command[script.end() :].split(' #')[0])
            unknown = [option for option in used if f"'{option}'" not in source]
            assert not unknown, f'{page.name}: {script[0]} has no {unknown}'


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
    for low, between, high in re.findall(rf'{word}s?\.? (\d)(?:( to |, | and )(\d))?', text):
        low, high = int(low), int(high or low)
        found |= set(range(low, high + 1)) if between == ' to ' else {low, high}
    return found


def test_every_page_is_linked():
    text = ''.join(page.read_text() for page in PAGES)
    linked = set(re.findall(r'\]\((?:docs/)?(\w+\.md)', text))
    assert {page.name for page in DOCS} <= linked


def test_the_readme_names_the_versions_that_are_pinned():
    pins = dict(
        re.findall(r'^([\w-]+)==(\S+)', (ROOT / 'requirements.txt').read_text(), re.MULTILINE)
    )
    readme = (ROOT / 'README.md').read_text()
    for name in (
        'torch',
        'torchvision',
        'onedl-mmcv',
        'onedl-mmengine',
        'onedl-mmdetection',
        'av',
    ):
        assert pins[name] in readme, f'README.md does not have {name} {pins[name]}'
