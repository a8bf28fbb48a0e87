"""What users' models, measures and penalties return, a line of Python each."""

from benchmarks.damage.grammar import choices

NET = "nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 8), nn.ReLU(), nn.Linear(8, classes))"

# What a model function returns.
NETS = choices(r"""
    NET
    nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))
    nn.Flatten()
    nn.Identity()
    None
    42
    nn.Linear
    'fcn'
    lambda x: x
    NET.double()
    NET.half()
    NET.requires_grad_(False)
    NET[:3]
    nn.Sequential(NET, nn.Dropout(0.5))
    nn.Sequential(NET, nn.Softmax(1))
    nn.Sequential(NET, nn.BatchNorm1d(classes))
    nn.Conv2d(shape[0], classes, 9)
    nn.Conv2d(shape[0], classes, 2)
    nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], classes + 1))
    nn.Sequential()
    nn.Sequential(nn.Flatten(), nn.Linear(3, classes))
    [NET]
    torch.jit.script(NET)
    NET.to('meta')
    nn.ModuleList([NET])
""")

# What forward returns of the logits z.
OUTPUTS = choices(r"""
    z
    (z, z)
    {'logits': z}
    [z]
    z[0]
    z.sum()
    z[:, :1]
    z * float('nan')
    z * float('inf')
    z.detach()
    z.long()
    z.double()
    z.numpy()
    None
    z.tolist()
    z + torch.rand_like(z)
    z.T
    z[:, :, None]
    z.half()
    z.to_sparse()
    z * 0
    z.expand(2, *z.shape)
    torch.rand(len(z), z.shape[1])
    z.requires_grad_()
    z.argmax(1)
    x.mul_(2).flatten(1)[:, :z.shape[1]]
    complex(1) * z
    z.softmax(1).log()
""")

# What a measure returns.
NUMBERS = choices(r"""
    {'own': 1.0}
    {}
    None
    1.0
    {'own': None}
    {'own': 'x'}
    {'own': float('nan')}
    {'own': float('inf')}
    {1: 2.0}
    {'': 1.0}
    {'own': torch.ones(3)}
    {'own': torch.tensor(1.0)}
    {'own': np.float32(1)}
    {'own': 10 ** 400}
    {'own': True}
    {'own': 1j}
    {'clean_accuracy': 2.0}
    {'a\nb': 1.0}
    {'x' * 5000: 1.0}
    {'\x1b[31m': 1.0}
    [{'measure': 'own', 'value': 1.0}]
    [1]
    []
    {'own': {'deep': 1.0}}
    {f'm{i}': float(i) for i in range(300)}
    (1, 2)
    [{'measure': 'own'}]
    {'own/x': 1.0}
    {'failed': 1.0}
    [{'measure': 'own', 'value': 1.0, 'colour': 'red'}]
    'own'
    {'own': -0.0}
""")

# What a penalty returns of its matrices.
COSTS = choices(r"""
    sum(W.square().sum() for W in matrices)
    0.0
    None
    torch.tensor(1.0)
    float('nan') * matrices[0].sum()
    -matrices[0].square().sum() * 1e30
    matrices[0]
    matrices
    matrices[99].sum()
    'x'
    matrices[0].sum().detach()
    matrices[0].double().sum()
    matrices[0].sum().item()
    1j * matrices[0].sum()
""")
