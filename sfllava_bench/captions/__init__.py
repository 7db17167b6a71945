"""Captions, then reason: a video told in words, and a language model that answers from the words alone.

    captions (one a clip) -> `llovi`: all of them in one request, or a summary of them first
                          -> `videotree`: features -> `trees` (clusters of frames) -> the captions of chosen frames
    request (`prompts`) -> a language model -> reply (`replies`) -> `scoring`

`methods` makes the two methods of the bench, which the one loop answers by way of `words`. Only `words` and `reasoner`
know a server: a method is given `ask`, which takes a request's messages and gives the reply's text.
"""
