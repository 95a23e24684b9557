"""Messages in place of tracebacks."""

import pytest
from torch.utils.data import DataLoader, Dataset

from semidff.utils.error_messages import describe


class Frames(Dataset):
    """One frame, which cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise self.error


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (FileNotFoundError('a.jpg does not exist'), 'a.jpg does not exist'),
        (ValueError('a.jpg: damaged\nCopy it again'), 'a.jpg: damaged\nCopy it again'),
        (RuntimeError('a.jpg: damaged'), 'RuntimeError: a.jpg: damaged\n--debug'),
    ],
)
def test_errors_of_data_workers_are_those_of_the_data(error, message):
    with pytest.raises(type(error)) as caught:
        next(iter(DataLoader(Frames(error), num_workers=1)))
    assert describe(caught.value).startswith(message)
