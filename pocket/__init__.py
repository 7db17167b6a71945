"""The pocket world: a seeded story generator, a tiny image VLM trained on its still pictures and comics, and a video
benchmark drawn from it.

In the order of the data's way: `stories` (seed -> story), `icons` and `world` (story -> frames), `questions` (story ->
questions and answers), `prompts` (questions -> texts), `model` (config and tokenizer), `tower` and `align` (what the
model knows before it answers), `lessons`, `library` and `packing` (what it practises on), `train` (stories ->
checkpoint), `bench` (stories -> video files and annotations), `layouts` (frames -> visual tokens), `evaluate`
(checkpoint + videos -> accuracy of every token layout).
"""
