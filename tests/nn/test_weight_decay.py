import torch
from torch import nn

from scbig.nn import AlignmentLoss, MambaBlock, split_weight_decay


def test_rates_and_skips_of_every_mixer_are_spared():
    module = nn.Sequential(MambaBlock(4), nn.Linear(4, 4), MambaBlock(4, kind="s6"))
    decayed, spared = split_weight_decay(module, 0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    names = {name_of[id(parameter)] for parameter in spared["params"]}
    assert names == {
        f"{block}.mixers.{i}.{name}"
        for block in (0, 2)
        for i in (0, 1)
        for name in ("log_rate", "skip")
    }
    together = [*decayed["params"], *spared["params"]]
    assert len(together) == len({id(p) for p in together}) == len(name_of)


def test_an_optimiser_takes_the_groups():
    module = MambaBlock(4, is_bidirectional=False)
    before = module.mixers[0].log_rate.detach().clone()
    optimiser = torch.optim.AdamW(split_weight_decay(module, 1.0), lr=0.1)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = module.mixers[0].project_out.weight.detach().clone()
    optimiser.step()
    assert torch.equal(module.mixers[0].log_rate, before)
    torch.testing.assert_close(module.mixers[0].project_out.weight, 0.9 * weight)


def test_the_temperature_of_an_alignment_is_spared():
    module = nn.Sequential(nn.Linear(4, 4), AlignmentLoss(4, 4))
    decayed, spared = split_weight_decay(module, 0.1)
    assert [id(p) for p in spared["params"]] == [id(module[1].log_excess)]
    assert len(decayed["params"]) == 6
