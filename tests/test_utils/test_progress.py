"""The progress display."""

from semidff.utils.progress import track


def test_every_item_is_yielded_and_counted(capsys):
    assert list(track(iter('abc'), 'clip [a]', 3, 'files')) == ['a', 'b', 'c']
    shown = capsys.readouterr().err
    assert 'clip [a]: 100%' in shown and '3/3' in shown and 'files/s' in shown
    assert list(track([], 'nothing')) == []


def test_it_may_end_early():
    items = iter('abc')
    tracked = track(items, 'clip')
    assert next(tracked) == 'a'
    tracked.close()
    assert list(items) == ['b', 'c']
