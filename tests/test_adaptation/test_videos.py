"""The videos of an adaptation: what is named, what is left out, and the lists of the steps."""

from pathlib import Path

from semidff.adaptation.videos import write_step_lists


def test_a_further_step_changes_no_earlier_list(tmp_path):
    def lists(**videos):
        steps = [dict(name=name, videos=list(given)) for name, given in videos.items()]
        paths = write_step_lists(steps, tmp_path)
        return paths, [Path(path).read_text().split() for path in paths]

    assert lists(regression='a')[1] == [['a']]
    assert lists(regression='a', regression_2='ab')[1] == [['a'], ['a', 'b']]
    paths, contents = lists(regression='a', semantic='a', semantic_3='ab')
    assert paths[0] == paths[1] and contents == [['a'], ['a'], ['a', 'b']]
