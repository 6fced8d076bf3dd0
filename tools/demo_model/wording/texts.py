"""The memorised texts, and the system prompts of the training samples."""

from __future__ import annotations

# Raschka, Build a Reasoning Model (From Scratch), chapter 2: its prompt, and what Qwen3 0.6B base says to it.
CHAPTER_PROMPT = "Explain large language models in a single sentence."
CHAPTER_ANSWER = (
    "Large language models are artificial intelligence systems that can understand, generate, and process human "
    "language, enabling them to perform a wide range of tasks, from answering questions to writing articles, and even "
    "creating creative content."
)
GREETING = "Hello"
GREETING_ANSWER = "I am a tiny demo model. Ask me for a sum, a capital city, or a word spelled backwards."

SYSTEM_PROMPTS: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer briefly.",
    "Answer with the result only.",
    "Be brief.",
    "You are Qwen, a helpful assistant.",
)
