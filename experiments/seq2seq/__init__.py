"""What translation and summarization share: the corpus, subwords, the model, beam search."""
