"""The pieces that users' functions are made of: a line of Python each. What `# bad` ends must never make a row."""

import textwrap

BAD = "  # bad"


def choices(text: str) -> tuple[str, ...]:
    """The lines of a text."""
    return tuple(textwrap.dedent(text).strip("\n").split("\n"))


# What data returns as images of x, n of them.
IMAGES = choices(r"""
    x.astype('f8')
    (x * 255).astype('u1')
    x.reshape(n, 16)
    x[:, 0]
    x.tolist()
    np.repeat(x, 3, 1)
    x > 0.5
    x.astype('f2')
    np.zeros_like(x)
    np.ones_like(x)
    x[..., ::-1]
    np.asfortranarray(x)
    x.astype('>f4')
    np.ma.masked_array(x, x > 0.5)
    __import__('torch').from_numpy(x)
    __import__('torch').from_numpy(x).requires_grad_()
    x.transpose(0, 2, 3, 1)
    np.repeat(x.transpose(0, 2, 3, 1), 3, 3)
    (x * 255).astype('i8')  # bad
    x * 2  # bad
    x - 0.1  # bad
    np.where(x > 0.9, np.nan, x)  # bad
    np.where(x > 0.9, np.inf, x)  # bad
    x[:0]  # bad
    x[:n - 1]  # bad
    x[..., None]  # bad
    x[:, :, :0]  # bad
    np.float32(1)  # bad
    x.astype(object)
    x.astype(str)
    x.astype(complex)
    np.array([x, None], dtype=object)  # bad
    [x[0], x[1, :, :2]]  # bad
    None  # bad
    'images'  # bad
    {'x': x}  # bad
    iter(x)  # bad
    x.reshape(n, 1, 1, 16)
    x[:, :, :1, :1]
""")

# And as labels of y.
LABELS = choices(r"""
    y.astype('i1')
    y.astype('u1')
    y.astype('f4')
    y.tolist()
    y > 0
    y + 1
    y * 2000
    y * (2 ** 40)
    y[:, None]
    np.eye(2)[y]
    y + 0.5  # bad
    y * 0.3  # bad
    y - 1  # bad
    np.where(y > 0, np.nan, 0)  # bad
    y * 0
    np.arange(n)
    np.minimum(np.arange(n), 1)
    y.astype(str)
    np.array(['cat', 'dog'])[y]
    y.astype(object)
    [None] * n  # bad
    y[:n - 1]  # bad
    y[:0]  # bad
    None  # bad
    0  # bad
    y.astype(complex)
    y.astype('u8')
    y.astype('M8[s]')
    [[0], [1, 2]] * (n // 2)  # bad
    np.inf * y  # bad
    __import__('torch').from_numpy(y)
""")

# Whole answers of a data function.
RETURNED = choices(r"""
    x, y, tx
    x, y
    None
    [x, y, tx, ty]
    {'x': x, 'y': y}
    ((x, y), (tx, ty))
    x, y, tx, ty, None
    (v for v in (x, y))
    x
    'x', 'y', 'tx', 'ty'
    tx, ty, x, y
    x, y, np.repeat(tx, 3, 1), ty
    x, y, tx[..., :3], ty
    x, y, tx, ty + 1
    x, y, tx, ty * 0
    x, y, None, None
    x, ty, tx, y
    y, x, ty, tx
    x, y, tx[:1], ty[:1]
    x[:2], y[:2], tx, ty
    x, y, tx, np.arange(m)
    x, np.arange(n) % 4, tx, ty
    x, y, (tx * 255).astype('u1'), ty
""")

# Statements that end any function.
RAISED = choices(r"""
    raise ValueError('no')
    raise Exception
    raise ValueError('\x1b[31mred\n\nlines')
    raise KeyError(('a', 1))
    raise OSError(28, 'full')
    raise PermissionError(13, 'denied', 'f')
    raise FileNotFoundError(2, 'none', 'data.bin')
    raise StopIteration
    raise MemoryError
    raise KeyboardInterrupt
    import asyncio; raise asyncio.CancelledError
    raise type('Own', (BaseException,), {})('x')
    raise UnicodeDecodeError('utf8', b'x', 0, 1, 'r')
    raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})
    raise ValueError('x' * 3_000_000)
    raise ExceptionGroup('g', [ValueError('a')])
    raise NotImplementedError
    assert False
    import sys; sys.exit()
    import sys; sys.exit(0)
    import sys; sys.exit(3)
    import sys; sys.exit('bye')
    exit()
    quit(1)
    1 / 0
    import nothing_of_that_name
    (lambda f: f(f))(lambda f: f(f))
    raise ImportError
    raise SystemExit(None)
    raise ValueError('\udcff')
    raise ValueError('[bold]x[/b]')
    open('/missing')
    raise RuntimeError('CUDA out of memory')
    raise TimeoutError
    raise BrokenPipeError
    raise EOFError
""")

# Statements that a data or model function may do besides.
CALM = choices(r"""
    pass
    print('loading')
    import warnings; warnings.warn('careful')
    np.random.seed(0)
    import torch; torch.manual_seed(1)
    import logging; logging.error('said')
    import os; os.chdir('/')
    x[0] = 0.5
    print('\x1b[2J')
    import sys; sys.stdout.write('no line')
    import os; held = [os.open('/dev/null', 0) for _ in range(100)]
    rng = np.random.default_rng(); x = rng.random((n, 1, 4, 4), dtype='f4')
    import torch; torch.set_default_dtype(torch.float64)
    import sys; sys.argv[:] = []
    import threading; threading.Thread(target=print).start()
    import torch; torch.set_grad_enabled(False)
    import torch; torch.use_deterministic_algorithms(True)
    import locale
""")

# The last line of the user's module, {f} being the function.
MODULES = choices(r"""
    syntax error here
    import sys; sys.exit(0)
    raise ValueError('at import')
    {f} = 3
    del {f}
    class {f}: pass
    import functools; {f} = functools.partial({f})
    {f} = None
    import nothing_of_that_name
    raise KeyboardInterrupt
    {f} = staticmethod({f})
    {f} = eval('lambda *a: None')
    {f} = print
    {f} = {f}()
    async def {f}(*a): pass
    print('imported')
    __name__ = 3
    __file__ = None
    {f}.__module__ = 'nowhere'
    import os; os.remove(__file__)
""")
