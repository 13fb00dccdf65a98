"""A configuration is read, checked key by key, and written so that it reads the same."""

import dataclasses

import pytest

from sobolev_pruning.study import ConfigError, StudyConfig
from sobolev_pruning.study._config import (
    _ACTIVATIONS,
    FinetuningConfig,
    NetworkConfig,
    PruningConfig,
    ReferenceConfig,
)
from sobolev_pruning.surrogate._activations import STORED


def read(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    config = StudyConfig.from_toml(path)
    config.check()
    return config


def test_an_empty_file_is_the_published_case(tmp_path):
    config = read(tmp_path, "")
    assert config == StudyConfig()
    assert (config.reference.dim, config.reference.strike, config.reference.basket_volatility) == (7, 1.1, 0.2)
    assert (config.reference.exposure_date, config.reference.maturity_date) == (1.0, 2.0)
    assert config.reference.spot_volatility_multiplier == 1.5
    assert config.network == NetworkConfig((128,) * 6, "silu")
    assert config.pruning.keep == ((8,) * 6, (3, 3))
    assert config.evaluation.points == 4096


FULL = """
seed = 3
[reference]
dim = 2
strike = 1
weights = [1, 2.5]
volatilities = [0.1, 0.3]
correlation = [[1, 0.5], [0.5, 1]]
[spots]
cube_share = 0.25
[network]
hidden = [16, 8]
activation = "tanh"
[oversized]
steps = 10
learning_rate = 1
[pruning]
keep = [[4, 3], [2]]
regions = 4
[finetuning]
second_order_below = 0
[evaluation]
points = 100
"""


def test_every_section_is_read(tmp_path):
    config = read(tmp_path, FULL)
    assert config.seed == 3
    assert config.reference.weights == (1.0, 2.5)
    assert config.reference.correlation == ((1.0, 0.5), (0.5, 1.0))
    assert config.spots.cube_share == 0.25
    assert config.network == NetworkConfig((16, 8), "tanh")
    assert config.pruning.keep == ((4, 3), (2,))
    assert config.finetuning.second_order_below == 0
    assert config.evaluation.points == 100
    # What is not given stays.
    assert config.oversized.batch_size == StudyConfig().oversized.batch_size
    assert config.finetuning.steps == FinetuningConfig().steps


def test_a_whole_number_serves_as_a_number(tmp_path):
    config = read(tmp_path, FULL)
    assert (config.reference.strike, config.oversized.learning_rate) == (1.0, 1.0)
    assert {type(x) for x in (config.reference.strike, *config.reference.weights)} == {float}


@pytest.mark.parametrize("text", ["", FULL], ids=["defaults", "everything"])
def test_what_is_written_reads_the_same(tmp_path, text):
    config = read(tmp_path, text)
    assert read(tmp_path, config.to_toml()) == config


BAD = {
    "no TOML": ("seed = = 1", r"not valid TOML \(.*line 1"),
    "key twice": ("seed = 1\nseed = 2", "not valid TOML"),
    "unknown key": ("[finetuning]\nstep = 3", "unknown key finetuning.step; did you mean 'steps'"),
    "unknown section": ("[prunning]\nkeep = [[1]]", "unknown key prunning; did you mean 'pruning'"),
    "strange key": ("zzz = 1", "unknown key zzz; known are seed, reference"),
    "table for a number": ("[seed]\na = 1", "seed is .*; it must be a whole number"),
    "number for a table": ("reference = 3", "reference is 3; it must be a table"),
    "text for a number": ('[reference]\nstrike = "1.1"', "reference.strike is '1.1'; it must be a number"),
    "number for a text": ("[network]\nactivation = 3", "network.activation is 3; it must be a string"),
    "fraction for a count": ("[oversized]\nsteps = 2.5", "oversized.steps is 2.5; it must be a whole number"),
    "truth for a number": ("[reference]\nstrike = true", "reference.strike is True; it must be a number"),
    "truth for a count": ("seed = true", "seed is True; it must be a whole number"),
    "date for a number": ("[reference]\nstrike = 2020-01-01", "reference.strike is .*; it must be a number"),
    "number for a list": ("[network]\nhidden = 8", "network.hidden is 8; it must be a list"),
    "list for a number": ("[reference]\nstrike = [1.1]", r"reference.strike is \[1.1\]; it must be a number"),
    "flat list of networks": ("[pruning]\nkeep = [3, 3]", r"pruning.keep\[0\] is 3; it must be a list"),
    "text in a list": ('[network]\nhidden = [8, "a"]', r"network.hidden\[1\] is 'a'; it must be a whole number"),
    "seed": ("seed = -1", r"seed is -1; it must be in \[0, 2147483647\]"),
    "large seed": ("seed = 2147483648", "seed is 2147483648"),
    "dim": ("[reference]\ndim = 0", "reference.dim is 0"),
    "basket volatility": ("[reference]\nbasket_volatility = -0.2", "basket_volatility is -0.2; it must be positive"),
    "no basket volatility": ("[reference]\nbasket_volatility = 0", "basket_volatility is 0"),
    "multiplier": ("[reference]\nspot_volatility_multiplier = 0.0", "spot_volatility_multiplier is 0.0"),
    "strike": ("[reference]\nstrike = inf", "reference.strike is inf; it must be finite"),
    "NaN strike": ("[reference]\nstrike = nan", "reference.strike is nan; it must be finite"),
    "exposure date": ("[reference]\nexposure_date = -1.0", "reference.exposure_date is -1.0"),
    "maturity date": ("[reference]\nmaturity_date = nan", "reference.maturity_date is nan"),
    "dates in another order": ("[reference]\nmaturity_date = 0.5", "maturity_date is 0.5; it must be later than .* 1"),
    "equal dates": ("[reference]\nexposure_date = 2.0", "must be later than reference.exposure_date, 2"),
    "negative volatility": (
        "[reference]\ndim = 2\nvolatilities = [0.1, -0.2]",
        r"reference.volatilities\[1\] is -0.2; it must be positive",
    ),
    "negative weight": ("[reference]\ndim = 2\nweights = [1, -1]", r"reference.weights\[1\] is -1.0"),
    "weights all zero": ("[reference]\ndim = 2\nweights = [0, 0.0]", "reference.weights are all zero"),
    "too few weights": ("[reference]\nweights = [1, 2]", "reference.weights holds 2 numbers; reference.dim = 7"),
    "too many volatilities": ("[reference]\ndim = 1\nvolatilities = [1, 2]", "reference.volatilities holds 2 numbers"),
    "correlation": ("[reference]\ndim = 1\ncorrelation = [[2]]", r"reference.correlation\[0\]\[0\] is 2.0"),
    "correlation shape": ("[reference]\ndim = 2\ncorrelation = [[1, 0], [1]]", "reference.correlation is not 2 rows"),
    "cube share": ("[spots]\ncube_share = 1.5", r"spots.cube_share is 1.5; it must be in \[0, 1\]"),
    "activation": ('[network]\nactivation = "foo"', "network.activation is foo; it must be one of celu, .*silu"),
    "activation of two arguments": ('[network]\nactivation = "glu"', "network.activation is glu"),
    "no layers": ("[network]\nhidden = []", "network.hidden is empty"),
    "empty layer": ("[network]\nhidden = [8, 0]", r"network.hidden\[1\] is 0"),
    "steps": ("[oversized]\nsteps = 0", "oversized.steps is 0"),
    "batch size": ("[finetuning]\nbatch_size = 1", "finetuning.batch_size is 1"),
    "paths": ("[oversized]\npaths = -3", "oversized.paths is -3"),
    "learning rate": ("[oversized]\nlearning_rate = 0", "oversized.learning_rate is 0"),
    "weight decay": ("[finetuning]\nweight_decay = -1", "finetuning.weight_decay is -1.0; it must be at least 0"),
    "gradient weight": ("[finetuning]\ngradient_weight = nan", "finetuning.gradient_weight is nan"),
    "region scale": ("[pruning]\nregion_scale = 0", "pruning.region_scale is 0"),
    "regions": ("[pruning]\nregions = 5000", "pruning.regions is 5000; it must not exceed pruning.refit_samples, 2048"),
    "nothing to keep": ("[pruning]\nkeep = []", "pruning.keep is empty"),
    "no layer to keep": ("[pruning]\nkeep = [[]]", r"pruning.keep\[0\] has 0 hidden layers"),
    "no node to keep": ("[pruning]\nkeep = [[8, 0]]", r"pruning.keep\[0\]\[1\] is 0"),
    "more nodes than there are": ("[pruning]\nkeep = [[3], [200, 3]]", r"pruning.keep\[1\] keeps 200 nodes .* the 128"),
    "more layers than there are": ("[pruning]\nkeep = [[3, 3, 3, 3, 3, 3, 3]]", r"pruning.keep\[0\] has 7 hidden"),
    "the same network twice": ("[pruning]\nkeep = [[3], [3]]", "pruning.keep names the same network twice"),
    "points": ("[evaluation]\npoints = 1", "evaluation.points is 1; it must be in"),
    "number beyond every float": (f"[reference]\nstrike = {10**400}", "reference.strike is inf; it must be finite"),
    "deeply nested list": (f"seed = {'[' * 100_000}", r"not valid TOML \(maximum recursion"),
    "deeply nested table": (f"seed{'.a' * 60} = 1", r"seed is \{'a': \{'a'.*; it must be a whole number"),
    "a key of too many parts": (f"seed{'.a' * 100_000} = 1", "a key has more than 64 parts"),
    "long key": (f"{'k' * 10**6} = 1", "unknown key kkk"),
    "long text": (f'[network]\nactivation = "{"a" * 10**6}"', "network.activation is aaa"),
    "long list": (f"seed = {[*range(10**5)]}", r"seed is \[0, 1, "),
    "digits beyond what Python reads": (f"seed = {'1' * 5000}", r"not valid TOML \(Exceeds the limit"),
    "digits beyond what Python writes": (f"seed = 0x{'f' * 5000}", "seed is int of very many digits"),
    "escapes in a key": ('"\\u001b[2J" = 1', r"unknown key \\x1b\[2J"),
    "count beyond every float": (f"[oversized]\nsteps = {10**400}", "oversized.steps is 10000"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_configurations_are_refused_by_name(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("path", ["/dev/zero", "a\0", "n" * 300, "d/" * 5000])
def test_what_is_no_file_is_refused_and_not_waited_for(path):
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        StudyConfig.from_toml(path)
    assert len(str(caught.value)) < 400


def test_a_message_about_a_file_names_it(tmp_path):
    (tmp_path / "mine.toml").write_text("seed = -1")
    with pytest.raises(ConfigError, match=r"mine\.toml: seed is -1"):
        StudyConfig.from_toml(tmp_path / "mine.toml")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read \(No such file"):
        StudyConfig.from_toml(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory"):
        StudyConfig.from_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\nseed = 1\n")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        StudyConfig.from_toml(str(tmp_path / "latin.toml"))


FROM_PYTHON = {
    "text for a number": (lambda: {"seed": "1"}, "seed is '1'; it must be a whole number"),
    "None for a number": (lambda: {"seed": None}, "seed is None; it must be a whole number"),
    "truth for a number": (lambda: {"reference": ReferenceConfig(strike=True)}, "reference.strike is True"),
    "None for a section": (lambda: {"network": None}, "network is None; it must be a NetworkConfig"),
    "another section": (lambda: {"oversized": FinetuningConfig()}, "oversized is .*; it must be a TrainingConfig"),
    "list for a tuple": (
        lambda: {"network": NetworkConfig([8, 8])},
        r"network.hidden is \[8, 8\]; from Python .* a tuple",
    ),
    "negative volatility": (
        lambda: {"reference": ReferenceConfig(basket_volatility=-1.0)},
        "basket_volatility is -1.0",
    ),
    "kept nodes": (lambda: {"pruning": PruningConfig(keep=((129,),))}, r"pruning.keep\[0\] keeps 129 nodes"),
    "activation": (
        lambda: {"network": NetworkConfig(activation="foo")},
        "network.activation is foo; it must be one of",
    ),
}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("parts", "message"), FROM_PYTHON.values(), ids=FROM_PYTHON.keys())
def test_from_python_the_same_mistakes_are_named(parts, message):
    with pytest.raises(ValueError, match=message):
        StudyConfig(**parts()).check()


def test_from_python_an_unknown_key_is_named():
    with pytest.raises(TypeError, match="sead"):
        dataclasses.replace(StudyConfig(), sead=1)


def test_allowed_activations_are_those_that_can_be_stored():
    assert set(_ACTIVATIONS) == {name.rpartition(".")[2] for name in STORED}
