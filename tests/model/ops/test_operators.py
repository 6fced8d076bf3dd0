"""Each operator against plain PyTorch, and the law that a row's bits are its own."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
import torch

from model.ops import onednn
from model.ops.attention import reference_paged_attention
from model.ops.kv_store import store_kv
from model.ops.linear import linear, pack_weight
from model.ops.row_invariance import is_row_invariant
from model.ops.swiglu import swiglu
from model.qwen3 import rms_norm
from model.rope import apply_rope

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
ROW_COUNTS = (1, 2, 3, 9, 16, 33, 64, 65, 100, 127, 200, 1030)


@pytest.mark.usefixtures("kernels")
@DTYPES
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("in_features", "out_features"), [(64, 96), (200, 130), (512, 256), (1024, 640), (3072, 300)])
def test_a_row_of_a_product_has_the_same_bits_among_any_rows(
    in_features: int, out_features: int, threads: int, dtype: torch.dtype
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(in_features + out_features)
    weight = pack_weight(torch.randn(out_features, in_features).to(dtype))
    x = torch.randn(1100, in_features).to(dtype)
    whole = linear(x, weight, out_features)
    for rows in ROW_COUNTS:
        for first in (0, 13, 60):
            assert torch.equal(linear(x[first : first + rows], weight, out_features), whole[first : first + rows])


@pytest.mark.usefixtures("built_kernels")
@pytest.mark.parametrize("in_features", [70, 128, 130, 1024])  # panels are 128 values deep
def test_panels_of_widened_weights_give_the_bits_of_products_without_them(in_features: int) -> None:
    weight, x = torch.randn(200, in_features).bfloat16(), torch.randn(250, in_features).bfloat16()
    packed = torch.ops.qwen_batch_cpu.dot_pack(weight)
    by_default = torch.ops.qwen_batch_cpu.dot_enable_panels(True)
    with_panels = linear(x, packed, 200)
    torch.ops.qwen_batch_cpu.dot_enable_panels(False)
    without = linear(x, packed, 200)
    torch.ops.qwen_batch_cpu.dot_enable_panels(by_default)
    assert torch.equal(with_panels, without)


@pytest.fixture
def no_onednn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch as it is built for macOS. What was found about oneDNN's products is forgotten before and after."""
    monkeypatch.setattr("model.ops.linear.kernels_loaded", lambda: False)
    monkeypatch.setattr("model.ops.onednn.can_pack", lambda _: False)
    is_row_invariant.cache_clear()
    yield
    is_row_invariant.cache_clear()


@pytest.mark.usefixtures("no_onednn")
@DTYPES
def test_products_without_onednn_are_right_and_row_invariant(dtype: torch.dtype) -> None:
    weight, x = torch.randn(300, 1024).to(dtype) / 32, torch.randn(130, 1024).to(dtype)
    packed = pack_weight(weight)
    assert packed is weight
    whole = linear(x, packed, 300)
    expected = torch.nn.functional.linear(x.double(), weight.double())
    torch.testing.assert_close(whole.double(), expected, atol=2e-2, rtol=2e-2)
    for rows in (1, 2, 64, 65):
        assert torch.equal(linear(x[13 : 13 + rows], packed, 300), whole[13 : 13 + rows])


def test_a_type_that_onednn_refuses_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw, avx512vl and avx512dq")

    monkeypatch.setattr("model.ops.onednn.pack", refuse)
    onednn.can_pack.cache_clear()
    assert not onednn.can_pack(torch.float32)
    assert not onednn.can_pack(torch.bfloat16)
    onednn.can_pack.cache_clear()


@pytest.mark.usefixtures("kernels")
@DTYPES
@pytest.mark.parametrize("num_rows", [0, 1, 2, 64, 65, 130])
@pytest.mark.parametrize("in_features", [1024, 70])  # 70: of no kernel's steps a multiple
def test_a_product_is_that_of_plain_linear(in_features: int, num_rows: int, dtype: torch.dtype) -> None:
    weight, x = torch.randn(96, in_features).to(dtype) / 32, torch.randn(num_rows, in_features).to(dtype)
    expected = torch.nn.functional.linear(x.double(), weight.double())
    torch.testing.assert_close(linear(x, pack_weight(weight), 96).double(), expected, atol=2e-2, rtol=2e-2)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("num_rows", [1, 40])
def test_a_sum_halfway_between_two_bfloat16_numbers_is_rounded_to_the_even_one(num_rows: int) -> None:
    # Between 1 and 2, neighbours are 2**-7 apart. So 1 plus an odd multiple of 2**-8 is halfway.
    weight = torch.zeros(128, 64, dtype=torch.bfloat16)
    weight[:, 7], weight[:, 40] = 1, torch.arange(1, 256, 2) / 256
    x = torch.where(torch.arange(num_rows) % 2 == 0, 1.0, -4.0).unsqueeze(1).expand(-1, 64).bfloat16()
    exact = x.double() @ weight.double().T
    assert torch.equal(linear(x, pack_weight(weight), 128), exact.bfloat16())


@pytest.mark.parametrize(("depends_below", "invariant"), [(2, True), (3, False), (64, False), (1000, False)])
def test_a_kernel_that_depends_on_the_number_of_rows_is_found_out(depends_below: int, invariant: bool) -> None:
    def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        exact = torch.nn.functional.linear(x.double(), weight.double()).round(decimals=6)
        return exact + (1e-3 if len(x) < depends_below else 0)

    assert is_row_invariant(product, torch.Tensor.clone, (8, 8, torch.float32, 1)) == invariant


