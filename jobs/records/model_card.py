"""Facts of a model that a client can read without torch. They suffice to refuse a line that can never run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from jobs.errors import ModelUnusable
from jobs.records.sampling import SamplingSettings

MODEL_TYPES = ("qwen3", "qwen3_moe")  # the worker knows the same ones (`model.checkpoint.config_checks`)
MAX_CONTEXT = 100_000_000  # tokens; the worker has the same limit (`model.checkpoint.config_checks`)


ToolFormat = Literal["hermes", "xml"]  # JSON, or the XML of Qwen3-Coder
ThinkingSupport = Literal["switch", "always", "never"]  # what the chat template does about thinking
ModelKind = Literal["text", "embedding"]  # what the model makes


class ModelCard(msgspec.Struct, frozen=True):
    """Facts of a served model. Every worker publishes its model's card in the store when it starts.

    `submit` checks lines against the card of the model's folder, if it can read that, else against the published
    card. If no worker has served the model yet, there may be neither. Then the worker checks each line, and a bad line
    becomes an `invalid_line` result.
    """

    name: str  # the served model's name
    vocab_size: int  # number of token ids of the tokenizer; the embedding may be padded to more
    max_model_len: int  # max tokens of prompt and completion together
    has_chat_template: bool
    defaults: SamplingSettings = SamplingSettings()  # from generation_config.json
    thinking: ThinkingSupport | None = None  # None without a chat template
    tools: ToolFormat | None = None  # how calls are written; None if the chat template does not know tools
    kind: ModelKind = "text"
    embedding_size: int | None = None  # values of an embedding; None if the model makes texts
    prompts: dict[str, str] = {}  # words of an embedding model that stand before texts, by their names


def builtin_demo_folder() -> Path:
    """Return the demo model's folder in the package `model`. Does not import the package, which may need torch.

    Raises:
        ModelUnusable: The package is not installed, or contains no demo model.
    """
    spec = importlib.util.find_spec("model")
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "demo"
        if folder.is_dir():
            return folder
    raise ModelUnusable("The built-in demo model is not installed.", "Reinstall qwen-batch.")


def card_of_folder(folder: Path, name: str) -> ModelCard:
    """Read the card of a checkpoint folder. This takes tens of milliseconds for Qwen3's own tokenizer.

    `max_model_len` is the whole context that the model can compute, extended by YaRN if the config asks for YaRN. The
    sampling settings of generation_config.json become the defaults; `do_sample: false` means greedy. Its
    `max_new_tokens` is ignored: a completion may use the rest of the context.

    Args:
        folder: Holds config.json and tokenizer.json. May hold generation_config.json, tokenizer_config.json and
            chat_template.jinja.
        name: The served model's name.

    Raises:
        ModelUnusable: A file is missing or damaged, or holds an impossible value.
    """
    config = _read(folder / "config.json", _Config)
    context = config.context()
    if context is None or not 1 <= context <= MAX_CONTEXT:
        raise ModelUnusable(
            f"{folder / 'config.json'}: the context (max_position_embeddings, stretched by YaRN) is {_shown(context)} "
            f"tokens; it must be from 1 to {MAX_CONTEXT:,}.",
            "Download the model again.",
        )
    tokenizer = _read(folder / "tokenizer.json", _Tokenizer)
    ids = [*tokenizer.model.vocab.values(), *(token.id for token in tokenizer.added_tokens)]
    template = _chat_template(folder)
    embeds = _embeds(folder / "1_Pooling" / "config.json")
    return ModelCard(
        name=name,
        vocab_size=min(max(ids, default=-1) + 1, config.vocab_size),
        max_model_len=context,
        has_chat_template=bool(template),
        defaults=_read_defaults(folder / "generation_config.json"),
        thinking=_thinking(template) if template else None,
        tools=_tool_format(template),
        kind="embedding" if embeds else "text",
        embedding_size=config.hidden_size if embeds else None,
        prompts=_prompts(folder / "config_sentence_transformers.json") if embeds else {},
    )


def _shown(context: int | None) -> str:
    """Return a context as text for a message. Python refuses to print numbers of thousands of digits."""
    return "over 10^30" if context is None or context > 10**30 else f"{context:,}"


def check_architecture(folder: Path) -> None:
    """Refuse a checkpoint folder of another architecture. The worker makes all other checks itself.

    Raises:
        ModelUnusable: The model is no Qwen3, or the folder has no readable config.json.
    """
    path = folder / "config.json"
    model_type = _read(path, _Architecture).model_type
    if model_type not in MODEL_TYPES:
        raise ModelUnusable(
            f"{path}: model_type is {model_type!r:.80}; only {' and '.join(map(repr, MODEL_TYPES))} are supported.",
            "Name another model, such as Qwen/Qwen3-0.6B.",
        )


class _Architecture(msgspec.Struct):
    model_type: str | None = None


class _Rope(msgspec.Struct):
    rope_type: str | None = None
    type: str | None = None  # the older name
    factor: float | None = None
    original_max_position_embeddings: int | None = None


class _Config(msgspec.Struct):
    vocab_size: int
    max_position_embeddings: int
    hidden_size: int | None = None
    rope_parameters: _Rope | None = None
    rope_scaling: _Rope | None = None  # the older name

    def context(self) -> int | None:
        """Return the context in tokens, extended by YaRN if the config asks for it. None if the number overflows."""
        rope = self.rope_parameters or self.rope_scaling
        if rope is None or (rope.rope_type or rope.type) != "yarn" or rope.factor is None:
            return self.max_position_embeddings
        original = rope.original_max_position_embeddings or self.max_position_embeddings
        try:
            return max(self.max_position_embeddings, int(rope.factor * original))
        except OverflowError:
            return None


class _AddedToken(msgspec.Struct):
    id: int


class _Vocabulary(msgspec.Struct):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct):
    model: _Vocabulary
    added_tokens: list[_AddedToken] = []


class _TokenizerConfig(msgspec.Struct):
    chat_template: str | list[Any] | None = None


class _Pooling(msgspec.Struct):
    pooling_mode_lasttoken: bool = False


class _SentenceTransformers(msgspec.Struct):
    prompts: dict[str, str] = {}


class _GenerationConfig(msgspec.Struct):
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


T = TypeVar("T", bound=msgspec.Struct)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise ModelUnusable(
            f"There is no {path.name} in {path.parent}.", "Name the folder that holds the model's files."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnusable(f"{path} cannot be read: {error}.", "Download the model again.") from error


def _embeds(path: Path) -> bool:
    """Return whether sentence-transformers' settings of the pooling exist: they mark a model that makes embeddings."""
    if not path.is_file():
        return False
    if not _read(path, _Pooling).pooling_mode_lasttoken:
        raise ModelUnusable(
            f"{path}: pooling_mode_lasttoken is not true; only embeddings of the last token are supported.",
            "Name another model, such as Qwen/Qwen3-Embedding-0.6B.",
        )
    return True


