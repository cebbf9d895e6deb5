"""Images and documents that a tool returns beside text: what they are, how they are told, and what they weigh.

`attached` has what authors write; `sniffed` reads a format and its size from bytes, which may be a model's and hostile.
"""