@DTYPES
@pytest.mark.parametrize("threads", [1, 2, 5, 7])
def test_a_row_of_the_gate_and_of_norm_and_rope_has_the_same_bits_among_any_rows(
    threads: int, dtype: torch.dtype
) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(threads)
    x, weight = torch.randn(1100, 1536).to(dtype), torch.randn(1536).to(dtype)
    heads, angles = x.view(1100, 12, 128), torch.randn(1100, 64)
    gated, normed, turned = swiglu(x), rms_norm(x, weight, 1e-6), apply_rope(heads, angles.cos(), angles.sin())
    for rows in ROW_COUNTS:
        part = slice(5, 5 + rows)
        assert torch.equal(swiglu(x[part]), gated[part])
        assert torch.equal(rms_norm(x[part], weight, 1e-6), normed[part])
        assert torch.equal(apply_rope(heads[part], angles[part].cos(), angles[part].sin()), turned[part])


@DTYPES
@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim", "page_size"), [(4, 4, 32, 16), (6, 2, 24, 8), (8, 1, 80, 64)]
)
@pytest.mark.parametrize("is_decode", [False, True], ids=["prefill", "decode"])
def test_paged_attention_is_causal_attention_over_each_sequence(
    heads: int, kv_heads: int, head_dim: int, page_size: int, is_decode: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(heads)
    contexts = [1, 7, page_size, page_size + 1, 3 * page_size + 5]
    fed = [1] * len(contexts) if is_decode else [1, 3, page_size, 2, 2 * page_size + 1]
    keys = [torch.randn(n, kv_heads, head_dim).to(dtype) for n in contexts]
    values = [torch.randn(n, kv_heads, head_dim).to(dtype) for n in contexts]
    q = torch.randn(sum(fed), heads, head_dim).to(dtype)
    cache, tables = _paged(keys, values, page_size)
    starts = torch.tensor([0, *torch.tensor(fed).cumsum(0).tolist()], dtype=torch.int32)
    lens = torch.tensor(contexts, dtype=torch.int32)

    out = reference_paged_attention(q, cache, starts, lens, tables, head_dim**-0.5, is_decode)

    assert out.dtype == dtype
    for row, (k, v) in enumerate(zip(keys, values, strict=True)):
        expected = _plain_attention(q[starts[row] : starts[row + 1]], k, v)
        atol = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(out[starts[row] : starts[row + 1]].float(), expected, atol=atol, rtol=1e-2)


def test_stored_keys_and_values_lie_in_their_slots() -> None:
    k, v = torch.randn(5, 2, 4), torch.randn(5, 2, 4)
    cache = torch.zeros(3, 2, 2, 8, 4)
    slots = torch.tensor([23, 0, 8, 9, 1])
    store_kv(k, v, cache, slots)
    for row, slot in enumerate(slots.tolist()):
        assert torch.equal(cache[slot // 8, 0, :, slot % 8], k[row])
        assert torch.equal(cache[slot // 8, 1, :, slot % 8], v[row])
    assert cache.count_nonzero() == k.numel() + v.numel()


def test_the_compiler_is_told_the_truth_about_every_operator() -> None:
    ops, cache = torch.ops.qwen_batch, torch.zeros(3, 2, 2, 8, 4)
    indices = (torch.tensor([0, 2], dtype=torch.int32), torch.tensor([2], dtype=torch.int32))
    tables = torch.tensor([[1, 0]], dtype=torch.int32)
    calls = [
        (ops.linear.default, (torch.randn(3, 8), torch.randn(5, 8), 5)),
        (ops.store_kv.default, (torch.randn(2, 2, 4), torch.randn(2, 2, 4), cache, torch.tensor([8, 9]))),
        (ops.paged_attention.default, (torch.randn(2, 4, 4), cache, *indices, tables, 0.5, False)),
    ]
    for operator, arguments in calls:
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def _paged(keys: list[torch.Tensor], values: list[torch.Tensor], page_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A cache with the sequences in scattered pages, other places full of numbers that must not be seen."""
    counts = [math.ceil(len(k) / page_size) for k in keys]
    pages = list(range(1, sum(counts) + 1))
    random.Random(0).shuffle(pages)
    cache = torch.full((len(pages) + 1, 2, keys[0].shape[1], page_size, keys[0].shape[2]), 9.0).to(keys[0])
    tables = torch.zeros(len(keys), max(counts) + 2, dtype=torch.int32)
    for row, (k, v) in enumerate(zip(keys, values, strict=True)):
        tables[row, : counts[row]] = torch.tensor([pages.pop() for _ in range(counts[row])])
        places = torch.arange(len(k))
        store_kv(k, v, cache, tables[row, places // page_size] * page_size + places % page_size)
    return cache, tables


def _plain_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Queries at the end of the keys, written as in a textbook, in float32."""
    group = q.shape[1] // k.shape[1]
    k, v = k.float().repeat_interleave(group, 1), v.float().repeat_interleave(group, 1)
    scores = torch.einsum("qhd,khd->hqk", q.float(), k) * q.shape[2] ** -0.5
    last = torch.arange(len(k) - len(q), len(k))
    scores = scores.masked_fill(torch.arange(len(k))[None, :] > last[:, None], -math.inf)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
