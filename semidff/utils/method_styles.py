"""Color and marker of each method, the same in all pictures."""

METHOD_STYLES = {
    'frame': ('tab:blue', '*'),
    'copy': ('tab:gray', 'v'),
    'coast': ('tab:orange', 's'),
    'interpolate': ('tab:green', 'D'),
    'propagate': ('tab:red', 'o'),
    'centered': ('tab:purple', '^'),
    'blend': ('tab:brown', 'X'),
    'adaptive': ('tab:pink', 'P'),
}
