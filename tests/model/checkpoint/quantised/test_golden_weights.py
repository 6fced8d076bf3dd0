"""A quantised weight has the values that the format's own program gives it, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from model.checkpoint.quantised.product import StoredProduct
from model.checkpoint.quantised.readers import UNUSED, Stored, stored_product

FILES = sorted((Path(__file__).parent / "golden").glob("*.safetensors"))  # from tools.make_golden_weights


class Golden:
    """One of the files."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            dtypes = {name: file.get_slice(name).get_dtype() for name in self.tensors}
            self.format = file.metadata()["weight_format"]
        self.value = self.tensors.pop("value")
        self.stored = {name: Stored(tuple(each.shape), dtypes[name]) for name, each in self.tensors.items()}

    def product(self) -> StoredProduct:
        product = stored_product(self.format, (self.value.shape[0], self.value.shape[1]), self.stored)
        assert product is not None
        return product


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def test_there_are_files_of_every_format() -> None:
    assert {Golden(path).format for path in FILES} == {"fp8", "awq", "gptq", "gptq_v2", "compressed-tensors"}


def test_the_decoded_weight_has_the_bits_of_the_formats_own_program(golden: Golden) -> None:
    decoded = torch.full(golden.value.shape, torch.nan, dtype=golden.value.dtype)
    golden.product().decode(golden.tensors, decoded)
    assert torch.equal(decoded, golden.value)


def test_a_reader_asks_for_the_tensors_that_the_program_has_written(golden: Golden) -> None:
    parts = golden.product().parts()
    assert {name for name in golden.stored if name not in UNUSED} == set(parts)
    for name, part in parts.items():
        assert golden.stored[name].shape == part.shape
        assert golden.stored[name].dtype in part.dtypes


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.startswith("gptq-")], ids=lambda path: path.stem)
def test_gptq_weights_without_an_index_of_groups_have_groups_of_neighbours(path: Path) -> None:
    golden = Golden(path)
    in_order = torch.arange(golden.value.shape[1], dtype=torch.int32) // 64
    is_in_order = torch.equal(golden.tensors.pop("g_idx"), in_order)
    del golden.stored["g_idx"]
    decoded = torch.empty(golden.value.shape)
    golden.product().decode(golden.tensors, decoded)
    assert torch.equal(decoded, golden.value) == is_in_order


def test_packed_weights_may_have_an_index_of_groups() -> None:
    golden = Golden(Path(__file__).parent / "golden" / "packed-4-group.safetensors")
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    plain, ordered = torch.empty(golden.value.shape), torch.empty(golden.value.shape)
    golden.product().decode(golden.tensors, plain)
    golden.stored["weight_g_idx"] = Stored((256,), "I32")
    golden.tensors["weight_g_idx"] = (order // 32).to(torch.int32)
    golden.product().decode(golden.tensors, ordered)
    scales = golden.tensors["weight_scale"]
    codes = plain / scales.repeat_interleave(32, dim=1)
    assert torch.equal(ordered, codes.round() * scales[:, order // 32])
