"""Flow networks compared on real footage: equal iterations, accuracy and speed of each.

DATA_ROOT=data/person TRUNK=data/weights/resnet18.pth python tools/run_experiment.py \
    configs/person/experiment_flow-networks.py
"""

_base_ = ['./experiment.py']

work_dir = 'work_dirs/person_flow-networks'

_two_step = 'configs/person/two_step_person.py'
_flow_networks = dict(
    three_eighths=dict(config=_two_step, cfg_options={'model.temporal.flow_network.width': 0.375}),
    eighth=dict(config=_two_step),
    inception=dict(config='configs/person/two_step_flownet-inception_person.py'),
)
steps = [step for step in _base_.steps if step['name'] == 'stage_one']
rows = [row for row in _base_.rows if row['name'] in ('frame', 'copy')]
for _name, _network in _flow_networks.items():
    steps.append(
        dict(
            name=_name,
            train=_network['config'],
            needs=['stage_one'],
            cfg_options=_network.get('cfg_options', {}),
        )
    )
    for _row, _file in (('reg', 'regression.pth'), ('two-step', 'last.pth')):
        rows.append(
            dict(
                _network,
                name=f'{_name}-{_row}',
                method='propagate',
                checkpoint=f'{{{_name}}}/{_file}',
            )
        )
key_intervals = [10, 20]
render = None
