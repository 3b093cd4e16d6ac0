"""What translation and summarization share: corpora, subwords, batches, the model, beam search.

`training` and `decoding` are the top: a corpus becomes a trained `Translator`.
"""
