from __future__ import annotations

from array import array

import pytest
import torch

from engine.execution.step_inputs import StepBuffers, StepInputs
from engine.scheduling.batch import Batch
from engine.scheduling.sequence import Sequence
from tests.engine.sequences import sequence

PAGE = 4


@pytest.fixture
def buffers() -> StepBuffers:
    return StepBuffers(max_tokens=32, max_seqs=4, max_pages=5, page_size=PAGE, device=torch.device("cpu"))


def placed(
    num_prompt_tokens: int, pages: list[int], num_computed: int = 0, generated: tuple[int, ...] = ()
) -> Sequence:
    made = sequence(num_prompt_tokens, 9)
    made.page_table = array("i", pages)
    made.num_computed = num_computed
    made.tokens += generated
    return made


def listed(inputs: StepInputs) -> dict[str, object]:
    metadata = inputs.metadata
    return {
        "token_ids": inputs.token_ids.tolist(),
        "positions": metadata.positions.tolist(),
        "slots": metadata.slots.tolist(),
        "query_start": metadata.query_start.tolist(),
        "context_lens": metadata.context_lens.tolist(),
        "page_tables": metadata.page_tables.tolist(),
        "sampling": inputs.sampling.tolist(),
    }


def test_prompts_are_packed_one_behind_the_other(buffers: StepBuffers) -> None:
    first, second = placed(5, [3, 1]), placed(2, [2])
    inputs = buffers.build(Batch.prefill([first, second], [5, 2]))
    assert not inputs.metadata.is_decode
    assert listed(inputs) == {
        "token_ids": first.tokens + second.tokens,
        "positions": [0, 1, 2, 3, 4, 0, 1],
        "slots": [12, 13, 14, 15, 4, 8, 9],
        "query_start": [0, 5, 7],
        "context_lens": [5, 2],
        "page_tables": [[3, 1], [2, 0]],
        "sampling": [0, 1],
    }


def test_a_chunk_goes_on_where_the_last_one_ended(buffers: StepBuffers) -> None:
    long, short = placed(9, [3, 1, 2], num_computed=3), placed(1, [4])
    inputs = buffers.build(Batch.prefill([long, short], [3, 1]))
    assert listed(inputs) == {
        "token_ids": long.tokens[3:6] + short.tokens,
        "positions": [3, 4, 5, 0],
        "slots": [15, 4, 5, 16],
        "query_start": [0, 3, 4],
        "context_lens": [6, 1],
        "page_tables": [[3, 1, 2], [4, 0, 0]],
        "sampling": [1, 1],  # the chunk's prompt goes on, so only the short one is sampled; a lone row is doubled
    }


def test_decoding_feeds_the_token_after_the_last_computed_one(buffers: StepBuffers) -> None:
    new = placed(4, [2, 3], num_computed=4, generated=(77,))
    replayed = placed(3, [1, 4], num_computed=3, generated=(50, 51, 52))
    inputs = buffers.build(Batch.decode([new, replayed]))
    assert inputs.metadata.is_decode
    assert listed(inputs) == {
        "token_ids": [77, 50],
        "positions": [4, 3],
        "slots": [12, 7],
        "query_start": [0, 1, 2],
        "context_lens": [5, 4],
        "page_tables": [[2, 3], [1, 4]],
        "sampling": [0, 0],
    }


def test_a_lone_sequence_has_company_unless_lone_rows_are_allowed(buffers: StepBuffers) -> None:
    lone = placed(4, [2, 3], num_computed=4, generated=(77,))
    padded = {
        "token_ids": [77, 0],
        "positions": [4, 0],
        "slots": [12, 0],
        "query_start": [0, 1, 2],
        "context_lens": [5, 1],
        "page_tables": [[2, 3], [0, 0]],
        "sampling": [0, 0],
    }
    assert listed(buffers.build(Batch.decode([lone]))) == padded
    buffers.lone_rows = True
    assert listed(buffers.build(Batch.decode([lone]))) == {
        "token_ids": [77],
        "positions": [4],
        "slots": [12],
        "query_start": [0, 1],
        "context_lens": [5],
        "page_tables": [[2, 3]],
        "sampling": [0],
    }
    assert listed(buffers.build(Batch.decode([lone]), min_seqs=2)) == padded | {"sampling": [0]}


