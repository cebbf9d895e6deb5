"""What hides the machine from an agent's code: one file a backend, behind the protocol of `backend`.

This code runs in our process, and says only how a command line is wrapped; `container` alone is a program, the first
one of a Docker container. `probe` tries a backend out, `view` and `imports` say what an agent may read, `seccomp` which
system calls it may make, `own_user` whom it runs as. Only :mod:`pytest_rltask.sandbox` uses this folder.
"""