def _prompts(path: Path) -> dict[str, str]:
    return _read(path, _SentenceTransformers).prompts if path.is_file() else {}


def _chat_template(folder: Path) -> str:
    """Return the text of the folder's chat template, or of all its named templates. Empty if it has none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace") or " "
    path = folder / "tokenizer_config.json"
    template = _read(path, _TokenizerConfig).chat_template if path.is_file() else None
    return template if isinstance(template, str) else "".join(str(named) for named in template or ())


def _tool_format(template: str) -> ToolFormat | None:
    if "<function=" in template:
        return "xml"
    return "hermes" if "tools" in template and "<tool_call>" in template else None


def _thinking(template: str) -> ThinkingSupport:
    """Return whether a template has a switch, or always begins the assistant's turn with a thought, or never thinks."""
    if "enable_thinking" in template:
        return "switch"
    return "always" if "<think>" in template.rpartition("add_generation_prompt")[2] else "never"


def _read_defaults(path: Path) -> SamplingSettings:
    if not path.is_file():
        return SamplingSettings()
    said = _read(path, _GenerationConfig)
    try:
        if said.do_sample is False or said.temperature == 0:
            return SamplingSettings(temperature=0.0, repetition_penalty=said.repetition_penalty)
        return SamplingSettings(
            temperature=said.temperature,
            top_k=said.top_k,
            top_p=said.top_p,
            min_p=said.min_p,
            repetition_penalty=said.repetition_penalty,
        )
    except ValueError as error:
        raise ModelUnusable(f"{path}: {error}.", "Correct that file.") from error