def test_each_of_several_tokens_of_a_sequence_is_a_row_with_its_own_context(buffers: StepBuffers) -> None:
    replayed = placed(3, [1, 4], num_computed=3, generated=(50, 51, 52))
    guessing = placed(2, [2], num_computed=2, generated=(77,))
    guessing.draft = (78,)
    prompt = placed(2, [3])
    inputs = buffers.build(Batch.mixed(Batch.decode([replayed, guessing], [2, 2]), [prompt], [2]))
    assert inputs.metadata.num_decodes == 4
    assert listed(inputs) == {
        "token_ids": [50, 51, 77, 78, *prompt.tokens],
        "positions": [3, 4, 2, 3, 0, 1],
        "slots": [7, 16, 10, 11, 12, 13],
        "query_start": [0, 1, 2, 3, 4, 6],
        "context_lens": [4, 5, 3, 4, 2],
        "page_tables": [[1, 4], [1, 4], [2, 0], [2, 0], [3, 0]],
        "sampling": [2, 3, 4],  # after the guessing sequence's token, after its guess, and after the prompt
    }


def test_prompts_follow_what_decodes(buffers: StepBuffers) -> None:
    decoding = placed(4, [2, 3], num_computed=4, generated=(77,))
    prompt, chunk = placed(2, [1]), placed(9, [4, 5, 6], num_computed=4)
    inputs = buffers.build(Batch.mixed(Batch.decode([decoding]), [prompt, chunk], [2, 3]))
    assert inputs.metadata.num_decodes == 1
    assert listed(inputs) == {
        "token_ids": [77, *prompt.tokens, *chunk.tokens[4:7]],
        "positions": [4, 0, 1, 4, 5, 6],
        "slots": [12, 4, 5, 20, 21, 22],
        "query_start": [0, 1, 3, 6],
        "context_lens": [5, 2, 7],
        "page_tables": [[2, 3, 0], [1, 0, 0], [4, 5, 6]],
        "sampling": [0, 1],
    }


def test_a_lone_sequence_gets_a_companion_on_the_sink_page(buffers: StepBuffers) -> None:
    inputs = buffers.build(Batch.decode([placed(1, [3], num_computed=1, generated=(9,))]))
    assert listed(inputs) == {
        "token_ids": [9, 0],
        "positions": [1, 0],
        "slots": [13, 0],
        "query_start": [0, 1, 2],
        "context_lens": [2, 1],
        "page_tables": [[3, 0], [0, 0]],
        "sampling": [0, 0],
    }


def test_nothing_of_a_larger_step_is_left_in_a_smaller_one(buffers: StepBuffers) -> None:
    wide = placed(17, [4, 3, 2, 1, 5])
    buffers.build(Batch.prefill([wide, placed(2, [6])], [17, 2]))
    inputs = buffers.build(Batch.prefill([placed(2, [1])], [2]))
    assert listed(inputs)["page_tables"] == [[1, 0], [0, 0]]
    assert listed(inputs)["query_start"] == [0, 2, 3]
    assert inputs.metadata.page_tables.is_contiguous()


def test_a_step_without_a_sample_samples_from_nothing(buffers: StepBuffers) -> None:
    inputs = buffers.build(Batch.decode([placed(2, [1], num_computed=2, generated=(5, 6))]))
    assert listed(inputs)["sampling"] == []


def test_a_step_is_filled_up_to_the_shape_that_it_was_recorded_with(buffers: StepBuffers) -> None:
    placed_once = placed(4, [2, 3], num_computed=4, generated=(77,))
    inputs = buffers.build(Batch.decode([placed_once]), min_seqs=4, min_pages=5)
    assert listed(inputs) == {
        "token_ids": [77, 0, 0, 0],
        "positions": [4, 0, 0, 0],
        "slots": [12, 0, 0, 0],
        "query_start": [0, 1, 2, 3, 4],
        "context_lens": [5, 1, 1, 1],
        "page_tables": [[2, 3, 0, 0, 0], *([[0] * 5] * 3)],
        "sampling": [0, 0],
    }


def test_steps_of_one_shape_lie_at_one_place(buffers: StepBuffers) -> None:
    first = buffers.build(Batch.decode([placed(4, [2], num_computed=3)]), min_seqs=3, min_pages=5)
    buffers.build(Batch.prefill([placed(17, [4, 3, 2, 1, 5])], [17]))
    second = buffers.build(Batch.decode([placed(2, [1], num_computed=1)] * 2), min_seqs=3, min_pages=5)
    assert listed(first) | {"sampling": []} == listed(second) | {"sampling": []}


def test_buffers_are_filled_only_after_the_last_step_was_copied() -> None:
    class Fence:
        def record(self) -> None:
            marks.append(int(buffers._token_ids.array[0]))

        def synchronize(self) -> None:
            marks.append("waited")

    marks: list[object] = []
    buffers = StepBuffers(
        max_tokens=8, max_seqs=2, max_pages=2, page_size=PAGE, device=torch.device("cpu"), fence=Fence()
    )
    for token in (7, 9):
        buffers.build(Batch.decode([placed(1, [1], num_computed=1, generated=(token,))]))
    assert marks == ["waited", 7, "waited", 9]
