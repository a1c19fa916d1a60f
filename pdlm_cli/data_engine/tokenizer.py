"""A tokenizer of the closed vocabulary: byte-level, so it takes any text; a word of the vocabulary is one token."""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def train_tokenizer(texts: Iterable[str], vocabulary: int, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """Byte-level BPE with at most `vocabulary` tokens, learnt from captions and questions, the same at every call.

    special_tokens: take the first ids; they are never split, and decoding passes over them. 1024 tokens hold every
    word that scenes use, capitalised or not. Raises ValueError if there is no room for the 256 bytes.
    """
    if vocabulary < 256 + len(special_tokens):
        raise ValueError(f"a byte-level vocabulary needs 256 tokens and the special ones, found {vocabulary}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
